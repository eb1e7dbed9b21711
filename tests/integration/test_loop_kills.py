"""``kill -9`` anywhere in the loop, then the same command again: exactly one result, whatever was killed and when.

Here the moment is chosen by the clock, spread over the whole command, its training process and its server; moments right after
the n-th effect on the world are in ``test_loop_effects``. They are random and seeded, so that a failure can be run again.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest
from installation import Installation

from mlops_assets.reports.record import TrainingRecord
from resources.thread_file import read_thread

pytestmark = [pytest.mark.slow, pytest.mark.service]

SEED = 20261120
KILLS = 20
LONGEST = 300.0


def body(line: str, threshold: float = 0.5) -> str:
    return f"""# {line}

```yaml
dataset_id: breast-cancer
model_id: {line}
task_type: classification
algorithm: logistic_regression
evaluation_threshold: {threshold}
```
"""


@pytest.fixture(scope="module")
def mlops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("kills"), measured=False)
    yield installation
    installation.stop()
    installation.assert_nothing_runs()


@pytest.fixture(scope="module")
def seconds(mlops: Installation) -> float:
    """How long a loop takes here that nobody kills."""
    number = mlops.issue("undisturbed", body("undisturbed"))
    started = time.monotonic()
    mlops.run("run", str(number))
    return time.monotonic() - started


def processes_with(mlops: Installation, words: str) -> list[psutil.Process]:
    found = []
    for process in mlops.processes():
        try:
            if words in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def assert_one_result(mlops: Installation, number: int, line: str) -> TrainingRecord:
    record = mlops.only_training(number)
    platform = mlops.platform
    assert record.model_id == line
    assert platform.ledger.trainings(line) == [record.training_id]
    assert record.error is None
    (file,) = (mlops.home / "issues").glob(f"{number:04d}-*.md")
    thread = read_thread(file.read_text(encoding="utf-8"), owner="nobody", edited=platform.tracker.issue(number).updated_at)
    assert [entry.marker for entry in thread.entries] == [f"training:{record.training_id}"]
    mlops.assert_published_folders_are_whole()
    mlops.assert_nothing_runs(but_endpoints=True)
    assert not list(platform.scratch.glob("train-*")), "scratch of what is reported is removed"
    if record.outcome == "deployed":
        assert record.model is not None
        assert record.model.version == "v1.0.0"
        assert platform.models.versions(line) == platform.models.published(line) == ["v1.0.0"]
        row = mlops.folder / "row.json"
        prefix = platform.models.prefix(line, "v1.0.0")
        row.write_text(json.dumps(json.loads(platform.store.get(f"{prefix}/examples.json"))["rows"][0]))
        (endpoint,) = [e for e in platform.endpoints.list() if e.model_id == line]
        assert endpoint.healthy, "the command itself leaves an answering endpoint behind"
        assert f"{endpoint.url}/invocations" in mlops.result_comment(number)
        assert platform.endpoints.predict(line, "dev", [json.loads(row.read_text())])["model_version"] == "v1.0.0"
        assert f'"model_version": "{record.model.version}"' in mlops.result_comment(number)
    return record


def test_twenty_kills_at_random_moments_leave_exactly_one_result_each(mlops: Installation, seconds: float) -> None:
    """The command dies twelve times, training processes and servers four times each; a loop may be hit several times."""
    chance = random.Random(SEED)
    victims = ["command"] * 12 + ["training"] * 4 + ["server"] * 4
    chance.shuffle(victims)
    killed: Counter[str] = Counter()
    loop = 0
    while victims:
        line = f"killed-{loop}"
        number = mlops.issue(line, body(line))
        left = seconds
        while not run_among_killers(mlops, number, line, victims, killed, chance, left):
            left = max(left * 0.85, 2.0)  # an attempt goes on where the one before was
        mlops.run("run", str(number))
        assert assert_one_result(mlops, number, line).outcome == "deployed"
        mlops.json("stop", line)
        loop += 1
    assert killed == {"command": 12, "training": 4, "server": 4}
    assert killed.total() == KILLS


def run_among_killers(
    mlops: Installation,
    number: int,
    line: str,
    victims: list[str],
    killed: Counter[str],
    chance: random.Random,
    left: float,
) -> bool:
    """Run the command once, killing the next victims as they come, until it is killed itself; whether it came to its end."""
    process = mlops.start("run", str(number))
    while victims:
        if victims[-1] == "command":
            if _killed_after(process, chance.uniform(0.2, left)):
                return True
            killed[victims.pop()] += 1
            return False
        words = "tasks.entrypoint" if victims[-1] == "training" else "mlops_assets.serving"
        while process.poll() is None and not processes_of(mlops, words, line):
            time.sleep(0.05)
        time.sleep(chance.uniform(0.0, 0.6))
        if kill_one_of(mlops, words, line, chance):
            killed[victims.pop()] += 1
        if process.poll() is not None:
            break
    assert process.wait(LONGEST) == 0, "what is killed beside the command is started again by it"
    return True


def processes_of(mlops: Installation, words: str, line: str) -> list[psutil.Process]:
    """Training processes, or the servers of one line."""
    found = processes_with(mlops, words)
    return found if "entrypoint" in words else [p for p in found if line in " ".join(p.cmdline())]


def kill_one_of(mlops: Installation, words: str, line: str, chance: random.Random) -> bool:
    try:
        found = processes_of(mlops, words, line)
        if found:
            chance.choice(found).kill()
        return bool(found)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _killed_after(process: subprocess.Popen[bytes], delay: float) -> bool:
    """Kill the command after ``delay`` seconds; True if it had ended by itself."""
    try:
        assert process.wait(delay) == 0
        return True
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return False
