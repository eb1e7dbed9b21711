"""The ledger of trainings: which issue became which training, what was approved, how far it is, how it ended.

Small JSON objects in the store. Identity, approval, artifact references and outcome are created once and never change; only
the progress of a running training and the current configuration of a model line are replaced.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import Field

from mlops_assets.errors import NotFound
from mlops_assets.reports.record import PhaseProgress, TrainingRecord
from mlops_assets.request.digest import sha256_of
from mlops_assets.request.lifecycle import Approval, Stop, TrainingIdentity
from mlops_assets.request.plan import Plan
from mlops_assets.request.schema import Frozen, TrainingRequest
from resources.store import ObjectStore

ModelT = TypeVar("ModelT", bound=Frozen)


class ArtifactReference(Frozen):
    """Where one asset of one training lies, and what it was made from."""

    asset: str
    model_id: str
    training_id: str
    prefix: str
    digest: str
    created_at: str
    upstream: dict[str, str] = Field(default_factory=dict, description="asset -> `training_id@digest` it was read from")


class Refusal(Frozen):
    """An issue wording that was refused; it is not looked at again until it changes."""

    issue: int
    body_digest: str
    problems: int
    at: str


class Answered(Frozen):
    """An operator's comment that has been carried out and answered; it is not looked at again."""

    comment: str
    by: str
    command: str
    at: str


class Refused(Frozen):
    """That a person's say on a plan was not accepted, and why, in a word of ``authority.Denial``."""

    login: str
    reason: str
    permission: str
    at: str


class LineConfiguration(Frozen):
    """The latest accepted request of a model line: what *Materialize* in the UI trains again."""

    model_id: str
    request: TrainingRequest
    issue: int | None
    training_id: str


class Progress(Frozen):
    """How far a training is, phase by phase."""

    training_id: str
    phases: tuple[PhaseProgress, ...]


def now() -> str:
    """The present time, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_training_id(clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> str:
    """``train-YYYYMMDD-HHMMSS-xxxxxx`` in UTC with a random ending."""
    return f"train-{clock():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


class Ledger:
    """Reads and writes the facts about trainings; see the module docstring for what may change."""

    def __init__(self, store: ObjectStore, tracker: str) -> None:
        self._store = store
        self._issues = f"requests/{tracker}"

    def refuse(self, refusal: Refusal) -> None:
        """Remember that this wording was refused."""
        self._store.create(f"{self._issues}/{refusal.issue}/{refusal.body_digest}/refused.json", _json(refusal))

    def is_refused(self, issue: int, body_digest: str) -> bool:
        """Whether this wording was refused before."""
        return self._store.exists(f"{self._issues}/{issue}/{body_digest}/refused.json")

    def was_refused(self, issue: int) -> bool:
        """Whether any wording of an issue was refused."""
        return any(key.endswith("/refused.json") for key in self._store.keys(f"{self._issues}/{issue}"))

    def attempts(self, issue: int, body_digest: str) -> list[TrainingIdentity]:
        """Trainings that this wording of an issue was given, in that order; plans that never ran are among them."""
        keys = [k for k in self._store.keys(f"{self._issues}/{issue}/{body_digest}") if "/attempt-" in k]
        return [TrainingIdentity.model_validate_json(self._store.get(key)) for key in keys]

    def of_issue(self, issue: int) -> list[TrainingIdentity]:
        """Every training that an issue was given, in any wording, oldest first."""
        keys = [k for k in self._store.keys(f"{self._issues}/{issue}") if "/attempt-" in k]
        found = [TrainingIdentity.model_validate_json(self._store.get(key)) for key in keys]
        return sorted(found, key=lambda identity: identity.created_at)  # within a second: as they were allotted

    def has_run(self, training_id: str) -> bool:
        """Whether a training is more than a plan; one that was withdrawn or replaced before it ran is no attempt."""
        record = self.record(training_id)
        return record.has_run if record is not None else self.reference(training_id, "dataset") is not None

    def attempts_run(self, issue: int, body_digest: str) -> int:
        """How many trainings of this wording have run: what ``max_retry`` counts, beside the first."""
        return sum(self.has_run(identity.training_id) for identity in self.attempts(issue, body_digest))

    def allot(self, identity: TrainingIdentity, request: TrainingRequest, *, place: int) -> TrainingIdentity:
        """Give a wording its training at ``place`` (1 is the first), once: of two processes at a moment both get the same."""
        key = f"{self._issues}/{identity.issue}/{identity.body_digest}/attempt-{place:03d}.json"
        self.begin(identity, request)  # first: an allotted training is always complete
        return self._first(key, identity)

    def begin(self, identity: TrainingIdentity, request: TrainingRequest) -> None:
        """Write the identity and the request of a training under its own id; repeating it changes nothing."""
        self._store.create(f"trainings/{identity.training_id}/request.json", _json(request))
        self._store.create(f"trainings/{identity.training_id}/identity.json", _json(identity))

    def identity(self, training_id: str) -> TrainingIdentity:
        """Which issue and attempt a training belongs to.

        Raises:
            NotFound: there is no such training.
        """
        try:
            return TrainingIdentity.model_validate_json(self._store.get(f"trainings/{training_id}/identity.json"))
        except NotFound:
            raise NotFound(
                "there is no training of this id",
                field="TRAINING_ID",
                given=training_id,
                next_step="mlops lines, then mlops trainings LINE",
            ) from None

    def knows(self, training_id: str) -> bool:
        """Whether a training of this id has begun."""
        return self._store.exists(f"trainings/{training_id}/identity.json")

    def request(self, training_id: str) -> TrainingRequest:
        """The request that a training runs."""
        return TrainingRequest.model_validate_json(self._store.get(f"trainings/{training_id}/request.json"))

    def approve(self, training_id: str, approval: Approval) -> Approval:
        """Record an approval; the first one stands."""
        return self._first(f"trainings/{training_id}/approvals/{approval.plan_digest}.json", approval)

    def approval(self, training_id: str, plan_digest: str) -> Approval | None:
        """The approval of exactly this plan for this training, if there is one."""
        return self._optional(f"trainings/{training_id}/approvals/{plan_digest}.json", Approval)

    def refused_says(self, training_id: str) -> list[Refused]:
        """Everybody whose say on this plan was not accepted, by name."""
        keys = self._store.keys(f"trainings/{training_id}/refused")
        found = [Refused.model_validate_json(self._store.get(key)) for key in keys]
        return sorted(found, key=lambda refused: refused.login)

    def propose(self, training_id: str, plan: Plan) -> Plan:
        """Write down the plan that is shown to people before the graph makes it an asset; the first one stands."""
        return self._first(f"trainings/{training_id}/proposed.json", plan)

    def proposed(self, training_id: str) -> Plan | None:
        """The plan that people have been shown."""
        return self._optional(f"trainings/{training_id}/proposed.json", Plan)

    def mark_shown(self, training_id: str) -> None:
        """Note that people have been shown the plan and asked for their approval."""
        self._store.create(f"trainings/{training_id}/shown.json", b"{}")

    def is_shown(self, training_id: str) -> bool:
        """Whether people have been shown the plan and asked for their approval."""
        return self._store.exists(f"trainings/{training_id}/shown.json")

    def stop(self, training_id: str, stop: Stop) -> Stop:
        """Note that a training is not wanted any more; the first word stands."""
        return self._first(f"trainings/{training_id}/stop.json", stop)

    def stopped(self, training_id: str) -> Stop | None:
        """Who said that this training is not wanted any more."""
        return self._optional(f"trainings/{training_id}/stop.json", Stop)

    def refuse_say(self, training_id: str, refused: Refused) -> None:
        """Remember that a person's say on this plan was not accepted; asked again later, the answer may be another."""
        self._store.put(f"trainings/{training_id}/refused/{sha256_of(refused.login)[:16]}.json", _json(refused))

    def refused_say(self, training_id: str, login: str) -> Refused | None:
        """When and why this person's say was last not accepted."""
        return self._optional(f"trainings/{training_id}/refused/{sha256_of(login)[:16]}.json", Refused)

    def is_answered(self, issue: int, comment: str) -> bool:
        """Whether this comment of an issue has been carried out and answered."""
        return self._store.exists(self._comment(issue, comment, "answered"))

    def mark_answered(self, issue: int, answered: Answered) -> None:
        """Note that a comment has been carried out and answered."""
        self._store.create(self._comment(issue, answered.comment, "answered"), _json(answered))

    def intend(self, issue: int, comment: str, what: str) -> str:
        """Fix what a comment will do before it is done, so that doing it again does the same; the first word stands."""
        key = self._comment(issue, comment, "intended")
        self._store.create(key, what.encode())
        return self._store.get(key).decode()

    def _comment(self, issue: int, comment: str, what: str) -> str:
        # Ids in a thread file may have been typed by hand: only their digest becomes part of a key.
        return f"comments/{self._issues}/{issue}/{sha256_of(comment)[:20]}.{what}"

    def refer(self, reference: ArtifactReference) -> ArtifactReference:
        """Make an artifact the result of its asset in its training; the first one stands."""
        return self.adopt(reference.training_id, reference)

    def reference(self, training_id: str, asset: str) -> ArtifactReference | None:
        """Where ``asset`` of this training lies; None if this training has neither made nor adopted it."""
        return self._optional(f"trainings/{training_id}/artifacts/{asset}.json", ArtifactReference)

    def adopt(self, training_id: str, reference: ArtifactReference) -> ArtifactReference:
        """Make an artifact of an earlier training an input of this one; the first one stands."""
        return self._first(f"trainings/{training_id}/artifacts/{reference.asset}.json", reference)

    def conclude(self, record: TrainingRecord) -> TrainingRecord:
        """Write the outcome of a training; the first one stands."""
        return self._first(f"trainings/{record.training_id}/record.json", record)

    def record(self, training_id: str) -> TrainingRecord | None:
        """The outcome of a training that has ended."""
        return self._optional(f"trainings/{training_id}/record.json", TrainingRecord)

    def mark_reported(self, training_id: str) -> None:
        """Note that history, report and comment of a concluded training are all written."""
        self._store.create(f"trainings/{training_id}/reported.json", b"{}")

    def is_reported(self, training_id: str) -> bool:
        """Whether nothing is left to do for this training."""
        return self._store.exists(f"trainings/{training_id}/reported.json")

    def progress(self, training_id: str) -> Progress | None:
        """How far a training is."""
        return self._optional(f"trainings/{training_id}/progress.json", Progress)

    def save_progress(self, progress: Progress) -> None:
        """Replace the progress of a training."""
        self._store.put(f"trainings/{progress.training_id}/progress.json", _json(progress))

    def configure_line(self, configuration: LineConfiguration) -> None:
        """Make this request the current configuration of its model line."""
        self._store.put(f"lines/{configuration.model_id}/current.json", _json(configuration))
        self._store.create(f"lines/{configuration.model_id}/trainings/{configuration.training_id}.json", b"{}")

    def join_line(self, model_id: str, training_id: str) -> None:
        """List a training under its model line."""
        self._store.create(f"lines/{model_id}/trainings/{training_id}.json", b"{}")

    def line(self, model_id: str) -> LineConfiguration:
        """The current configuration of a model line.

        Raises:
            NotFound: no accepted request has named this line.
        """
        found = self._optional(f"lines/{model_id}/current.json", LineConfiguration)
        if found is None:
            raise NotFound("there is no model line of this name", field="LINE", given=model_id, allowed=self.lines())
        return found

    def lines(self) -> list[str]:
        """Names of all model lines."""
        return self._store.children("lines")

    def trainings(self, model_id: str) -> list[str]:
        """Ids of all trainings of a line, oldest first."""
        keys = self._store.keys(f"lines/{model_id}/trainings")
        return [key.rsplit("/", 1)[-1].removesuffix(".json") for key in keys]

    def _first(self, key: str, fact: ModelT) -> ModelT:
        """Write a fact down unless it is; what is written."""
        self._store.create(key, _json(fact))
        return type(fact).model_validate_json(self._store.get(key))

    def _optional(self, key: str, model: type[ModelT]) -> ModelT | None:
        try:
            return model.model_validate_json(self._store.get(key))
        except NotFound:
            return None


def _json(model: Frozen) -> bytes:
    return model.model_dump_json(indent=1).encode()
