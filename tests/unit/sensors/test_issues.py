"""One tick of the issue sensor at a time, over a real installation and a real Dagster instance with runs in every state."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    SensorResult,
    SkipReason,
    build_sensor_context,
)
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG
from dagster._core.utils import make_new_run_id

from jobs.runner import Runner
from mlops_assets.definitions import defs
from mlops_assets.request.lifecycle import body_digest
from resources.artifacts import TRAINING_TAG
from resources.platform import Platform
from resources.runs import PROCESS_TAG, TRAIN_JOB, reap, run_state, this_process
from sensors.issues import read_issues

BODY = (
    "```yaml\ndataset_id: breast-cancer\ntask_type: classification\nalgorithm: random_forest\n"
    "evaluation_threshold: 0.8\n{more}```\n"
)
AUTO = "workflow_optimization:\n  auto_approve: true\n"


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as opened:
        yield opened


def tick(platform: Platform, instance: DagsterInstance) -> list[RunRequest]:
    repository = defs.get_repository_def()
    context = build_sensor_context(instance=instance, repository_def=repository, resources={"platform": platform})
    result = read_issues(context)
    assert isinstance(result, SensorResult | SkipReason)
    return list(result.run_requests or []) if isinstance(result, SensorResult) else []


def planned(platform: Platform, instance: DagsterInstance, more: str = AUTO) -> str:
    """An issue whose plan has been made; the id of its training."""
    issue = platform.tracker.open_issue("Planned", BODY.format(more=more), ["mlops:train"])
    Runner(platform, instance, lambda action, detail: None).carry(issue.number, plan_only=True)
    return platform.ledger.attempts(issue.number, body_digest(issue.title, issue.body))[-1].training_id


def add_run(instance: DagsterInstance, training: str, status: DagsterRunStatus, **tags: str) -> DagsterRun:
    run = DagsterRun(
        job_name=TRAIN_JOB,
        run_id=make_new_run_id(),
        status=status,
        tags={TRAINING_TAG: training, **{name.replace("__", "/"): value for name, value in tags.items()}},
    )
    return instance.run_storage.add_run(run)


def test_a_repeated_tick_asks_for_the_same_run(platform: Platform, instance: DagsterInstance) -> None:
    issue = platform.tracker.open_issue("New", BODY.format(more=AUTO), ["mlops:train"])
    first, second = tick(platform, instance), tick(platform, instance)
    assert [(r.job_name, r.run_key) for r in first] == [(r.job_name, r.run_key) for r in second]
    (request,) = first
    assert request.job_name == "propose" and request.tags["mlops/issue"] == str(issue.number)
    assert len(platform.ledger.attempts(issue.number, body_digest(issue.title, issue.body))) == 1


def test_an_interrupted_run_is_asked_for_under_another_key_until_the_limit(platform: Platform, instance: DagsterInstance) -> None:
    training = planned(platform, instance)
    issue = platform.ledger.identity(training).issue
    assert issue is not None
    keys = []
    for _ in range(platform.settings.training_retries + 1):
        (request,) = tick(platform, instance)
        keys.append(request.run_key)
        add_run(instance, training, DagsterRunStatus.FAILURE)
    assert keys == [f"train:{training}:{n}" for n in range(platform.settings.training_retries + 1)]
    assert tick(platform, instance) == []
    record = platform.ledger.record(training)
    assert record is not None and record.outcome == "failed" and "interrupted 4 times" in (record.error or "")
    assert "mlops:failed" in platform.tracker.issue(issue).labels
    assert tick(platform, instance) == []


def test_a_run_that_failed_by_itself_is_reported_and_not_repeated(platform: Platform, instance: DagsterInstance) -> None:
    training = planned(platform, instance)
    add_run(instance, training, DagsterRunStatus.FAILURE, **{RUN_FAILURE_REASON_TAG: "STEP_FAILURE"})
    assert run_state(instance, training, TRAIN_JOB) == "failed"
    assert tick(platform, instance) == []
    record = platform.ledger.record(training)
    assert record is not None and record.outcome == "failed"


def test_a_run_that_a_person_cancelled_is_left_to_that_person(platform: Platform, instance: DagsterInstance) -> None:
    training = planned(platform, instance)
    add_run(instance, training, DagsterRunStatus.CANCELED)
    assert tick(platform, instance) == []
    assert platform.ledger.record(training) is None


def test_an_approval_typed_as_a_command_is_carried_on_by_that_command(platform: Platform, instance: DagsterInstance) -> None:
    training = planned(platform, instance, more="")
    assert tick(platform, instance) == []
    platform.front_desk.approve(training, platform.tracker.current_actor(), "command")
    assert tick(platform, instance) == []


def test_an_approval_that_its_command_did_not_act_on_is_taken_over(
    platform: Platform, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    training = planned(platform, instance, more="")
    platform.front_desk.approve(training, platform.tracker.current_actor(), "command")
    monkeypatch.setattr("sensors.issues.COMMAND_GRACE", timedelta(seconds=-1))
    (request,) = tick(platform, instance)
    assert request.run_key == f"train:{training}:0"


def test_a_damaged_issue_does_not_hold_up_the_others(platform: Platform, instance: DagsterInstance) -> None:
    hopeless = platform.tracker.open_issue("Hopeless", "```yaml\nalgorithm: magic\n```", ["mlops:train"])
    platform.tracker.open_issue("Sound", BODY.format(more=AUTO), ["mlops:train"])
    for _ in range(3):
        (request,) = tick(platform, instance)
        assert request.job_name == "propose"
    assert len(platform.tracker.issue(hopeless.number).comments) == 1


def test_reaping_ends_runs_without_their_process_and_no_other(platform: Platform, instance: DagsterInstance) -> None:
    gone = add_run(instance, "train-a", DagsterRunStatus.STARTED, **{PROCESS_TAG: "4194303:1.00"})
    alive = add_run(instance, "train-b", DagsterRunStatus.STARTED, **{PROCESS_TAG: this_process()})
    young = add_run(instance, "train-c", DagsterRunStatus.STARTED)
    assert reap(instance) == [gone.run_id]
    assert run_state(instance, "train-a", TRAIN_JOB) == "none"
    for run in (alive, young):
        found = instance.get_run_by_id(run.run_id)
        assert found is not None and found.status == DagsterRunStatus.STARTED
