"""The platform's own comments and labels in a thread: one comment a training, edited in place from proposal to report.

What the comments say is ``mlops_assets.reports.comments``; this reads the facts and writes the comment.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_assets.errors import MlopsError, RequestInvalid
from mlops_assets.reports import comments, replies
from mlops_assets.reports.language import sentence
from mlops_assets.reports.notifications import unconfigured_sentence
from mlops_assets.reports.proposal import proposal_comment
from mlops_assets.request.authority import Denial
from mlops_assets.request.language import detect_language
from mlops_assets.request.lifecycle import TrainingIdentity
from mlops_assets.request.vocabulary import Language
from resources.front_desk import DONE, FAILED, INVALID, NEEDS_OPERATOR, RUNNING, STATE_LABELS
from resources.impact import estimate_for
from resources.notifier import unconfigured
from resources.tracker import Issue

if TYPE_CHECKING:
    from mlops_assets.reports.record import TrainingRecord
    from mlops_assets.request.plan import Plan
    from resources.platform import Platform

OUTCOME_LABELS = {"deployed": DONE, "below_threshold": NEEDS_OPERATOR, "failed": FAILED}


def outcome_label(record: TrainingRecord) -> str | None:
    """The label that mirrors how a training ended; none for one that people have ended."""
    if record.retries_exhausted:
        return FAILED
    return OUTCOME_LABELS.get(record.outcome)


DENIALS_SHOWN = 5
"""One comment explains it to so many; a public repository may have any number of strangers."""


class Thread:
    """Writes comments and state labels; every call is an upsert."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._running: set[int] = set()

    def refuse(self, issue: Issue, invalid: RequestInvalid) -> None:
        """Answer an issue that cannot become a request, with every problem in one comment."""
        language = self.language_of(issue)
        body = comments.refusal_comment(invalid.problems, invalid.corrected, language)
        self._platform.tracker.upsert_comment(issue.number, "refusal", body)
        self._label(issue.number, INVALID)

    def propose(self, training_id: str) -> None:
        """Post the plan of a training and say how it is approved; nothing once somebody has approved or ended it."""
        ledger = self._platform.ledger
        plan = self._platform.front_desk.shown_plan(training_id)
        if plan is None or ledger.approval(training_id, plan.digest) is not None or ledger.stopped(training_id) is not None:
            return
        self._write(training_id, self._proposal(training_id))
        number = ledger.identity(training_id).issue
        if number is not None:
            if ledger.was_refused(number):
                self._platform.tracker.upsert_comment(number, "refusal", comments.mended_comment(plan.request.language))
            self._label(number, None)

    def progress(self, training_id: str) -> None:
        """Show the phase table above the (folded) proposal, once the plan is approved.

        A tracker that cannot be reached does not end a training: the next phase, or the report, catches up.
        """
        try:
            self._progress(training_id)
        except MlopsError as error:
            logging.getLogger(__name__).warning("the progress of %s is not shown: %s", training_id, error)

    def _progress(self, training_id: str) -> None:
        plan = self._platform.front_desk.plan(training_id)
        if plan is None or self._platform.ledger.approval(training_id, plan.digest) is None:
            return  # the comment is the proposal until then
        language = self._platform.ledger.request(training_id).language
        not_done = [item.key for item in plan.not_done]
        table = comments.progress_comment(training_id, self._platform.board.phases(training_id), language, not_done=not_done)
        self._write(training_id, table + self._folded_proposal(training_id, language))
        number = self._platform.ledger.identity(training_id).issue
        if number is not None and number not in self._running:
            self._label(number, RUNNING)
            self._running.add(number)

    def conclude(self, record: TrainingRecord, predict_example: str | None) -> None:
        """Replace the phase table by the result report."""
        run_id = record.model.mlflow_run_id if record.model is not None else None
        by_reply = self._platform.settings.tracker != "folder"
        links = comments.Links(
            report=self._stored(f"reports/{record.training_id}/report.html"),
            history=self._platform.history.url(record.training_id) if record.has_run else None,
            mlflow=self._platform.experiments.run_url(run_id) if run_id is not None else None,
            log=self._stored(f"logs/{record.training_id}/training.log") if record.training_seconds is not None else None,
            afar=by_reply,
        )
        body = comments.result_comment(record, record.language, predict_example=predict_example, links=links, by_reply=by_reply)
        missing = unconfigured(record.request.notification_channels, self._platform.settings)
        if record.has_run and missing:
            body = f"{body}\n{unconfigured_sentence(missing, record.language)}\n"
        self._write(record.training_id, body + self._folded_proposal(record.training_id, record.language))
        if record.issue is not None and record.outcome != "superseded":  # then the labels belong to the training that follows
            self._label(record.issue, outcome_label(record))

    def _stored(self, key: str) -> str:
        """Where readers find something in the store; a path on the platform's machine is nothing to people on GitHub."""
        uri = self._platform.store.uri(key)
        return key if self._platform.settings.tracker != "folder" and uri.startswith(("/", "file:")) else uri

    def leave(self, training_id: str) -> None:
        """After a run that made only a part, or was cancelled: the label tells again how the issue's last training ended."""
        identity = self._platform.ledger.identity(training_id)
        if identity.issue is None:
            return
        records = (self._platform.ledger.record(other) for other in reversed(self._platform.ledger.trainings(identity.model_id)))
        last = next((record for record in records if record is not None and record.issue == identity.issue), None)
        self._label(identity.issue, outcome_label(last) if last is not None else None)

    def deny(self, identity: TrainingIdentity, denials: Sequence[Denial]) -> None:
        """Explain in one comment whose word on a plan does not count, and why."""
        if identity.issue is not None:
            language = self._platform.ledger.request(identity.training_id).language
            body = replies.denied_together_comment(denials[:DENIALS_SHOWN], "approve", language)
            self._platform.tracker.upsert_comment(identity.issue, f"denied:{identity.training_id}", body)

    def deny_command(self, issue: Issue, denial: Denial, action: replies.Action) -> None:
        """Explain to somebody that a command was not carried out; one comment an issue, however many ask."""
        body = replies.denied_comment(denial, action, self.language_of(issue))
        self._platform.tracker.upsert_comment(issue.number, "denied", body)

    def reply(self, issue: Issue, comment: str, body: str) -> None:
        """Answer one comment of a person."""
        self._platform.tracker.upsert_comment(issue.number, f"reply:{comment}", body)

    def _folded_proposal(self, training_id: str, language: Language) -> str:
        proposal = self._proposal(training_id)
        if not proposal:
            return ""
        return f"\n\n<details>\n<summary>{sentence('heading.proposal', language)}</summary>\n\n{proposal}\n\n</details>"

    def _proposal(self, training_id: str) -> str:
        plan = self._platform.front_desk.shown_plan(training_id)
        if plan is None:
            return ""
        approval = self._platform.ledger.approval(training_id, plan.digest)
        language = plan.request.language
        identity = self._platform.ledger.identity(training_id)
        command = f"mlops run {identity.issue}" if self._platform.settings.tracker == "folder" else None
        second = self._platform.approvals.needs_second_person(identity, plan)
        ended = self._platform.ledger.stopped(training_id) is not None or self._platform.ledger.record(training_id) is not None
        by_itself = "" if ended or command is not None or approval is not None else self._approves_itself(identity, plan)
        how = replies.how_to_approve(language, command=command, second_person=second, ended=ended, by_itself=by_itself)
        return proposal_comment(
            plan,
            language,
            approved_by=approval.by if approval is not None else None,
            how_to_approve=how,
            estimate=estimate_for(self._platform, training_id, plan),
        )

    def _approves_itself(self, identity: TrainingIdentity, plan: Plan) -> str:
        """Whose word already is the approval: an operator's reply, or `auto_approve` of somebody who may; empty if nobody's."""
        asked = identity.cause is not None or plan.request.optimization.auto_approve
        denied = asked and self._platform.approvals.denied(identity.requested_by, identity, plan) is not None
        return identity.requested_by if asked and not denied else ""

    def _write(self, training_id: str, body: str) -> None:
        number = self._platform.ledger.identity(training_id).issue
        if number is not None:
            self._platform.tracker.upsert_comment(number, f"training:{training_id}", body)

    def _label(self, number: int, label: str | None) -> None:
        """Make ``label`` the only one of the state labels."""
        others = [other for other in STATE_LABELS if other != label]
        self._platform.tracker.set_labels(number, add=[label] if label is not None else [], remove=others)

    def language_of(self, issue: Issue) -> Language:
        """The language in which an issue is answered."""
        forced = self._platform.settings.language
        return detect_language(issue.title, issue.body) if forced == "auto" else forced
