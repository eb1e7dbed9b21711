"""kill -9 at the worst moments: of the training process, and of the command that supervises it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from mlops_assets.errors import ComputeInterrupted
from resources.compute import LocalCompute, TrainingJob
from tests.drill import DRILL_PATH, drill_request

SUPERVISOR = """
import sys
from pathlib import Path
from mlops_assets.request.schema import TrainingRequest
from resources.compute import LocalCompute, TrainingJob

work, features, request = map(Path, sys.argv[1:])
job = TrainingJob("train-kill", "drill", features, TrainingRequest.model_validate_json(request.read_bytes()))
LocalCompute(work).train(job, lambda fraction, text, metrics: print(text, flush=True))
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingJob:
    monkeypatch.setenv("PYTHONPATH", DRILL_PATH)
    features = tmp_path / "features"
    features.mkdir()
    (features / "train.csv").write_text("1\n2\n")
    return TrainingJob("train-kill", "drill", features, drill_request(rounds=5, pause=0.1))


def children_training() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "mlops_assets.tasks.entrypoint" in p.cmdline()]


def test_a_killed_training_process_is_an_interruption_and_the_same_call_succeeds(tmp_path: Path, job: TrainingJob) -> None:
    def killing(_fraction: float, text: str, _metrics: Mapping[str, float]) -> None:
        if text.startswith("round 2"):
            children_training()[0].kill()

    compute = LocalCompute(tmp_path / "work")
    with pytest.raises(ComputeInterrupted, match="SIGKILL"):
        compute.train(job, killing)
    assert not (tmp_path / "work" / "train-kill" / "ml").exists()

    outcome = compute.train(job, lambda *_: None)
    assert (outcome.model / "weights.txt").read_text() == "rows 2"
    assert [path.name for path in outcome.model.parent.parent.glob("attempt-*")] == []


def test_a_polite_stop_from_outside_is_an_interruption_too(tmp_path: Path, job: TrainingJob) -> None:
    def stopping(_fraction: float, text: str, _metrics: Mapping[str, float]) -> None:
        if text.startswith("round 2"):
            children_training()[0].send_signal(signal.SIGTERM)

    with pytest.raises(ComputeInterrupted, match="SIGTERM"):
        LocalCompute(tmp_path / "work").train(job, stopping)


def ended(process: psutil.Process) -> bool:
    # Nobody may be there to reap an orphan: a zombie has ended.
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("wait_for", ["loading", "round 2"])
def test_killing_the_command_leaves_no_orphan_and_the_next_finishes(tmp_path: Path, job: TrainingJob, wait_for: str) -> None:
    request = tmp_path / "request.json"
    request.write_text(job.request.model_dump_json())
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path / "work"), str(job.features), str(request)]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    while not supervisor.stdout.readline().startswith(wait_for):
        assert supervisor.poll() is None
    trainers = psutil.Process(supervisor.pid).children()
    assert len(trainers) == 1
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    killed = time.monotonic()
    while not ended(trainers[0]):
        assert time.monotonic() - killed < 2, "the training outlived its command"
        time.sleep(0.02)

    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == "trained"
    work = tmp_path / "work" / "train-kill"
    assert sorted(path.name for path in work.iterdir()) == [".lock", "ml", "training.log"]


def test_two_commands_at_once_train_once(tmp_path: Path, job: TrainingJob) -> None:
    request = tmp_path / "request.json"
    request.write_text(job.request.model_dump_json())
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path / "work"), str(job.features), str(request)]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=30) for process in both] == [0, 0]
    log = (tmp_path / "work" / "train-kill" / "training.log").read_text()
    assert log.count("progress 1.0000 trained") == 1
