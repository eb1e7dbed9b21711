"""The conversation in a thread: carries out and answers what people ask for in comments, each comment once.

What a comment asks for is read in ``mlops_assets.request.commands``, what the answers say is in ``mlops_assets.reports.replies``.
An edited comment is not read again: its identity is its id, and it has been answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.errors import MlopsError, RequestInvalid
from mlops_assets.reports import replies
from mlops_assets.reports.optimizations import one_line
from mlops_assets.request.adjustment import difference
from mlops_assets.request.authority import Denial, Person, may_decide
from mlops_assets.request.commands import Cancel, Command, Explain, Retry, Rollback, Status, parse_command
from mlops_assets.request.lifecycle import Stop, TrainingIdentity, body_digest
from mlops_assets.request.schema import Frozen
from mlops_assets.request.vocabulary import Language
from resources.front_desk import TRIGGER_LABEL
from resources.ledger import Answered, now
from resources.tracker import Comment, Issue

if TYPE_CHECKING:
    from mlops_assets.serving.inventory import EndpointStatus
    from resources.attendant import Runs
    from resources.platform import Platform


class _Move(Frozen):
    """What a rollback will do, fixed before it is done: a second one must not move on."""

    before: str
    to: str | None


class Conversation:
    """Answers the comments of issues."""

    def __init__(self, platform: Platform, runs: Runs) -> None:
        self._platform = platform
        self._runs = runs

    def answer(self, issue: Issue) -> None:
        """Carry out and answer every command in the thread that has not been, oldest first.

        Killed in between, the same comment is carried out again: each command has the same effect twice as once.
        """
        for comment in issue.comments:
            if comment.marker is not None:
                continue
            try:
                command: Command | RequestInvalid | None = parse_command(comment.body)
            except RequestInvalid as invalid:
                command = invalid
            if command is None or self._platform.ledger.is_answered(issue.number, comment.id):
                continue
            self._answer(issue, comment, command)
            what = type(command).__name__.lower()
            answered = Answered(comment=comment.id, by=comment.author, command=what, at=now())
            self._platform.ledger.mark_answered(issue.number, answered)

    def _answer(self, issue: Issue, comment: Comment, command: Command | RequestInvalid) -> None:
        thread, language = self._platform.thread, self._platform.thread.language_of(issue)
        person = self._platform.approvals.person(comment.author)
        if person.is_bot:
            return  # two machines would answer each other for ever
        denial = _denied(person, issue, command)
        action = _ACTIONS.get(type(command), "retry")
        if denial is not None and action is not None:
            thread.deny_command(issue, denial, action)
        elif denial is None and isinstance(command, RequestInvalid):
            thread.reply(issue, comment.id, replies.refused_reply_comment(command.problems, command.corrected, language))
        elif denial is None and not isinstance(command, RequestInvalid):
            thread.reply(issue, comment.id, self._carry_out(issue, comment, command, language))

    def _carry_out(self, issue: Issue, comment: Comment, command: Command, language: Language) -> str:
        attempts = self._platform.ledger.attempts(issue.number, body_digest(issue.title, issue.body))
        if not attempts:
            return replies.not_applicable_comment(type(command).__name__.lower(), "no_training", language)
        current = attempts[-1]
        if isinstance(command, Retry):
            return self._retry(issue, comment, command, attempts, language)
        if isinstance(command, Rollback):
            return self._rollback(issue, comment, command, current, language)
        if isinstance(command, Cancel):
            return self._cancel(issue, comment, current, language)
        return self._status(current, language) if isinstance(command, Status) else self._explain(current, language)

    def _retry(self, issue: Issue, comment: Comment, command: Retry, attempts: list[TrainingIdentity], language: Language) -> str:
        ledger, current = self._platform.ledger, attempts[-1]
        made = next((attempt for attempt in attempts if attempt.cause == f"comment:{comment.id}"), None)
        if made is None:
            limit = ledger.request(current.training_id).max_retry
            if issue.state == "closed":
                return replies.not_applicable_comment("retry", "closed", language)
            if TRIGGER_LABEL not in issue.labels:
                return replies.not_applicable_comment("retry", "unlabelled", language)
            if self._is_under_way(current):
                return replies.not_applicable_comment("retry", "still_running", language)
            if ledger.attempts_run(issue.number, current.body_digest) > limit:
                return replies.retries_exhausted_comment(
                    language, model_id=current.model_id, max_retry=limit, serving=self._serving(current)
                )
            try:
                made = self._platform.front_desk.adjust(issue, current, command.changes, by=comment.author, comment=comment.id)
            except RequestInvalid as invalid:
                return replies.refused_reply_comment(invalid.problems, invalid.corrected, language)
            attempts = ledger.attempts(issue.number, current.body_digest)
        before = attempts[attempts.index(made) - 1]
        asked, now_asked = ledger.request(before.training_id), ledger.request(made.training_id)
        plan = self._platform.front_desk.shown_plan(made.training_id)
        return replies.adjusted_comment(
            difference(asked, now_asked),
            language,
            person=comment.author,
            training_id=made.training_id,
            attempt=made.attempt,
            max_retry=now_asked.max_retry,
            awaits_approval=plan is None or self._platform.approvals.denied(comment.author, made, plan) is not None,
        )

    def _is_under_way(self, identity: TrainingIdentity) -> bool:
        """Whether a training is approved, or being ended, and not yet reported."""
        return not self._platform.ledger.is_reported(identity.training_id) and self._is_approved(identity)

    def _is_approved(self, identity: TrainingIdentity) -> bool:
        plan = self._platform.front_desk.plan(identity.training_id)
        return plan is not None and self._platform.ledger.approval(identity.training_id, plan.digest) is not None

    def _cancel(self, issue: Issue, comment: Comment, current: TrainingIdentity, language: Language) -> str:
        ledger = self._platform.ledger
        wanted = "" if ledger.is_reported(current.training_id) else current.training_id
        training_id = ledger.intend(issue.number, comment.id, wanted)
        if not training_id:
            return replies.not_applicable_comment("cancel", "nothing_to_cancel", language)
        stop = ledger.stop(training_id, Stop(reason="cancelled", by=comment.author, at=now()))
        approved = self._is_approved(ledger.identity(training_id))
        return replies.cancelled_comment(stop.by, language) if approved else replies.withdrawn_comment(stop.by, language)

    def _rollback(self, issue: Issue, comment: Comment, command: Rollback, current: TrainingIdentity, language: Language) -> str:
        endpoint = self._endpoint(current)
        if endpoint is None or endpoint.version is None:
            return replies.not_applicable_comment("rollback", "nothing_served", language)
        wished = _Move(before=endpoint.version, to=command.version or endpoint.previous)
        move = _Move.model_validate_json(self._platform.ledger.intend(issue.number, comment.id, wished.model_dump_json()))
        place = (endpoint.model_id, endpoint.environment)
        try:
            if move.to is None or (endpoint.version != move.to or move.before == move.to):
                self._platform.endpoints.rollback(*place, who=comment.author, why=f"issue {issue.number}", to=move.to)
        except MlopsError:
            return replies.rollback_impossible_comment(
                language,
                model_id=endpoint.model_id,
                asked=command.version,
                serving=self._serving(current),
                available=self._platform.models.published(endpoint.model_id),
            )
        url = self._platform.endpoints.ensure(*place).url
        return replies.rolled_back_comment(
            language,
            person=comment.author,
            model_id=endpoint.model_id,
            environment=endpoint.environment,
            before=move.before,
            after=move.to or endpoint.version,
            url=url,
        )

    def _endpoint(self, identity: TrainingIdentity) -> EndpointStatus | None:
        environment = self._platform.ledger.request(identity.training_id).deployment.environment
        place = (identity.model_id, environment)
        found = self._platform.endpoints.list()
        return next((status for status in found if (status.model_id, status.environment) == place), None)

    def _serving(self, identity: TrainingIdentity) -> replies.Serving | None:
        endpoint = self._endpoint(identity)
        if endpoint is None or endpoint.version is None:
            return None
        return replies.Serving(environment=endpoint.environment, version=endpoint.version, url=endpoint.url)

    def _status(self, current: TrainingIdentity, language: Language) -> str:
        ledger, training_id = self._platform.ledger, current.training_id
        record, plan, serving = (
            ledger.record(training_id),
            self._platform.front_desk.shown_plan(training_id),
            self._serving(current),
        )
        return replies.status_comment(
            language,
            model_id=current.model_id,
            serving=[serving] if serving is not None else [],
            training_id=training_id,
            phases=self._platform.board.phases(training_id),
            outcome=record.outcome if record is not None else None,
            attempt=current.attempt,
            max_retry=ledger.request(training_id).max_retry,
            not_done=[item.key for item in plan.not_done] if plan is not None else [],
            awaits_approval=record is None and ledger.stopped(training_id) is None and not self._is_approved(current),
        )

    def _explain(self, current: TrainingIdentity, language: Language) -> str:
        plan = self._platform.front_desk.shown_plan(current.training_id)
        if plan is None:
            return replies.not_applicable_comment("explain", "no_training", language)
        lines = [one_line(optimization, language) for optimization in plan.optimizations]
        record = self._platform.ledger.record(current.training_id)
        return replies.explain_comment(plan, language, optimizations=lines, record=record)


#: What a refusal calls it; looking is refused without a word, so that nobody can make the platform write.
_ACTIONS: dict[type, replies.Action | None] = {
    Retry: "retry",
    Rollback: "rollback",
    Cancel: "cancel",
    Status: None,
    Explain: None,
}


def _denied(person: Person, issue: Issue, command: Command | RequestInvalid) -> Denial | None:
    """Who may ask for what: looking is for the issue's author too, everything else for people with write permission."""
    if isinstance(command, Status | Explain) and person.login == issue.author:
        return None
    return may_decide(person)
