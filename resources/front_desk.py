"""The front desk: reads an issue, gives it a training, shows its plan, takes the approval, and checks it before a run.

The same functions serve the command line and the sensors. Making requests and plans is ``planning``; running the asset graph is
theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from mlops_assets.errors import NotApproved, RequestInvalid, UserError
from mlops_assets.reports.notifications import facts_of_plan, notification_for
from mlops_assets.request.adjustment import adjusted
from mlops_assets.request.lifecycle import RETRAINING, Approval, IssueState, RunState, TrainingIdentity, body_digest, decide
from mlops_assets.request.plan import Plan
from mlops_assets.request.schema import TrainingRequest
from resources.impact import estimate_for
from resources.ledger import Refusal, new_training_id, now
from resources.planning import offered_algorithms
from resources.tracker import Issue, Reaction

if TYPE_CHECKING:
    from resources.platform import Platform

RUNNING, DONE, FAILED, INVALID = "mlops:running", "mlops:done", "mlops:failed", "mlops:invalid"
NEEDS_OPERATOR = "mlops:needs-operator"
STATE_LABELS = (RUNNING, DONE, FAILED, INVALID, NEEDS_OPERATOR)
TRIGGER_LABEL = "mlops:train"


#: Why a command that approves is refused, for the terminal; threads have their own sentences.
DENIED = {
    "bot": "machine accounts may not",
    "permission": "permission is `{permission}`, needed is `write` or `admin`",
    "second_person_production": "production needs an approver other than the requester",
    "second_person_cost": "a cost above the cap needs an approver other than the requester",
}

RunLookup = Callable[[str, Literal["propose", "train"]], RunState]
ApprovalWay = Literal["command", "reaction", "auto_approve", "operator", "retraining"]


class FrontDesk:
    """What happens between an issue and the runs of its trainings."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def state(self, issue: Issue, run_of: RunLookup, thumbs: Sequence[tuple[str, Reaction]] | None = None) -> IssueState:
        """What is known about an issue in its present wording.

        Args:
            run_of: tells how a training's run stands.
            thumbs: reactions on the present proposal, where the caller has them; None asks the tracker if they matter.
        """
        ledger = self._platform.ledger
        wanted = issue.state == "open" and TRIGGER_LABEL in issue.labels
        digest = body_digest(issue.title, issue.body)
        attempts = ledger.attempts(issue.number, digest)
        if not attempts:
            return IssueState(wanted=wanted, refused=ledger.is_refused(issue.number, digest))
        identity = attempts[-1]
        training_id = identity.training_id
        if wanted and self.overtaken(issue) == training_id:
            return IssueState(wanted=wanted, refused=ledger.is_refused(issue.number, digest))
        plan = self.plan(training_id)
        approval = ledger.approval(training_id, plan.digest) if plan is not None else None
        stop = ledger.stopped(training_id)
        known = IssueState(
            wanted=wanted,
            training_id=training_id,
            plan_digest=plan.digest if plan is not None else None,
            approved_digest=approval.plan_digest if approval is not None else None,
            stop=stop.reason if stop is not None else None,
            run=run_of(training_id, "train" if approval is not None else "propose"),
            concluded=ledger.is_reported(training_id),
        )
        if plan is None or decide(known) != "wait" or known.run == "running":
            return known
        if thumbs is None:
            place = (issue.number, f"training:{training_id}")
            thumbs = self._platform.tracker.reactions([place])[place]
        decision = self._platform.approvals.decision(identity, plan, thumbs)
        auto_approve = ledger.request(training_id).optimization.auto_approve
        itself = decision.by is None and self._platform.approvals.by_itself(identity, plan, auto_approve=auto_approve)
        return known.model_copy(update={"verdict": decision.verdict, "decided_by": decision.by, "approves_itself": itself})

    def is_settled(self, issue: Issue) -> bool:
        """Whether nothing is left to do for an issue in its present wording: refused, or its training fully reported."""
        digest = body_digest(issue.title, issue.body)
        attempts = self._platform.ledger.attempts(issue.number, digest)
        if attempts:
            return self._platform.ledger.is_reported(attempts[-1].training_id) and self.overtaken(issue) is None
        return self._platform.ledger.is_refused(issue.number, digest)

    def overtaken(self, issue: Issue) -> str | None:
        """The training of this wording that an edit ended, where the issue has been edited back to it; None otherwise."""
        attempts = self._platform.ledger.attempts(issue.number, body_digest(issue.title, issue.body))
        if not attempts or not self._platform.ledger.is_reported(attempts[-1].training_id):
            return None
        stop = self._platform.ledger.stopped(attempts[-1].training_id)
        return attempts[-1].training_id if stop is not None and stop.cause == "edited" else None

    def read(self, issue: Issue, *, after: str | None = None) -> TrainingIdentity:
        """Validate an issue and give its present wording a training, or refuse it in one comment.

        ``after`` is the training of this wording that the new one follows, None for the first. Where another process
        has read the issue meanwhile, its training is returned: who decides at the same moment gets the same one.

        Raises:
            RequestInvalid: with every problem; the comment has been written and the label set.
        """
        platform = self._platform
        digest = body_digest(issue.title, issue.body)
        try:
            request = platform.planning.read(issue)
            plan = platform.planning.make_plan(request)
        except RequestInvalid as invalid:
            platform.thread.refuse(issue, invalid)
            platform.ledger.refuse(Refusal(issue=issue.number, body_digest=digest, problems=len(invalid.problems), at=now()))
            raise
        earlier = platform.ledger.attempts(issue.number, digest)
        if earlier and earlier[-1].training_id != after:
            return earlier[-1]
        identity = self._allot(issue, digest, len(earlier) + 1, request, plan, by=issue.author)
        self.show(issue, identity)
        return identity

    def adjust(
        self, issue: Issue, current: TrainingIdentity, changes: Mapping[str, JsonValue], *, by: str, comment: str
    ) -> TrainingIdentity:
        """Give the present wording of an issue another attempt with an operator's changes; the same comment gives the same one.

        Its plan is not shown here: the answer to the comment comes first, then ``show``, by whoever attends to the issue next.

        Raises:
            RequestInvalid: the changes, or the request with them, cannot be carried out.
        """
        attempts = self._platform.ledger.attempts(issue.number, current.body_digest)
        cause = f"comment:{comment}"
        made = next((identity for identity in attempts if identity.cause == cause), None)
        if made is not None:
            return made
        request = adjusted(self._platform.ledger.request(current.training_id), changes, offered=offered_algorithms())
        plan = self._platform.planning.make_plan(request)
        return self._allot(issue, current.body_digest, len(attempts) + 1, request, plan, by=by, cause=cause)

    def _allot(
        self, issue: Issue, digest: str, place: int, request: TrainingRequest, plan: Plan, *, by: str, cause: str | None = None
    ) -> TrainingIdentity:
        """Give a wording its training and write its plan down at once; the graph makes the plan an asset afterwards."""
        identity = TrainingIdentity(
            training_id=new_training_id(),
            model_id=request.model_id,
            issue=issue.number,
            body_digest=digest,
            attempt=self._platform.ledger.attempts_run(issue.number, digest) + 1,
            created_at=now(),
            requested_by=by,
            cause=cause,
        )
        allotted = self._platform.ledger.allot(identity, request, place=place)
        if allotted == identity:
            self._platform.ledger.propose(allotted.training_id, plan)
        return allotted

    def show(self, issue: Issue, identity: TrainingIdentity) -> None:
        """Show people the plan of a training and ask them for their approval, unless both have been done.

        Killed in between, whoever attends to the issue next does it again, which leaves one comment and one notification.
        """
        training_id = identity.training_id
        plan = self.shown_plan(training_id)
        if plan is None or self._platform.ledger.is_shown(training_id):
            return
        self._platform.thread.propose(training_id)
        self._ask_for_approval(issue, identity, plan)
        self._platform.ledger.mark_shown(training_id)

    def _ask_for_approval(self, issue: Issue, identity: TrainingIdentity, plan: Plan) -> None:
        """Tell the channels that the request names that somebody has to decide, unless the plan approves itself."""
        channels = plan.request.notification_channels
        if not channels or identity.cause is not None or plan.request.optimization.auto_approve:
            return
        facts = facts_of_plan(
            plan,
            identity.training_id,
            issue=issue.number,
            issue_title=issue.title,
            issue_url=issue.url,
            attempt=identity.attempt,
            estimated_cost_usd=self.estimated_cost(identity.training_id, plan),
        )
        self._platform.outbox.enqueue(notification_for(facts), channels)

    def begin(self, model_id: str, training_id: str) -> TrainingIdentity:
        """The training that a step works for; a run that no issue asked for begins its training at its first step.

        Raises:
            UserError: that training has ended; what it made stays as it was reported.
            NotFound: the line has no approved configuration.
            NotApproved: the plan that the run would start from has not been approved.
        """
        ledger = self._platform.ledger
        if ledger.record(training_id) is not None:
            raise UserError(
                "this training has ended and been reported",
                field="training_id",
                given=training_id,
                next_step=f"materialize the partition `{model_id}` again: a new run is a new training",
            )
        return ledger.identity(training_id) if ledger.knows(training_id) else self.retrain(model_id, training_id)

    def retrain(self, model_id: str, training_id: str) -> TrainingIdentity:
        """Give a training to a configuration of a line that was approved before, e.g. for *Materialize* in the UI.

        That is the line's current one, or the plan that a run of only the later assets has adopted.

        Raises:
            NotFound: the line has no approved configuration.
            NotApproved: the adopted plan was never approved, or has changed since.
        """
        ledger = self._platform.ledger
        adopted = self.plan(training_id)
        made_by = ledger.reference(training_id, "plan")
        line = None if adopted is not None else ledger.line(model_id)
        identity = TrainingIdentity(
            training_id=training_id,
            model_id=model_id,
            issue=line.issue if line is not None else ledger.identity(made_by.training_id).issue if made_by else None,
            body_digest=RETRAINING,
            attempt=1,
            created_at=now(),
            requested_by="line configuration",
        )
        ledger.begin(identity, line.request if line is not None else adopted.request)  # type: ignore[union-attr]
        if adopted is not None:
            self.require_approved(training_id)
        return identity

    def plan(self, training_id: str) -> Plan | None:
        """The plan that was made for a training."""
        reference = self._platform.ledger.reference(training_id, "plan")
        if reference is None:
            return None
        return Plan.model_validate_json((self._platform.store.checkout(reference.prefix) / "plan.json").read_bytes())

    def shown_plan(self, training_id: str) -> Plan | None:
        """The plan that people see: the asset, or what was written down for it before the graph has run."""
        return self.plan(training_id) or self._platform.ledger.proposed(training_id)

    def estimated_cost(self, training_id: str, plan: Plan) -> float | None:
        """What the training is expected to cost in US dollars; None where nothing is known."""
        return estimate_for(self._platform, training_id, plan).cost_usd

    def approve(self, training_id: str, by: str, how: ApprovalWay) -> Approval:
        """Record that ``by`` approves the training's plan as it stands.

        Raises:
            NotApproved: there is no plan yet, or ``by`` may not approve it (see ``mlops_assets.request.authority``).
        """
        plan = self.plan(training_id)
        if plan is None:
            raise NotApproved(f"{training_id} has no plan that could be approved")
        if how != "retraining":
            denial = self._platform.approvals.denied(by, self._platform.ledger.identity(training_id), plan)
            if denial is not None:
                raise NotApproved(f"{by} may not approve: {DENIED[denial.reason].format(permission=denial.permission)}")
        return self._platform.ledger.approve(training_id, Approval(plan_digest=plan.digest, by=by, at=now(), how=how))

    def require_approved(self, training_id: str) -> Approval:
        """The approval of exactly the training's plan, made again from what was asked with the code that is about to run.

        Raises:
            NotApproved: nobody approved it, or the plan has changed since (other code, other limits).
        """
        plan = self.plan(training_id)
        if plan is None:
            raise NotApproved(f"{training_id} has no plan")
        approval = self._platform.ledger.approval(training_id, plan.digest) or self._standing_approval(training_id, plan)
        if approval is None:
            raise NotApproved(f"the plan {plan.digest[:12]} of {training_id} has not been approved")
        version = self._platform.catalogue.version(plan.dataset_id, plan.dataset_version)
        try:
            # not from plan.request: that is the effective one, with the optimiser's changes in it
            made_by = self._platform.ledger.reference(training_id, "plan")
            asked = self._platform.ledger.request(made_by.training_id if made_by is not None else training_id)
            again = self._platform.planning.make_plan(asked, version)
        except RequestInvalid as invalid:
            raise NotApproved(f"the plan of {training_id} cannot be carried out any more: {invalid}") from invalid
        if again.digest != plan.digest:
            changed = [name for name in Plan.model_fields if getattr(again, name) != getattr(plan, name)]
            raise NotApproved(
                f"the plan of {training_id} has changed since it was approved ({', '.join(changed)}): "
                f"approved {plan.digest[:12]}, now {again.digest[:12]}; it has to be proposed again"
            )
        return approval

    def _standing_approval(self, training_id: str, plan: Plan) -> Approval | None:
        """A retraining needs no new approval: its line's configuration, or the plan it adopted, has been approved."""
        ledger = self._platform.ledger
        identity, reference = ledger.identity(training_id), ledger.reference(training_id, "plan")
        if not identity.is_retraining or reference is None:
            return None
        if reference.training_id != training_id and ledger.approval(reference.training_id, plan.digest) is None:
            return None
        return ledger.approve(
            training_id, Approval(plan_digest=plan.digest, by=identity.requested_by, at=now(), how="retraining")
        )
