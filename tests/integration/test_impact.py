"""The optimiser in the real loop: SMOTE is applied and told, the second training is estimated from the first, both reproduce."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from installation import ROOT, Installation

from mlops_assets.reports.record import TrainingRecord
from resources.impact import ImpactReport, stored_proposal

pytestmark = [pytest.mark.service]

ISSUE = """# 解約予測

```yaml
dataset_id: customers
algorithm: random_forest
task_type: classification
model_id: LINE
hyperparameters: {n_estimators: 20}
data_preprocessing: {drop_columns: [lifetime_value]}
evaluation_metrics: [auc_roc]
evaluation_threshold: 0.9999
```
"""


@pytest.fixture(scope="module")
def mlops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("impact"), measured=False)
    yield installation
    installation.assert_nothing_runs()


@pytest.fixture(scope="module")
def two(mlops: Installation) -> list[TrainingRecord]:
    """Two issues of one kind, one after the other; below their threshold, so that nothing has to be served."""
    table = ROOT / "examples" / "data" / "customers.csv"
    mlops.run("dataset", "add", "customers", table, "--target", "churned", "--positive", "yes")
    records = []
    for name in ("first", "second"):
        number = mlops.issue(name, ISSUE.replace("LINE", name))
        records.append(TrainingRecord.model_validate(mlops.json("run", str(number))))
    return records


def test_smote_balances_the_training_rows_and_the_thread_says_so(mlops: Installation, two: list[TrainingRecord]) -> None:
    record = two[0]
    assert record.request.preprocessing.resample == "none", "the record keeps what was asked for"
    assert record.effective_request.preprocessing.resample == "smote"
    before, after = record.class_balance["yes"]
    assert before == pytest.approx(0.12, abs=0.02)
    assert after == pytest.approx(0.5, abs=0.01)
    assert {"precision", "recall", "f1_score"} <= record.metrics.keys()
    text = mlops.result_comment(1)
    assert f"`yes` {before * 100:.1f}% → {after * 100:.1f}%" in text
    assert "SMOTE" in text
    assert "類似する学習がなく" in text


def test_the_second_is_estimated_from_the_first_and_the_error_is_told(mlops: Installation, two: list[TrainingRecord]) -> None:
    first, second = two
    assert first.estimate is not None and first.estimate.duration_seconds is None
    expected, actual = second.estimate, second.actual
    assert expected is not None and actual is not None
    assert [s.training_id for s in expected.similar] == [first.training_id]
    assert first.actual is not None and first.gate is not None
    assert expected.duration_seconds == pytest.approx(first.actual.duration_seconds)
    assert expected.expected_score == first.gate.value
    store = mlops.platform.store
    report = ImpactReport.model_validate_json(store.get(f"optimizations/{second.training_id}/impact_report.json"))
    assert report.errors is not None and report.errors.duration_seconds is not None
    assert actual.duration_seconds is not None and expected.duration_seconds is not None
    assert report.errors.duration_seconds == pytest.approx(actual.duration_seconds - expected.duration_seconds)
    proposal = stored_proposal(mlops.platform, second.training_id)
    assert proposal is not None and proposal.plan_digest == second.plan_digest
    assert "差（実績 − 見積もり）" in mlops.result_comment(2)


def test_what_the_optimiser_changed_is_reproduced(mlops: Installation, two: list[TrainingRecord]) -> None:
    told: dict[str, Any] = mlops.json("reproduce", two[1].training_id)
    assert all(c["recorded"] == c["reproduced"] for c in told["comparisons"])
    assert told["same_features"] is True


def test_the_history_file_says_what_was_applied_and_what_was_only_recommended(
    mlops: Installation, two: list[TrainingRecord]
) -> None:
    folder: Path = mlops.platform.history.folder
    text = (folder / "training_history" / f"{two[1].training_id}.md").read_text(encoding="utf-8")
    assert "## ワークフロー最適化" in text
    assert "推奨のみ" in text
