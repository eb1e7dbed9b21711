"""Whose word counts: the thumbs on a proposal, and the approvals that a request or an operator's reply brings along.

The rules are pure and in ``mlops_assets.request.authority``; here the tracker is asked who may do what, when it is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mlops_assets.request.authority import Denial, Person, may_approve, may_decide
from mlops_assets.request.lifecycle import TrainingIdentity, Verdict
from mlops_assets.request.plan import Plan
from resources.ledger import Refused, now
from resources.tracker import Reaction

if TYPE_CHECKING:
    from resources.platform import Platform

ASKED_AGAIN_AFTER = timedelta(seconds=60)
"""A thumb that did not count stays where it is; whether it counts by now is asked this often."""


@dataclass(frozen=True)
class Decision:
    """What the thumbs on a proposal come to, and whose they are."""

    verdict: Verdict
    by: str | None = None


class Approvals:
    """Asks the tracker for people's permissions and applies the rules of ``authority``."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def person(self, login: str) -> Person:
        """Who ``login`` is now."""
        tracker = self._platform.tracker
        return Person(login=login, permission=tracker.permission(login), is_bot=tracker.is_bot(login))

    def denied(self, login: str, identity: TrainingIdentity, plan: Plan) -> Denial | None:
        """Why ``login`` may not approve this plan now; None if it may."""
        return self._ruled(self.person(login), identity, plan)

    def needs_second_person(self, identity: TrainingIdentity, plan: Plan) -> bool:
        """Whether the requester could not approve this plan with any permission."""
        anybody = Person(login=identity.requested_by, permission="admin", is_bot=False)
        denial = self._ruled(anybody, identity, plan)
        return denial is not None and denial.reason.startswith("second_person")

    def _ruled(self, person: Person, identity: TrainingIdentity, plan: Plan) -> Denial | None:
        settings = self._platform.settings
        return may_approve(
            person,
            requester=identity.requested_by,
            production=plan.request.deployment.environment == "production",
            estimated_cost_usd=self._platform.front_desk.estimated_cost(identity.training_id, plan),
            cost_cap_usd=plan.cost_cap_usd,
            second_person=settings.second_person == "always"
            or (settings.second_person == "auto" and settings.tracker == "github"),
        )

    def decision(self, identity: TrainingIdentity, plan: Plan, thumbs: Iterable[tuple[str, Reaction]]) -> Decision:
        """What people's thumbs decide; a no of anyone who may decide comes before every yes.

        Thumbs that do not count are told in one comment, and asked about again after ``ASKED_AGAIN_AFTER``.
        """
        given = sorted(set(thumbs), key=lambda thumb: thumb[1] != "-1")
        refused: list[Denial] = []
        for login, reaction in given:
            if self.lately_refused(identity.training_id, login):
                continue
            denial = may_decide(self.person(login)) if reaction == "-1" else self.denied(login, identity, plan)
            if denial is None:
                return Decision("rejected" if reaction == "-1" else "approved", login)
            refused.append(denial)
        self._tell(identity, refused)
        return Decision("none")

    def by_itself(self, identity: TrainingIdentity, plan: Plan, *, auto_approve: bool) -> bool:
        """Whether the request's own ``auto_approve``, or the operator's reply that asked for this attempt, approves the plan."""
        if not auto_approve and identity.cause is None:
            return False
        if self.lately_refused(identity.training_id, identity.requested_by):
            return False
        denial = self.denied(identity.requested_by, identity, plan)
        if denial is not None:
            self._tell(identity, [denial])
        return denial is None

    def lately_refused(self, training_id: str, login: str) -> bool:
        """Whether this person's say was looked up and not accepted a moment ago; it is asked about again a little later."""
        refused = self._platform.ledger.refused_say(training_id, login)
        return refused is not None and datetime.now(UTC) - datetime.fromisoformat(refused.at) < ASKED_AGAIN_AFTER

    def _tell(self, identity: TrainingIdentity, refused: Sequence[Denial]) -> None:
        """Explain the refusals in one comment, rewritten only where there is something new to say."""
        ledger, training_id = self._platform.ledger, identity.training_id
        known = {one.login: (one.reason, one.permission) for one in ledger.refused_says(training_id)}
        told = known | {denial.login: (denial.reason, denial.permission) for denial in refused}
        if told != known:
            everybody = [
                Denial.model_validate({"login": login, "reason": reason, "permission": permission})
                for login, (reason, permission) in sorted(told.items())
            ]
            self._platform.thread.deny(identity, everybody)
        for denial in refused:
            one = Refused(login=denial.login, reason=denial.reason, permission=denial.permission, at=now())
            ledger.refuse_say(training_id, one)
