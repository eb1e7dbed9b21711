"""Attends to one issue: carries out every decision of ``lifecycle.decide`` except running the asset graph.

The sensor and the command line share it; a run that has to be started or ended is handed back to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from mlops_assets.errors import NotApproved, RequestInvalid
from mlops_assets.request.lifecycle import IssueState, RunState, Stop, StopCause, TrainingIdentity, body_digest, decide
from resources.closing import close_training
from resources.ledger import now
from resources.tracker import Issue, Reaction

if TYPE_CHECKING:
    from resources.platform import Platform


class Runs(Protocol):
    """How the runs of trainings stand, in whatever executes them."""

    def state(self, training_id: str, job: Literal["propose", "train"]) -> RunState:
        """How the latest run of this job for a training stands."""
        ...

    def error(self, training_id: str) -> str | None:
        """Why the latest run of a training failed; None if it did not."""
        ...


@dataclass(frozen=True)
class Task:
    """What is left to do for an issue, by whoever can start and end runs; "nothing": until the issue changes."""

    action: Literal["propose", "train", "stop", "wait", "nothing"]
    identity: TrainingIdentity | None = None
    awaits_approval: bool = False
    others_to_stop: tuple[TrainingIdentity, ...] = ()


class Attendant:
    """One pass over an issue, as far as it goes without a run."""

    def __init__(self, platform: Platform, runs: Runs, *, approving: bool = True) -> None:
        """With ``approving`` off, a plan that would approve itself waits like any other."""
        self._platform = platform
        self._runs = runs
        self._approving = approving

    def attend(self, issue: Issue, thumbs: Sequence[tuple[str, Reaction]] | None = None) -> Task:
        """Read, propose, approve, refuse, end and report whatever is due.

        Args:
            issue: as it is now; its comments are not looked at here.
            thumbs: the reactions on the present proposal where they are known; None asks the tracker when they matter.

        Raises:
            RequestInvalid: the issue was refused; its thread says why.
        """
        while True:
            state = self.state(issue, thumbs)
            others = self._end_others(issue, state.training_id)
            action = decide(state)
            if action == "read":
                self._platform.front_desk.read(issue, after=self._platform.front_desk.overtaken(issue))
                thumbs = None  # they were given to another proposal
                continue
            if state.training_id is None:
                return Task("nothing", others_to_stop=others)
            identity = self._platform.ledger.identity(state.training_id)
            if action in ("propose", "wait") and state.approved_digest is None:
                self._platform.front_desk.show(issue, identity)
            if action == "train" and not self.may_train(issue, identity):
                thumbs = None
                continue
            if action == "approve" and not self._approving:
                return Task("wait", identity, awaits_approval=True, others_to_stop=others)
            if action in ("propose", "train", "stop", "wait", "nothing"):
                waits = action == "wait" and state.run != "running"
                return Task(action, identity, awaits_approval=waits, others_to_stop=others)
            self._carry_out(action, issue, identity, state)

    def state(self, issue: Issue, thumbs: Sequence[tuple[str, Reaction]] | None = None) -> IssueState:
        """What is known about the issue now."""
        return self._platform.front_desk.state(issue, self._runs.state, thumbs)

    def _carry_out(self, action: str, issue: Issue, identity: TrainingIdentity, state: IssueState) -> None:
        platform, training_id = self._platform, identity.training_id
        if action == "approve" and state.verdict == "approved" and state.decided_by is not None:
            platform.front_desk.approve(training_id, state.decided_by, "reaction")
        elif action == "approve":
            platform.front_desk.approve(
                training_id, identity.requested_by, "operator" if identity.cause is not None else "auto_approve"
            )
        elif action == "reject" and state.decided_by is not None:
            platform.ledger.stop(training_id, Stop(reason="rejected", by=state.decided_by, at=now()))
        elif action == "reject":
            cause: StopCause = "closed" if issue.state == "closed" else "unlabelled"
            platform.ledger.stop(training_id, Stop(reason="cancelled", by="mlops", at=now(), cause=cause))
        elif action == "conclude":
            close_training(platform, training_id, self._runs.error(training_id))

    def may_train(self, issue: Issue, identity: TrainingIdentity) -> bool:
        """Whether the approved plan still is the plan; of a changed one another proposal is made, and it is superseded."""
        try:
            self._platform.front_desk.require_approved(identity.training_id)
        except NotApproved as changed:
            try:
                # First: killed in between, the new attempt is found, and the old one is ended as one of the others.
                self._platform.front_desk.read(issue, after=identity.training_id)
            except RequestInvalid:
                close_training(self._platform, identity.training_id, str(changed))
                return False
            stop = Stop(reason="superseded", by="mlops", at=now(), cause="plan_changed", detail=str(changed))
            self._platform.ledger.stop(identity.training_id, stop)
            return False
        return True

    def _end_others(self, issue: Issue, current: str | None) -> tuple[TrainingIdentity, ...]:
        """End the trainings of earlier wordings and attempts; those whose run is still under way are handed back."""
        ledger, running = self._platform.ledger, []
        for identity in ledger.of_issue(issue.number):
            training_id = identity.training_id
            if training_id == current or ledger.is_reported(training_id):
                continue
            edited = identity.body_digest != body_digest(issue.title, issue.body)
            stop = Stop(reason="superseded", by="mlops", at=now(), cause="edited" if edited else "another_attempt")
            ledger.stop(training_id, stop)
            if "running" in (self._runs.state(training_id, "propose"), self._runs.state(training_id, "train")):
                running.append(identity)
            else:
                close_training(self._platform, training_id, self._runs.error(training_id))
        return tuple(running)
