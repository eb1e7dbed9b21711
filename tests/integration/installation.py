"""One installation under test: its home, the command line as a person uses it, and what must hold whenever nothing runs.

Not for the behaviour of any one command; that is what the tests say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from mlops_assets.reports.record import TrainingRecord
from mlops_assets.request.lifecycle import body_digest
from mlops_assets.serving.package import MANIFEST, verify
from resources.experiment_content import TRAINING_ID_TAG
from resources.experiments import VERSION_TAG
from resources.platform import Platform
from resources.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "issues"


def unmeasured(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment without what makes a process count its own lines: those that are killed report nothing anyway.

    Counting costs a command a quarter more processor time, and its lines are counted by the tests of the undisturbed loop.
    """
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}


class Installation:
    """Runs ``mlops`` over a home of its own, with a working directory of its own."""

    def __init__(self, folder: Path, *, measured: bool = True) -> None:
        """With ``measured`` off, its commands do not count for the coverage, and are quicker."""
        self.folder = folder
        self._measured = measured
        self.home = folder / "home"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        outer = os.environ if self._measured else unmeasured()
        return {**outer, "MLOPS_HOME": str(self.home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}

    @property
    def platform(self) -> Platform:
        """The doors as a fresh process would open them."""
        return Platform(Settings(home=self.home))

    def run(self, *words: str | Path, expect: int = 0, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "jobs", *map(str, words)],
            cwd=self.folder,
            env={**self.environment, **variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == expect, f"mlops {words} -> {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def json(self, *words: str | Path, expect: int = 0, **variables: str) -> Any:
        """What a command prints with ``--json``."""
        return json.loads(self.run(*words, "--json", expect=expect, **variables).stdout)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """One command in the background; its output is thrown away."""
        return subprocess.Popen(
            [sys.executable, "-m", "jobs", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def issue(self, name: str, text: str) -> int:
        """Submit a body; the issue's number."""
        path = self.folder / f"{name}.md"
        path.write_text(text, encoding="utf-8")
        return int(self.json("submit", path)["issue"])

    def comments(self, number: int) -> list[dict[str, str]]:
        """The platform's comments in a thread."""
        return [c for c in self.json("thread", str(number))["comments"] if c["marker"]]

    def result_comment(self, number: int) -> str:
        """The one comment of the one training of an issue."""
        (comment,) = [c["body"] for c in self.comments(number) if c["marker"].startswith("training:")]
        return str(comment)

    def training_runs(self) -> dict[str, int]:
        """Training id -> MLflow runs of it."""
        from mlflow.tracking import MlflowClient

        experiments = self.platform.experiments
        experiments.versions("any-line")  # brings the database up, where nothing has been logged yet
        client = MlflowClient(tracking_uri=experiments.tracking_uri)
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        found: dict[str, int] = {}
        for run in client.search_runs(ids):
            found[run.info.run_name] = found.get(run.info.run_name, 0) + 1
        return found

    def registered(self, line: str) -> list[tuple[str, str]]:
        """(semantic version, training id) of MLflow's registry for a line, each as often as it is there."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self.platform.experiments.tracking_uri)
        found = client.search_model_versions(f"name = '{line}'")
        return sorted((v.tags[VERSION_TAG], v.tags[TRAINING_ID_TAG]) for v in found)

    def commits(self) -> list[str]:
        """Subjects of the history's commits, newest first."""
        log = ["git", "-C", str(self.home / "history"), "log", "--format=%s", "main"]
        return subprocess.run(log, capture_output=True, text=True, check=True).stdout.splitlines()

    def processes(self) -> list[psutil.Process]:
        """Living processes that belong to this installation."""
        marks = str(self.home)
        found = []
        for process in psutil.process_iter():
            try:
                ours = any(marks in word for word in process.cmdline()) or process.environ().get("MLOPS_HOME") == marks
                inside = process.cwd().startswith(marks)
                if process.pid != os.getpid() and (ours or inside) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def stop(self) -> None:
        """End every endpoint."""
        for endpoint in self.platform.endpoints.list():
            self.platform.endpoints.stop(endpoint.name)

    def assert_nothing_runs(self, *, but_endpoints: bool = False, within: float = 5.0) -> None:
        """No process of this installation is left, the servers of its endpoints apart if so said."""
        deadline = time.monotonic() + within
        while True:
            commands = [_words(process) for process in self.processes()]
            left = [words for words in commands if words and not (but_endpoints and "mlops_assets.serving" in words)]
            if not left:
                return
            assert time.monotonic() < deadline, left
            time.sleep(0.1)

    def state(self) -> dict[str, Any]:
        """Everything that a second run of a concluded issue must leave as it is."""
        platform = self.platform
        return {
            "issues": {i.number: (i.labels, [(c.id, c.body, c.updated_at) for c in i.comments]) for i in self._issues()},
            "objects": platform.store.keys(""),
            "runs": self.training_runs(),
            "registered": {line: self.registered(line) for line in platform.ledger.lines()},
            "commits": self.commits(),
            "endpoints": [(e.name, e.version, e.url) for e in platform.endpoints.list()],
        }

    def _issues(self) -> Sequence[Any]:
        return self.platform.tracker.issues(state="all")

    def assert_published_folders_are_whole(self) -> None:
        """Every folder with a manifest verifies, and no leftover of a killed writer can be seen."""
        store = self.platform.store
        keys = store.keys("")
        assert [key for key in keys if "#" in key] == []
        prefixes = [key.removesuffix(f"/{MANIFEST}") for key in keys if key.endswith(f"/{MANIFEST}")]
        assert prefixes
        for prefix in prefixes:
            verify(store.checkout(prefix))

    def only_training(self, number: int) -> TrainingRecord:
        """The record of an issue's one training, after checking that everything about it exists exactly once."""
        platform = self.platform
        issue = platform.tracker.issue(number)
        (identity,) = platform.ledger.attempts(number, body_digest(issue.title, issue.body))
        record = platform.ledger.record(identity.training_id)
        assert record is not None
        assert platform.ledger.is_reported(record.training_id)
        assert [c.marker for c in issue.comments] == [f"training:{record.training_id}"]
        assert len([label for label in issue.labels if label != "mlops:train"]) == 1
        assert self.training_runs().get(record.training_id) == 1
        assert len([c for c in self.commits() if record.training_id in c]) == 1
        assert platform.history.read(record.training_id) == record
        claims = platform.models.versions(record.model_id)
        mirrored = [version for version, training in self.registered(record.model_id) if training == record.training_id]
        if record.model is None:
            assert mirrored == []
        else:
            assert mirrored == [record.model.version]
            assert claims.count(record.model.version) == 1
            assert platform.models.metadata(record.model_id, record.model.version).training_id == record.training_id
        return record


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
