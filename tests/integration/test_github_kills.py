"""``kill -9`` around every write to GitHub and after objects written to the store, then another start: exactly one result.

A write to GitHub has two such moments: the request has left and nothing was done, and it was done and nobody heard the answer.
Mostly a driver that ticks and runs in forks stands for the daemon (see ``kill_driver``); at some points it is the real daemon.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from daemon_process import Daemon
from dagster import RunsFilter
from front_door import ACCOUNT, REPOSITORY, register_customers, settings_for, tell
from installation import Installation

from jobs.instance import open_instance
from mlops_assets.reports.record import TrainingRecord
from resources.artifacts import TRAINING_TAG
from resources.github_labels import LABELS
from resources.platform import Platform
from resources.runs import PROPOSE_JOB, TRAIN_JOB
from tests.standins.github import GitHubStandIn, Request
from tests.standins.github.faults import Dropped
from tests.standins.slack import SlackWebhook

pytestmark = [pytest.mark.slow, pytest.mark.service]

SEED = 20261121
MOST_ATTEMPTS = 40
MOST_AFTER = 3
"""Kills after a kind of write that was done: a comment is edited once a phase, and each attempt finds it as it should be."""
BODY = """お願いします。

```yaml
model_id: {line}
dataset_id: customers
task_type: classification
algorithm: logistic_regression
evaluation_threshold: 0.6
notification_channels: [slack]
```
"""
#: Every kind of write that a thread needs, by what it is for.
WRITES = {
    "comment": r"POST /issues/\d+/comments",
    "edited comment": r"PATCH /issues/comments/\d+",
    "label": r"POST /issues/\d+/labels",
    "label taken off": r"DELETE /issues/\d+/labels/.*",
    "label of the repository": r"POST /labels",
    "blob": r"POST /git/blobs",
    "tree": r"POST /git/trees",
    "commit": r"POST /git/commits",
    "branch": r"PATCH /git/refs/.*",
}
When = Literal["before", "after"]


def name_of(request: Request) -> str:
    """Which kind of write a request is."""
    place = f"{request.method} {request.path.removeprefix(f'/repos/{REPOSITORY}')}"
    return next(name for name, pattern in WRITES.items() if re.fullmatch(pattern, place))


def point_of(request: Request) -> str:
    """A write and what it says, without the numbers in which two tries of it differ."""
    said = re.sub(r"[0-9a-f]{12,}|\d+", "", request.body.decode()) if request.body else ""
    return f"{name_of(request)} {request.method} {said}"


class Repository(Installation):
    """An installation whose issues live in the stand-in."""

    def __init__(self, folder: Path, github: GitHubStandIn, slack: SlackWebhook) -> None:
        super().__init__(folder)
        self.github = github
        self.slack = slack
        self.settings = settings_for(github, self.home, slack_webhook_url=slack.url, training_retries=10)
        self.daemon = Daemon(self.settings, folder)
        register_customers(self.platform, folder)
        github.add_user("maintainer", permission="write")
        github.push("maintainer", {"README.md": "# Models\n"}, "Begin")
        for name in sorted(LABELS)[1:]:  # the first is left to be made by the platform
            github.do("maintainer", "POST", f"/repos/{REPOSITORY}/labels", {"name": name, "color": LABELS[name][0]})

    @property
    def platform(self) -> Platform:
        return Platform(self.settings)

    @property
    def environment(self) -> dict[str, str]:
        folders = os.pathsep.join((self.daemon.environment["PYTHONPATH"], str(Path(__file__).parent)))
        return {**self.daemon.environment, "MLOPS_TRAINING_RETRIES": "10", "PYTHONPATH": folders}

    def open(self, line: str) -> int:
        return self.github.open_issue("requester", f"Train {line}", BODY.format(line=line), labels=["mlops:train"])

    def approve(self, number: int) -> None:
        self.github.react(self.training_comments(number)[0], "maintainer", "+1")

    def training_comments(self, number: int) -> list[int]:
        ours = (comment for comment in self.github.comments(number) if comment["user"]["login"] == ACCOUNT)
        return [comment["id"] for comment in ours if "<!-- mlops:comment training:" in comment["body"]]

    def assert_one_result(self, number: int, line: str) -> TrainingRecord:
        """One comment for each marker, one successful run of each job, one commit, one version, one notification of each kind."""
        platform = self.platform
        (identity,) = platform.ledger.of_issue(number)
        training = identity.training_id
        record = platform.ledger.record(training)
        assert record is not None and platform.ledger.is_reported(training)
        assert (record.outcome, record.error) == ("deployed", None)
        markers = [comment["body"].split("\n", 1)[0] for comment in self.github.comments(number)]
        assert markers == [f"<!-- mlops:comment training:{training} -->"]
        assert self.github.labels(number) == {"mlops:train", "mlops:done"}
        with open_instance(self.home) as instance:
            for job in (PROPOSE_JOB, TRAIN_JOB):
                runs = instance.get_runs(RunsFilter(job_name=job, tags={TRAINING_TAG: training}))
                assert sum(run.is_success for run in runs) == 1, [(run.job_name, run.status) for run in runs]
        assert self.training_runs().get(training) == 1
        assert len([commit for commit in self.github.commits() if training in commit.message]) == 1
        assert platform.history.read(training) == record
        assert platform.history.url(training) in self.github.comments(number)[0]["body"]
        assert platform.models.versions(line) == platform.models.published(line) == ["v1.0.0"]
        assert self.registered(line) == [("v1.0.0", training)]
        (endpoint,) = [endpoint for endpoint in platform.endpoints.list() if endpoint.model_id == line]
        assert endpoint.healthy and endpoint.version == "v1.0.0"
        platform.outbox.deliver(now=datetime.now(UTC) + timedelta(hours=1))  # what a killed attempt has held up
        settled = [one for one in platform.outbox.settlements() if one.training_id == training]
        assert [one.state for one in settled] == ["delivered"] * 2, settled
        self.assert_published_folders_are_whole()
        return record


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with GitHubStandIn(repository=REPOSITORY) as github, SlackWebhook() as slack:
        github.limit(ACCOUNT, 1_000_000)
        repository = Repository(tmp_path_factory.mktemp("github-kills"), github, slack)
        yield repository
        repository.stop()
        repository.assert_nothing_runs()


@dataclass
class Driver:
    """The process that forks the attempts."""

    process: subprocess.Popen[str]
    pid: int = 0
    ends: list[int] = field(default_factory=list)

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def attempt(self, kind: str = "none", number: int = 0) -> int:
        """Start the platform once, and let it go on until it is killed or nothing is left to do."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([kind, number]) + "\n")
        self.process.stdin.flush()
        self.pid = int(self._line())
        self.ends.append(int(self._line()))
        assert self.ends[-1] in (0, -9), "see the standard error of the driver above"
        return self.ends[-1]

    def rest(self) -> None:
        """Start it again until it comes to its end."""
        for _ in range(MOST_ATTEMPTS):
            if self.attempt() == 0:
                return
        raise AssertionError(f"no end after {MOST_ATTEMPTS} attempts")

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def driver(repository: Repository) -> Iterator[Driver]:
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("kill_driver.py"))],
        cwd=repository.folder,
        env=repository.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    driver = Driver(process)
    assert driver._line() == "ready"
    yield driver
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 0


class Killer:
    """Kills whoever writes to GitHub, before or after it is done: once at each point, or once for each kind of ``only``."""

    def __init__(self, github: GitHubStandIn, when: When, kill: Callable[[], None], only: tuple[str, ...] = ()) -> None:
        self.names: list[str] = []
        self._points: set[str] = set()
        self._when = when
        self._kill = kill
        self._only = only
        self._lock = threading.Lock()
        self.end = github.on_write(self._watch, when)

    def _watch(self, request: Request, _: object) -> None:
        with self._lock:
            name, point = name_of(request), point_of(request)
            most = MOST_AFTER if self._when == "after" else len(self.names) + 1
            most = int(name in self._only) if self._only else most
            if point in self._points or self.names.count(name) >= most:
                return
            self._points.add(point)
            self.names.append(name)
            self._kill()
            if self._when == "before":
                raise Dropped  # the server took nothing of it


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_write_to_github_there_is_one_result(repository: Repository, driver: Driver, when: When) -> None:
    line = f"write-{when}"
    number = repository.open(line)
    killer = Killer(repository.github, when, driver.kill)
    messages, ends = len(repository.slack.messages), len(driver.ends)
    try:
        driver.rest()
        repository.approve(number)
        driver.rest()
    finally:
        killer.end()
    kills = driver.ends[ends:].count(-9)
    tell(f"{kills} kills {when} a write: {sorted((name, killer.names.count(name)) for name in set(killer.names))}")
    assert kills == len(killer.names) >= 12
    assert set(killer.names) >= set(WRITES) - {"label of the repository"}
    repository.assert_one_result(number, line)
    assert len(repository.slack.messages) - messages == 2, "one that asks for approval, one with the result"


def test_killed_after_objects_written_to_the_store_there_is_one_result(repository: Repository, driver: Driver) -> None:
    """An undisturbed thread writes about a hundred objects; each attempt gets a few further than the one before."""
    chance = random.Random(SEED)
    number = repository.open("objects")
    ends = len(driver.ends)
    for _ in range(6):
        driver.attempt("object", chance.randint(1, 12))
    driver.rest()
    repository.approve(number)
    for _ in range(8):
        driver.attempt("object", chance.randint(1, 20))
    driver.rest()
    kills = driver.ends[ends:].count(-9)
    tell(f"{kills} kills after an object")
    assert kills >= 10
    repository.assert_one_result(number, "objects")


def test_answers_that_are_lost_leave_one_of_everything(repository: Repository, driver: Driver) -> None:
    """Every kind of write is done once, and answered with a 500 or not at all."""
    number = repository.open("lost")
    kinds = [name for name in WRITES if name != "label of the repository"]
    for position, name in enumerate(kinds):
        verb, path = WRITES[name].split(" ", 1)
        repository.github.fail(("lost", "lost-close")[position % 2], verb, rf"{REPOSITORY}{path}$")
    driver.rest()
    repository.approve(number)
    driver.rest()
    assert repository.github.faults == [], "every one of them has happened"
    repository.assert_one_result(number, "lost")


def test_the_daemon_killed_around_writes_to_github_leaves_one_result(repository: Repository) -> None:
    """With its code server and its run workers, at the proposal, at the commit and at the report; started again each time."""
    number = repository.open("daemon")
    died = threading.Event()

    def kill() -> None:
        repository.daemon.kill()
        died.set()

    def until(what: str, found: Callable[[], bool]) -> None:
        def restarted() -> bool:
            if died.is_set():
                died.clear()
                repository.daemon.start_alone()
            return found()

        repository.daemon.until(what, restarted, 120)

    killers = [
        Killer(repository.github, "after", kill, only=("comment", "branch")),
        Killer(repository.github, "before", kill, only=("tree",)),
    ]
    try:
        repository.daemon.start_alone()
        until("the wait for a thumb", lambda: number in repository.platform.docket.listing().waiting)
        repository.approve(number)
        (identity,) = repository.platform.ledger.of_issue(number)
        until("the report", lambda: repository.platform.ledger.is_reported(identity.training_id))
    finally:
        for killer in killers:
            killer.end()
        repository.daemon.end()
    assert [killer.names for killer in killers] == [["comment", "branch"], ["tree"]]
    repository.assert_one_result(number, "daemon")
