"""Local compute against real processes: what comes back, what is refused, what is left behind."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest

from mlops_assets.errors import ComputeError, ComputeInterrupted, IntegrityError, UserError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.serving.package import verify
from resources.compute import LocalCompute, TrainingJob
from resources.training_log import LogTail
from tests.drill import DRILL_PATH, drill_request


def unheard(*_: object) -> None:
    return


@pytest.fixture(autouse=True)
def drill_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", DRILL_PATH)


@pytest.fixture
def features(tmp_path: Path) -> Path:
    folder = tmp_path / "features"
    folder.mkdir()
    (folder / "train.csv").write_text("1\n2\n3\n")
    return folder


def job_for(features: Path, time_limit: float | None = 30.0, **hyperparameters: object) -> TrainingJob:
    return TrainingJob("train-20261120-101500-ab12", "drill", features, drill_request(**hyperparameters), time_limit=time_limit)


def test_training_gives_model_summary_log_and_live_progress(tmp_path: Path, features: Path) -> None:
    seen: list[tuple[float, float, str, dict[str, float]]] = []

    def heard(fraction: float, text: str, metrics: object) -> None:
        seen.append((time.monotonic(), fraction, text, dict(metrics)))  # type: ignore[call-overload]

    outcome = LocalCompute(tmp_path / "work").train(job_for(features, rounds=3, pause=0.25), heard)

    assert outcome.summary.metrics == {"validation_auc": 0.75, "train_rows": 3.0}
    assert outcome.model == tmp_path / "work" / "train-20261120-101500-ab12" / "ml" / "model"
    assert verify(outcome.model).files.keys() == {"weights.txt"}
    assert [text for _, _, text, _ in seen] == ["loading drill", "round 1/3", "round 2/3", "round 3/3", "trained"]
    assert seen[2][3] == {"validation_auc": pytest.approx(0.666667)}
    assert seen[3][0] - seen[1][0] > 0.3, "progress came all at once at the end"
    assert "progress 0.3333 round 1/3 validation_auc=0.583333" in outcome.log.read_text()
    assert outcome.seconds >= 0.75


def test_the_folder_has_the_shape_of_opt_ml(tmp_path: Path, features: Path) -> None:
    base = LocalCompute(tmp_path).train(job_for(features, rounds=2), unheard).model.parent
    config = base / "input" / "config"
    hyperparameters = json.loads((config / "hyperparameters.json").read_text())
    assert hyperparameters == {
        "rounds": "2",
        "mlops_task": '"drill"',
        "mlops_training_id": '"train-20261120-101500-ab12"',
    }
    assert set(json.loads((config / "inputdataconfig.json").read_text())) == {"features", "request"}
    assert json.loads((config / "resourceconfig.json").read_text())["hosts"] == ["algo-1"]
    assert (base / "input" / "data" / "features" / "train.csv").read_text() == "1\n2\n3\n"
    stored = (base / "input" / "data" / "request" / "request.json").read_bytes()
    assert TrainingRequest.model_validate_json(stored) == drill_request(rounds=2)
    assert (base / "checkpoints").is_dir()
    assert not (base / "output" / "failure").exists()


def test_the_process_inherits_no_secret(tmp_path: Path, features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "not-for-you")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-you")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    outcome = LocalCompute(tmp_path / "work").train(job_for(features, environment=True), unheard)
    names = set((outcome.model / "environment.txt").read_text().split())
    assert {"SM_MODEL_DIR", "SM_CHANNEL_FEATURES", "SM_HPS", "SM_NUM_CPUS", "TRAINING_JOB_NAME", "OMP_NUM_THREADS"} <= names
    assert not names & {"GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY"}


def test_a_complete_training_is_returned_without_training_again(tmp_path: Path, features: Path) -> None:
    compute = LocalCompute(tmp_path / "work")
    first = compute.train(job_for(features), unheard)
    log = first.log.read_bytes()
    assert compute.train(job_for(features), unheard) == first
    assert first.log.read_bytes() == log


def test_a_damaged_model_is_trained_again(tmp_path: Path, features: Path) -> None:
    compute = LocalCompute(tmp_path / "work")
    first = compute.train(job_for(features), unheard)
    (first.model / "weights.txt").write_text("rotten")
    again = compute.train(job_for(features), unheard)
    assert (again.model / "weights.txt").read_text() == "rows 3"


def test_another_request_under_the_same_id_is_refused(tmp_path: Path, features: Path) -> None:
    compute = LocalCompute(tmp_path / "work")
    compute.train(job_for(features, rounds=2), unheard)
    with pytest.raises(IntegrityError, match="already trained"):
        compute.train(job_for(features, rounds=3), unheard)


@pytest.mark.parametrize(
    ("misbehave", "said"),
    [
        ("raise", "ValueError: the matrix is singular"),
        ("full_disk", "No space left on device"),
        ("exit_quietly", "SystemExit: 0"),
        ("crash", "SIGSEGV"),
        ("write_input", "changed its read-only input"),
        ("no_model", "without writing a model"),
    ],
)
def test_a_failed_training_says_why_and_can_be_tried_again(tmp_path: Path, features: Path, misbehave: str, said: str) -> None:
    compute = LocalCompute(tmp_path / "work")
    with pytest.raises(ComputeError, match=said) as caught:
        compute.train(job_for(features, misbehave=misbehave), unheard)
    assert not isinstance(caught.value, ComputeInterrupted)
    assert not (tmp_path / "work" / "train-20261120-101500-ab12" / "ml").exists()
    (features / "train.csv").write_text("1\n2\n3\n")
    assert compute.train(job_for(features), unheard).summary.metrics["train_rows"] == 3.0
    left = {path.name for path in (tmp_path / "work" / "train-20261120-101500-ab12").iterdir()}
    assert left == {"ml", "training.log", ".lock"}


def test_the_time_limit_stops_training_and_what_it_started(tmp_path: Path, features: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(ComputeError, match=r"time limit of 1\.5 s"):
        LocalCompute(tmp_path / "work").train(job_for(features, 1.5, pause=20, spawn=str(pid_file)), unheard)
    left = int(pid_file.read_text())
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE


def test_an_interrupt_of_the_caller_stops_the_process(tmp_path: Path, features: Path) -> None:
    def interrupted(_fraction: float, text: str, _metrics: object) -> None:
        if text.startswith("round 1"):
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        LocalCompute(tmp_path / "work").train(job_for(features, rounds=2, pause=0.3, misbehave="long_step"), interrupted)
    assert time.monotonic() - started < 4
    assert not [p for p in psutil.Process().children() if p.status() != "zombie"]


def test_ending_a_forked_worker_does_not_end_the_training(tmp_path: Path, features: Path) -> None:
    outcome = LocalCompute(tmp_path / "work").train(job_for(features, misbehave="fork_and_terminate"), unheard)
    assert outcome.summary.iterations == 4


def test_an_unknown_task_is_named_with_those_installed(tmp_path: Path, features: Path) -> None:
    job = TrainingJob("t-1", "no_such_task", features, drill_request())
    with pytest.raises(ComputeError, match="no_such_task"):
        LocalCompute(tmp_path / "work").train(job, unheard)


def test_missing_features_and_reserved_hyperparameters_are_refused(tmp_path: Path, features: Path) -> None:
    with pytest.raises(ComputeError, match="does not exist"):
        LocalCompute(tmp_path / "work").train(job_for(tmp_path / "nowhere"), unheard)
    with pytest.raises(UserError, match="reserved"):
        LocalCompute(tmp_path / "work").train(job_for(features, mlops_task="other"), unheard)


def test_a_work_folder_that_cannot_be_written_is_a_compute_error(tmp_path: Path, features: Path) -> None:
    (tmp_path / "work").write_text("a file where a folder belongs")
    with pytest.raises(ComputeError, match="mend access"):
        LocalCompute(tmp_path / "work").train(job_for(features), unheard)


def test_the_tail_joins_lines_written_in_pieces_and_survives_an_endless_line(tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    log.write_bytes(b"earlier attempt\nprogress 0.1 old\n")
    tail = LogTail(log, log.stat().st_size)
    with log.open("ab", buffering=0) as stream:
        stream.write(b"warning \xff\xfe\nprogress 0.2")
        assert list(tail.progress()) == []
        stream.write(b"5 half way loss=0.5\n")
        assert [(p.fraction, p.text, dict(p.metrics)) for p in tail.progress()] == [(0.25, "half way", {"loss": 0.5})]
        stream.write(b"x" * 1_000_000)
        assert list(tail.progress()) == []
        stream.write(b"\nprogress 1.0 done\n")
        assert [p.fraction for p in tail.progress()] == [1.0]
