"""The real daemon, code server and web server over one installation: what happens with nobody typing `mlops run`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from daemon_process import answers, end
from dagster import DagsterInstance, DagsterRun, RunsFilter
from installation import ROOT, unmeasured
from loopback import free_port, until

from jobs.instance import open_instance
from resources.artifacts import TRAINING_TAG
from resources.platform import Platform
from resources.runs import PROCESS_TAG, PROPOSE_JOB, TRAIN_JOB
from resources.settings import Settings
from resources.tracker import Issue

pytestmark = [pytest.mark.slow, pytest.mark.service]

LINE = ("training_request", "plan", "dataset", "features", "model", "evaluation")
REST = ("approved_model", "operator_request", "package", "endpoint")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Installation:
    """One installation with `mlops ui` running over it."""

    platform: Platform
    instance: DagsterInstance
    port: int
    log: Path

    def open_issue(self, line: str, *, auto_approve: bool, trees: int = 20, algorithm: str = "random_forest") -> int:
        approval = "workflow_optimization:\n  auto_approve: true\n" if auto_approve else ""
        body = (
            "```yaml\n"
            f"model_id: {line}\ndataset_id: breast-cancer\ntask_type: classification\nalgorithm: {algorithm}\n"
            f"hyperparameters:\n  n_estimators: {trees}\nevaluation_threshold: 0.8\n{approval}```\n"
        )
        return self.platform.tracker.open_issue(f"Train {line}", body, ["mlops:train"]).number

    def issue(self, number: int) -> Issue:
        return self.platform.tracker.issue(number)

    def until(self, what: str, found: Callable[[], ValueT | None], seconds: float = 60.0) -> ValueT:
        return until(what, found, self.log, seconds)

    def runs(self, job: str, training_id: str) -> list[DagsterRun]:
        return list(self.instance.get_runs(RunsFilter(job_name=job, tags={TRAINING_TAG: training_id})))

    def concluded(self, number: int, label: str, seconds: float = 60.0) -> str:
        """Wait for the outcome label of an issue; the id of its line's newest training."""
        self.until(f"{label} on issue {number}", lambda: label in self.issue(number).labels, seconds)
        line = next(line for line in self.platform.ledger.lines() if self.of_issue(line, number))
        return self.of_issue(line, number)[-1]

    def of_issue(self, line: str, number: int) -> list[str]:
        return [t for t in self.platform.ledger.trainings(line) if self.platform.ledger.identity(t).issue == number]

    def graphql(self, query: str, **variables: object) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = json.loads(answer.read())
        assert "errors" not in content, content
        return content["data"]

    def materialize(self, line: str, assets: tuple[str, ...]) -> str:
        """What the button *Materialize* of the UI sends for one partition; the id of the run."""
        data = self.graphql(
            """mutation ($executionParams: ExecutionParams!) { launchPipelineExecution(executionParams: $executionParams) {
                 __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message stack }
                 ... on RunConfigValidationInvalid { errors { message } } ... on InvalidSubsetError { message } } }""",
            executionParams={
                "selector": {
                    "repositoryLocationName": "mlops_assets.definitions",
                    "repositoryName": "__repository__",
                    "pipelineName": "__ASSET_JOB",
                    "assetSelection": [{"path": [name]} for name in assets],
                    "assetCheckSelection": None,
                },
                "mode": "default",
                "runConfigData": {},
                "executionMetadata": {"tags": [{"key": "dagster/partition", "value": line}]},
            },
        )["launchPipelineExecution"]
        assert data["__typename"] == "LaunchRunSuccess", data
        return str(data["run"]["runId"])

    def ticks(self) -> int:
        data = self.graphql(
            """query ($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
                 ... on Sensor { sensorState { ticks(limit: 500) { id } } } } }""",
            selector={
                "repositoryLocationName": "mlops_assets.definitions",
                "repositoryName": "__repository__",
                "sensorName": "issue_sensor",
            },
        )
        return len(data["sensorOrError"]["sensorState"]["ticks"])


@pytest.fixture(scope="module")
def mlops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`mlops ui` as a person starts it, with an invalid issue already waiting."""
    folder = tmp_path_factory.mktemp("daemon")
    home = folder / "home"
    platform = Platform(Settings(home=home))
    platform.tracker.open_issue("Hopeless", "```yaml\ndataset_id: breast-cancer\nalgorithm: magic\n```", ["mlops:train"])
    port, log = free_port(), folder / "ui.log"
    environment = {**unmeasured(), "MLOPS_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "jobs", "ui", "--port", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        with open_instance(home) as instance:  # at the same moment as the servers, as a command typed early would
            installation = Installation(platform, instance, port, log)
            installation.until("the web server", lambda: answers(port))
            yield installation
    finally:
        end(process)
        for served in platform.endpoints.list():
            platform.endpoints.stop(served.name)


@pytest.fixture(scope="module")
def waiting(mlops: Installation) -> int:
    """An issue that nobody has approved."""
    return mlops.open_issue("by-hand", auto_approve=False)


@pytest.fixture(scope="module")
def killed(mlops: Installation) -> tuple[int, DagsterRun]:
    """An issue whose run worker was killed in the middle of training, and that run."""
    number = mlops.open_issue("killed", auto_approve=True, trees=600)

    def in_training() -> DagsterRun | None:
        for training in mlops.of_issue("killed", number) if "killed" in mlops.platform.ledger.lines() else []:
            phases = {phase.phase: phase.state for phase in mlops.platform.board.phases(training)}
            runs = mlops.runs(TRAIN_JOB, training)
            if phases["training"] == "running" and runs and PROCESS_TAG in runs[0].tags:
                return runs[0]
        return None

    run = mlops.until("the training step", in_training)
    os.kill(int(run.tags[PROCESS_TAG].partition(":")[0]), signal.SIGKILL)
    return number, run


@pytest.fixture(scope="module")
def served(mlops: Installation, waiting: int, request: pytest.FixtureRequest) -> tuple[int, str]:
    """An issue that the daemon alone carried through, beside two others, and its training."""
    number = mlops.open_issue("hands-off", auto_approve=True)
    request.getfixturevalue("killed")
    return number, mlops.concluded(number, "mlops:done")


def test_an_issue_that_approves_itself_reaches_an_answering_endpoint(mlops: Installation, served: tuple[int, str]) -> None:
    number, training = served
    assert mlops.of_issue("hands-off", number) == [training]
    assert len(mlops.runs(TRAIN_JOB, training)) == len(mlops.runs(PROPOSE_JOB, training)) == 1
    assert mlops.runs(TRAIN_JOB, training)[0].tags[PROCESS_TAG]
    record = mlops.platform.ledger.record(training)
    assert record is not None and record.outcome == "deployed" and record.endpoint is not None
    (comment,) = mlops.issue(number).comments
    assert "v1.0.0" in comment.body and record.endpoint.url in comment.body
    assert (mlops.platform.history.folder / f"training_history/{training}.md").is_file()
    rows = json.dumps(dict(mlops_example(mlops, training))).encode()
    request = urllib.request.Request(f"{record.endpoint.url}/invocations", rows, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.loads(answer.read())["model_version"] == "v1.0.0"


def mlops_example(mlops: Installation, training: str) -> Any:
    from resources.closing import example_rows

    examples = example_rows(mlops.platform, training)
    assert examples is not None
    return examples.rows[0]


def test_materialize_trains_the_lines_configuration_again(mlops: Installation, served: tuple[int, str]) -> None:
    number, first = served
    run = mlops.materialize("hands-off", (*LINE, *REST))
    second = mlops.until("a second training", lambda: next(iter(mlops.of_issue("hands-off", number)[1:]), None))
    record = mlops.until("its record", lambda: mlops.platform.ledger.record(second))
    mlops.until("its report", lambda: mlops.platform.ledger.is_reported(second))
    assert second.endswith(run.replace("-", "")[:6])
    assert record.outcome == "deployed" and record.model is not None and record.model.version == "v1.1.0"
    assert record.plan_digest == mlops.platform.ledger.record(first).plan_digest  # type: ignore[union-attr]
    assert record.approved_by == "line configuration"
    assert (mlops.platform.history.folder / f"training_history/{second}.md").is_file()
    comments = mlops.issue(number).comments
    assert ["`v1.1.0` is deployed" in comment.body for comment in comments] == [False, True]
    assert "mlops:done" in mlops.issue(number).labels


def test_materializing_only_the_later_assets_starts_from_what_the_line_has(mlops: Installation, served: tuple[int, str]) -> None:
    number, _ = served
    before = mlops.platform.ledger.trainings("hands-off")
    run = mlops.materialize("hands-off", ("model", "evaluation", *REST))
    third = mlops.until(
        "another training",
        lambda: next((t for t in mlops.platform.ledger.trainings("hands-off") if t not in before and _reported(mlops, t)), None),
    )
    record = mlops.platform.ledger.record(third)
    assert third.endswith(run.replace("-", "")[:6])
    assert record is not None and record.outcome == "deployed" and record.model is not None
    assert record.model.version == f"v1.{len(before)}.0"
    base = mlops.platform.ledger.reference(third, "features")
    assert base is not None and base.training_id == before[-1] and record.dataset is not None
    own = mlops.platform.ledger.reference(third, "model")
    assert own is not None and own.training_id == third
    assert own.upstream["features"] == f"{before[-1]}@{base.digest}"
    assert len(mlops.issue(number).comments) == len(before) + 1


def _reported(mlops: Installation, training: str) -> bool:
    return mlops.platform.ledger.is_reported(training)


def test_a_part_of_the_line_alone_concludes_nothing(mlops: Installation, served: tuple[int, str]) -> None:
    number, _ = served
    before = mlops.platform.ledger.trainings("hands-off")
    run = mlops.materialize("hands-off", ("evaluation",))
    mlops.until("the end of the run", lambda: mlops.instance.get_run_by_id(run).is_success)  # type: ignore[union-attr]
    mlops.until("the label of the last outcome", lambda: "mlops:running" not in mlops.issue(number).labels)
    assert "mlops:done" in mlops.issue(number).labels
    assert mlops.platform.ledger.trainings("hands-off") == before


def test_an_issue_that_nobody_approved_waits_and_a_command_carries_it_on_once(mlops: Installation, waiting: int) -> None:
    number = waiting
    comment = mlops.until("the proposal", lambda: next(iter(mlops.issue(number).comments), None))
    assert f"mlops run {number}" in comment.body
    environment = {**unmeasured(), "MLOPS_HOME": str(mlops.platform.home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "jobs", "run", str(number)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    training = mlops.concluded(number, "mlops:done")
    ticks = mlops.ticks()
    mlops.until("two more ticks", lambda: mlops.ticks() >= ticks + 2)
    assert mlops.of_issue("by-hand", number) == [training]
    assert len(mlops.runs(TRAIN_JOB, training)) == len(mlops.runs(PROPOSE_JOB, training)) == 1
    (comment,) = mlops.issue(number).comments
    assert "v1.0.0" in comment.body and f"mlops run {number}" not in comment.body


def test_a_killed_run_worker_is_followed_by_one_result(mlops: Installation, killed: tuple[int, DagsterRun]) -> None:
    number, run = killed
    training = mlops.concluded(number, "mlops:done", 90)
    assert training == run.tags[TRAINING_TAG] and mlops.of_issue("killed", number) == [training]
    later, earlier = mlops.runs(TRAIN_JOB, training)
    assert earlier.run_id == run.run_id and earlier.is_failure and later.is_success
    assert mlops.platform.models.published("killed") == ["v1.0.0"]
    assert len(mlops.issue(number).comments) == 1
    records = list((mlops.platform.history.folder / "training_history").glob(f"{training}.md"))
    assert len(records) == 1


def test_an_invalid_issue_is_refused_once(mlops: Installation) -> None:
    mlops.until("several ticks", lambda: mlops.ticks() >= 3)
    issue = mlops.issue(1)
    assert "mlops:invalid" in issue.labels
    assert len(issue.comments) == 1 and "magic" in issue.comments[0].body
