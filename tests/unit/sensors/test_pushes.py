"""One tick of the push sensor at a time, over a real inbox, a real ledger and a real Dagster instance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRequest, SensorResult, SkipReason, build_sensor_context
from dagster._core.storage.tags import RUN_KEY_TAG
from dagster._core.utils import make_new_run_id

from mlops_assets.definitions import defs
from mlops_assets.request.parser import parse_issue
from resources.artifacts import MODEL_TAG, TRAINING_TAG
from resources.folder_tracker import PLATFORM
from resources.inbox import InboxUnavailable
from resources.ledger import LineConfiguration
from resources.platform import Platform
from resources.runs import RETRAIN_JOB
from resources.settings import Settings
from sensors.pushes import read_pushes

FIRST, SECOND = "1" * 40, "2" * 40
FOLLOWS = "auto_retrain_enabled: true\nretrain_triggers: [code_change]\n"


class OfGitHub(Platform):
    """Settings of an installation at GitHub over a tracker that needs no account."""

    def __init__(self, home: Path, actor: str = "maintainer") -> None:
        super().__init__(Settings(home=home, tracker="github", github_repository="owner/name"))
        from resources.folder_tracker import FolderTracker

        self.__dict__["tracker"] = FolderTracker(home / "issues", actor=actor)


@pytest.fixture
def github(tmp_path: Path) -> Platform:
    return OfGitHub(tmp_path / "home")


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as opened:
        yield opened


def tick(platform: Platform, instance: DagsterInstance) -> list[RunRequest]:
    context = build_sensor_context(instance=instance, repository_def=defs.get_repository_def(), resources={"platform": platform})
    result = read_pushes(context)
    assert isinstance(result, SensorResult | SkipReason)
    return list(result.run_requests or []) if isinstance(result, SensorResult) else []


def launch(instance: DagsterInstance, request: RunRequest, status: DagsterRunStatus = DagsterRunStatus.STARTING) -> None:
    """What the daemon does with a request."""
    tags = {**request.tags, RUN_KEY_TAG: str(request.run_key)}
    instance.run_storage.add_run(DagsterRun(job_name=RETRAIN_JOB, run_id=make_new_run_id(), status=status, tags=tags))


def line(platform: Platform, name: str, fields: str = FOLLOWS) -> None:
    body = f"```yaml\nmodel_id: {name}\ndataset_id: d\ntask_type: classification\nalgorithm: random_forest\n{fields}```\n"
    request = parse_issue("t", body, offered=[])
    platform.ledger.configure_line(LineConfiguration(model_id=name, request=request, issue=1, training_id="train-1"))


def deliver(platform: Platform, after: str = FIRST, path: str = "model.py", delivery_id: str = "", **author: str) -> None:
    commits = [{"id": after, "author": {"username": "requester", **author}, "modified": [path]}]
    content = {"ref": "refs/heads/main", "after": after, "repository": {"default_branch": "main"}, "commits": commits}
    platform.inbox.store(delivery_id or f"push-{after}", "push", None, None, "refs/heads/main", json.dumps(content).encode())


def test_lines_that_ask_for_it_are_trained_again_once(github: Platform, instance: DagsterInstance) -> None:
    line(github, "churn")
    line(github, "fraud")
    line(github, "by-hand", "")
    deliver(github)
    requests = tick(github, instance)
    assert [(r.run_key, r.partition_key) for r in requests] == [
        (f"push:{FIRST}:churn", "churn"),
        (f"push:{FIRST}:fraud", "fraud"),
    ]
    assert all(r.job_name == RETRAIN_JOB and r.tags[MODEL_TAG] == r.partition_key for r in requests)
    assert all(TRAINING_TAG not in r.tags for r in requests), "the run begins a training of its own"
    for request in requests:
        launch(instance, request)
    assert tick(github, instance) == []
    assert github.inbox.waiting() == 0


def test_a_tick_that_was_killed_asks_only_for_what_is_missing(github: Platform, instance: DagsterInstance) -> None:
    line(github, "churn")
    line(github, "fraud")
    deliver(github)
    first, second = tick(github, instance)
    assert [r.run_key for r in tick(github, instance)] == [first.run_key, second.run_key], "nothing was consumed yet"
    launch(instance, first)
    assert [r.run_key for r in tick(github, instance)] == [second.run_key]
    launch(instance, second, DagsterRunStatus.NOT_STARTED)
    assert [r.run_key for r in tick(github, instance)] == [second.run_key], "made, but its daemon died before it launched it"
    launch(instance, second, DagsterRunStatus.FAILURE)
    assert tick(github, instance) == [] and github.inbox.waiting() == 0


def test_one_push_told_twice_under_two_deliveries_is_one_run(github: Platform, instance: DagsterInstance) -> None:
    line(github, "churn")
    deliver(github, delivery_id="of-the-hook")
    deliver(github, delivery_id="of-the-app")
    (request,) = tick(github, instance)
    launch(instance, request)
    assert tick(github, instance) == []
    deliver(github, delivery_id="once-more")
    assert tick(github, instance) == [] and github.inbox.waiting() == 0


def test_several_pushes_are_answered_by_one_training_on_the_last(github: Platform, instance: DagsterInstance) -> None:
    line(github, "churn")
    deliver(github, FIRST)
    deliver(github, SECOND)
    (request,) = tick(github, instance)
    assert request.run_key == f"push:{SECOND}:churn"


@pytest.mark.parametrize("path", ["training_history/train-20260101-000000-abcd.md", "docs/a.py", "README.md"])
def test_history_and_documents_start_nothing_and_are_done_with_at_once(
    github: Platform, instance: DagsterInstance, path: str
) -> None:
    line(github, "churn")
    deliver(github, path=path)
    assert tick(github, instance) == []
    assert github.inbox.waiting() == 0


def test_a_commit_of_the_platforms_own_account_starts_nothing(tmp_path: Path, instance: DagsterInstance) -> None:
    platform = OfGitHub(tmp_path / "home", actor=PLATFORM)
    line(platform, "churn")
    deliver(platform, username=PLATFORM)
    assert tick(platform, instance) == [] and platform.inbox.waiting() == 0


def test_commits_of_the_person_whose_token_is_used_count(github: Platform, instance: DagsterInstance) -> None:
    line(github, "churn")
    deliver(github, username="maintainer")
    assert len(tick(github, instance)) == 1


def test_a_delivery_that_is_no_push_does_not_hold_up_the_next(github: Platform, instance: DagsterInstance) -> None:
    line(github, "churn")
    github.inbox.store("broken", "push", None, None, "refs/heads/main", b'{"ref": 1}')
    deliver(github)
    (request,) = tick(github, instance)
    launch(instance, request)
    assert tick(github, instance) == [] and github.inbox.waiting() == 0


def test_a_damaged_line_does_not_hold_up_the_others(github: Platform, instance: DagsterInstance) -> None:
    line(github, "churn")
    github.store.put("lines/broken/current.json", b"{")
    deliver(github)
    assert [r.partition_key for r in tick(github, instance)] == ["churn"]


def test_issues_of_a_folder_cost_a_tick_nothing(platform: Platform, instance: DagsterInstance) -> None:
    assert tick(platform, instance) == []
    assert not platform.home.exists()


def test_an_inbox_that_cannot_be_read_fails_the_tick_and_loses_nothing(github: Platform, instance: DagsterInstance) -> None:
    line(github, "churn")
    path = github.home / "webhook" / "inbox.db"
    deliver(github)
    github.inbox.close()
    sound = path.read_bytes()
    path.write_bytes(b"damaged" * 1000)
    with pytest.raises(InboxUnavailable):
        tick(github, instance)
    path.write_bytes(sound)
    assert len(tick(github, instance)) == 1


def test_the_sensor_runs_by_default_and_starts_only_retrainings() -> None:
    sensor = defs.get_repository_def().get_sensor_def("push_sensor")
    assert sensor.default_status.value == "RUNNING"
    assert [target.job_name for target in sensor.targets] == [RETRAIN_JOB]
