"""The entry point in a container: with the toolkit's variables, and with nothing but SageMaker's folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_assets.errors import ComputeError, IntegrityError
from mlops_assets.serving.package import MANIFEST, verify
from mlops_assets.tasks.container import TrainingContainer, make_folders, write_configuration
from mlops_assets.tasks.entrypoint import FailureFile, train
from mlops_assets.tasks.interface import TrainSummary
from tests.drill import DRILL, DRILL_PATH, drill_request


def opt_ml(base: Path, **hyperparameters: object) -> TrainingContainer:
    """The folder as SageMaker mounts it for one training job."""
    request = drill_request(**hyperparameters)
    container = TrainingContainer.at(base)
    make_folders(container)
    given = {**request.hyperparameters, "mlops_task": "drill", "mlops_training_id": "t-1"}
    write_configuration(container, given, ("features", "request"), "algo-1")
    for channel, name, content in (("features", "train.csv", "1\n2\n"), ("request", "request.json", request.model_dump_json())):
        (container.data / channel).mkdir()
        (container.data / channel / name).write_text(content)
    return container


def start(base: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mlops_assets.tasks.entrypoint"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": DRILL_PATH,
            "SAGEMAKER_BASE_DIR": str(base),
            **variables,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_sagemakers_folders_alone_are_enough(tmp_path: Path) -> None:
    container = opt_ml(tmp_path, rounds=2)
    process = start(tmp_path, TRAINING_JOB_NAME="t-1")
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    assert TrainSummary.model_validate_json(container.summary.read_bytes()).iterations == 2
    assert verify(container.model).files.keys() == {"weights.txt"}
    assert output.splitlines()[-1] == "progress 1.0000 trained"


def test_the_summary_comes_after_the_model_and_its_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DRILL))
    container = opt_ml(tmp_path, rounds=3)
    summary = train(container, None)
    assert TrainSummary.model_validate_json(container.summary.read_bytes()) == summary
    assert summary.curves["validation_auc"][-1] == summary.metrics["validation_auc"]
    written = [
        path.stat().st_mtime_ns for path in (container.model / "weights.txt", container.model / MANIFEST, container.summary)
    ]
    assert written == sorted(written)


def test_without_a_model_there_is_no_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DRILL))
    container = opt_ml(tmp_path, misbehave="no_model")
    with pytest.raises(ComputeError, match="without writing a model"), FailureFile(container):
        train(container, None)
    assert container.failure.read_text().startswith("ComputeError: the learning task `drill` ended without writing a model")
    assert not container.summary.exists()


def test_variables_win_over_fixed_places(tmp_path: Path) -> None:
    container = TrainingContainer.from_environment(
        {
            "SM_MODEL_DIR": "/m",
            "SM_OUTPUT_DATA_DIR": "/o/data",
            "SM_OUTPUT_DIR": "/o",
            "SM_INPUT_DIR": "/i",
            "SM_CHANNELS": '["features"]',
            "SM_CHANNEL_FEATURES": str(tmp_path),
        }
    )
    assert (container.model, container.summary, container.failure) == (
        Path("/m"),
        Path("/o/data/summary.json"),
        Path("/o/failure"),
    )
    assert container.configuration == Path("/i/config")
    assert container.channel("features") == tmp_path
    assert TrainingContainer.from_environment({}).model == Path("/opt/ml/model")


def test_a_failure_is_told_headline_first(tmp_path: Path) -> None:
    container = opt_ml(tmp_path, misbehave="raise")
    process = start(tmp_path)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    told = container.failure.read_text()
    assert told.startswith("ValueError: the matrix is singular\n")
    assert "training_drill.py" in told
    assert "Traceback" in output
    assert not container.summary.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_stops_within_two_seconds_even_inside_one_long_library_call(tmp_path: Path, number: int, code: int) -> None:
    opt_ml(tmp_path, rounds=1, misbehave="long_step")
    process = start(tmp_path)
    assert process.stdout is not None
    while "round 1/1" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.3)
    asked = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=5) == code
    assert time.monotonic() - asked < 2
    process.stdout.close()


def test_hyperparameters_changed_after_approval_are_refused(tmp_path: Path) -> None:
    container = opt_ml(tmp_path, rounds=2)
    path = container.configuration / "hyperparameters.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rounds": "200"}))
    with pytest.raises(IntegrityError, match="200"):
        train(container, None)


@pytest.mark.parametrize("content", [None, "not json", "[1]"])
def test_unreadable_hyperparameters_are_a_compute_error(tmp_path: Path, content: str | None) -> None:
    container = opt_ml(tmp_path)
    path = container.configuration / "hyperparameters.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ComputeError, match=r"hyperparameters\.json"):
        container.hyperparameters()


def test_a_missing_channel_is_named_with_those_there(tmp_path: Path) -> None:
    with pytest.raises(ComputeError, match="features, request"):
        opt_ml(tmp_path).channel("validation")
