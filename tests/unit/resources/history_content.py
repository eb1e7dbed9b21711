"""Records and files of trainings as a history is given them, for the tests of every history."""

from __future__ import annotations

from mlops_assets.reports.record import TrainingRecord
from mlops_assets.request.schema import DatasetRequest, TrainingRequest

FIRST = "train-20250110-123456-ab12"
SECOND = "train-20250110-123457-ab13"


def record(training_id: str = FIRST) -> TrainingRecord:
    request = TrainingRequest(
        model_id="churn",
        dataset=DatasetRequest(dataset_id="telco"),
        learning_type="supervised",
        task_type="classification",
        algorithm="xgboost",
    )
    return TrainingRecord(
        training_id=training_id,
        model_id="churn",
        issue=None,
        attempt=1,
        outcome="failed",
        language="ja",
        started_at="2025-01-10T12:34:56+00:00",
        finished_at="2025-01-10T12:34:57+00:00",
        request=request,
        plan_digest="0" * 64,
        approved_by=None,
        code_version="0.1.0",
        environment={"python": "3.11"},
        error="停止しました",
    )


def files(training_id: str, content: bytes = b"{}") -> dict[str, bytes]:
    return {f"{training_id}.md": b"# report\n", f"{training_id}.json": content}
