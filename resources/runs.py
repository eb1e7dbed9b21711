"""Runs of the model-line jobs in a Dagster instance: how one stands, and ending those whose process is gone.

Under the default launcher a run whose process was killed stays STARTED for ever; ``reap`` ends it, marked as interrupted, so
that it is run again and not reported as failed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

import psutil
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.dagster_run import RunRecord
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG

from mlops_assets.request.lifecycle import RunState
from resources.artifacts import TRAINING_TAG

PROPOSE_JOB, TRAIN_JOB, RETRAIN_JOB = "propose", "train", "retrain"
PROCESS_TAG = "mlops/process"
INTERRUPTED_TAG = "mlops/interrupted"
UNCLAIMED_SECONDS = 300.0
"""A run that started this long ago and reached no step has lost its process: a first step begins within seconds."""
_OPEN = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.CANCELING]
_OWN_FAILURES = {"STEP_FAILURE", "RUN_EXCEPTION", "JOB_INITIALIZATION_FAILURE"}
_QUEUED = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED]


def this_process() -> str:
    """Identity of this process that a later one with the same number does not share."""
    return f"{os.getpid()}:{psutil.Process().create_time():.2f}"


def is_alive(process: str) -> bool:
    """Whether the process of ``this_process`` is still running."""
    number, _, created = process.partition(":")
    try:
        found = psutil.Process(int(number))
        # A killed run worker stays a zombie for as long as the code server that started it does not ask for its exit code.
        # The time of creation is counted from the time of boot, which moves by a second when the clock is set.
        return found.status() != psutil.STATUS_ZOMBIE and abs(found.create_time() - float(created)) < 2.0
    except (psutil.NoSuchProcess, ValueError):
        return False


def claim_run(instance: DagsterInstance, run: DagsterRun) -> None:
    """Note which process executes a run; the first step of a run calls it."""
    if run.tags.get(PROCESS_TAG) != this_process():
        instance.add_run_tags(run.run_id, {PROCESS_TAG: this_process()})


def reap(instance: DagsterInstance) -> list[str]:
    """End every run whose process is gone; returns their ids."""
    ended = []
    # A run that this process was about to start is not started yet; a queued one belongs to the daemon.
    for record in instance.get_run_records(RunsFilter(statuses=[*_OPEN, DagsterRunStatus.NOT_STARTED])):
        run = record.dagster_run
        if _is_abandoned(instance, record):
            instance.add_run_tags(run.run_id, {INTERRUPTED_TAG: "true"})
            instance.report_run_failed(run, "the process that executed this run is gone")
            ended.append(run.run_id)
    return ended


def _is_abandoned(instance: DagsterInstance, record: RunRecord) -> bool:
    process = record.dagster_run.tags.get(PROCESS_TAG)
    if process is not None:
        return not is_alive(process) and not _inherited(instance, record.dagster_run, process)
    return record.start_time is not None and datetime.now(UTC).timestamp() - record.start_time > UNCLAIMED_SECONDS


def was_interrupted(run: DagsterRun) -> bool:
    """Whether a failed run was ended from outside: its process was killed, or stopped together with the daemon.

    Dagster names a reason for every failure that the run itself noticed; ``reap`` and a code server that lost a run worker
    give none.
    """
    return run.status == DagsterRunStatus.FAILURE and run.tags.get(RUN_FAILURE_REASON_TAG) not in _OWN_FAILURES


def runs_of(instance: DagsterInstance, training_id: str, job: str) -> list[DagsterRun]:
    """All runs of a job for a training, newest first."""
    return list(instance.get_runs(RunsFilter(job_name=job, tags={TRAINING_TAG: training_id})))


def _inherited(instance: DagsterInstance, run: DagsterRun, process: str) -> bool:
    """Whether the note is the one of the run that this one repeats: Dagster copies tags, and nobody has claimed it yet."""
    parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id is not None else None
    return parent is not None and parent.tags.get(PROCESS_TAG) == process


def run_state(instance: DagsterInstance, training_id: str, job: str) -> RunState:
    """How the latest run of a job for a training stands; an interrupted or cancelled one counts as none."""
    runs = runs_of(instance, training_id, job)
    if not runs:
        return "none"
    run = runs[0]
    if run.status in (*_OPEN, *_QUEUED):
        return "running"
    if run.status == DagsterRunStatus.SUCCESS:
        return "succeeded"
    if run.status == DagsterRunStatus.CANCELED or was_interrupted(run):
        return "none"
    return "failed"


def failure_of(instance: DagsterInstance, run_id: str) -> str:
    """The innermost error of a failed run, in a few lines."""
    from dagster import DagsterEventType

    records = instance.get_records_for_run(run_id, of_type=DagsterEventType.STEP_FAILURE, limit=1).records
    if not records:
        return "the run failed before its first step"
    error = records[0].event_log_entry.get_dagster_event().step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "the step failed without an error"
    name, _, text = error.message.partition(": ")  # as a traceback ends: `package.module.NameOfTheError: text`
    is_ours = name.startswith(("mlops_assets.", "resources."))
    return (text if is_ours else error.message).strip()


class InstanceRuns:
    """How the runs of trainings stand in a Dagster instance; see ``attendant.Runs``."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance

    def state(self, training_id: str, job: str) -> RunState:
        """How the latest run of a job for a training stands."""
        return run_state(self._instance, training_id, job)

    def error(self, training_id: str) -> str | None:
        """Why the latest run of a training failed; None if it did not."""
        runs = self._instance.get_runs(RunsFilter(tags={TRAINING_TAG: training_id}), limit=1)
        if runs and runs[0].status == DagsterRunStatus.FAILURE:
            return failure_of(self._instance, runs[0].run_id)
        return None


def cancel_queued(instance: DagsterInstance, training_id: str) -> None:
    """Take the runs of an unwanted training out of the queue; one that has begun ends itself at its next step."""
    for run in instance.get_runs(RunsFilter(statuses=_QUEUED, tags={TRAINING_TAG: training_id})):
        instance.report_run_canceled(run)
