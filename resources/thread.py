"""The platform's own comments and labels in a thread: one comment a training, edited in place from proposal to report.

What the comments say is ``mlops_assets.reports.comments``; this reads the facts and writes the comment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.errors import RequestInvalid
from mlops_assets.reports import comments
from mlops_assets.request.parser import detect_language
from resources.front_desk import DONE, FAILED, INVALID, NEEDS_OPERATOR, RUNNING, STATE_LABELS
from resources.tracker import Issue

if TYPE_CHECKING:
    from mlops_assets.reports.record import TrainingRecord
    from resources.platform import Platform

OUTCOME_LABELS = {"deployed": DONE, "below_threshold": NEEDS_OPERATOR, "failed": FAILED}


class Thread:
    """Writes comments and state labels; every call is an upsert."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def refuse(self, issue: Issue, invalid: RequestInvalid) -> None:
        """Answer an issue that cannot become a request, with every problem in one comment."""
        language = self._language_of(issue)
        body = comments.refusal_comment(invalid.problems, invalid.corrected, language)
        self._platform.tracker.upsert_comment(issue.number, "refusal", body)
        self._label(issue.number, INVALID)

    def propose(self, training_id: str, how_to_approve: str) -> None:
        """Post the plan of a training and say how it is approved."""
        self._write(training_id, self._proposal(training_id, how_to_approve))

    def progress(self, training_id: str) -> None:
        """Show the phase table above the (folded) proposal."""
        language = self._platform.ledger.request(training_id).language
        table = comments.progress_comment(training_id, self._platform.board.phases(training_id), language, {})
        self._write(training_id, table + "\n\n" + comments.folded_proposal(self._proposal(training_id, None), language))
        number = self._platform.ledger.identity(training_id).issue
        if number is not None:
            self._label(number, RUNNING)

    def conclude(self, record: TrainingRecord, predict_example: str | None) -> None:
        """Replace the phase table by the result report."""
        links = {"report": self._platform.store.uri(f"reports/{record.training_id}/report.html")}
        body = comments.result_comment(record, record.language, predict_example=predict_example, links=links)
        if self._platform.front_desk.plan(record.training_id) is not None:
            body += "\n\n" + comments.folded_proposal(self._proposal(record.training_id, None), record.language)
        self._write(record.training_id, body)
        if record.issue is not None:
            self._platform.tracker.set_labels(record.issue, remove=[x for x in STATE_LABELS])
            self._label(record.issue, OUTCOME_LABELS[record.outcome])

    def _proposal(self, training_id: str, how_to_approve: str | None) -> str:
        plan = self._platform.front_desk.plan(training_id)
        if plan is None:
            return ""
        approval = self._platform.ledger.approval(training_id, plan.digest)
        by = approval.by if approval is not None else None
        return comments.proposal_comment(plan, plan.request.language, approved_by=by, how_to_approve=how_to_approve or "")

    def _write(self, training_id: str, body: str) -> None:
        number = self._platform.ledger.identity(training_id).issue
        if number is not None:
            self._platform.tracker.upsert_comment(number, f"training:{training_id}", body)

    def _label(self, number: int, label: str) -> None:
        self._platform.tracker.set_labels(number, add=[label], remove=[other for other in STATE_LABELS if other != label])

    def _language_of(self, issue: Issue) -> comments.Language:
        forced = self._platform.settings.language
        return detect_language(issue.title, issue.body) if forced == "auto" else forced
