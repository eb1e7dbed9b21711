"""Training inside a real Dagster step: events, metadata and progress arrive."""

from pathlib import Path

import pytest
from dagster import AssetExecutionContext, DagsterInstance, MaterializeResult, asset, materialize

from resources.compute import LocalCompute, TrainingJob
from resources.pipes import train_with_pipes
from tests.drill import DRILL_PATH, drill_request


@pytest.mark.parametrize("trainings", [1, 2])
def test_a_step_shows_what_the_training_process_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainings: int) -> None:
    monkeypatch.setenv("PYTHONPATH", DRILL_PATH)
    features = tmp_path / "features"
    features.mkdir()
    (features / "train.csv").write_text("1\n2\n3\n")
    heard: list[str] = []

    @asset
    def model(context: AssetExecutionContext) -> MaterializeResult[str]:
        job = TrainingJob("train-pipes", "drill", features, drill_request(rounds=3))
        outcome = train_with_pipes(context, LocalCompute(tmp_path / "work"), job, lambda _f, text, _m: heard.append(text))
        return MaterializeResult(value=str(outcome.model), metadata={"seconds": outcome.seconds})

    with DagsterInstance.ephemeral() as instance:
        for _ in range(trainings):
            result = materialize([model], instance=instance)
            assert result.success
            assert Path(result.output_for_node("model")).name == "model"
            metadata = result.asset_materializations_for_node("model")[0].metadata
            assert metadata["training_id"].value == "train-pipes"
            assert metadata["validation_auc"].value == pytest.approx(0.75)
            assert metadata["iterations"].value == 3
            assert "seconds" in metadata
        first_run = instance.get_runs()[-1].run_id
        messages = [entry.user_message for entry in instance.all_logs(first_run)]
    assert any("round 3/3 validation_auc=0.75" in message for message in messages)
    assert any('"training_id": "train-pipes"' in message for message in messages)
    assert heard == ["loading drill", "round 1/3", "round 2/3", "round 3/3", "trained"]
