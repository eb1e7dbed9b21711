"""Sensors over the threads: new or edited issues, approvals, and runs that have ended.

Thin: each reads state, asks the pure ``decide`` what is next, and returns run requests. A run key carries the training and the
job, and a training belongs to one wording and attempt of an issue, so a tick that is repeated starts nothing twice.
"""

from collections.abc import Iterator, Sequence

from dagster import (
    DagsterRunStatus,
    DefaultSensorStatus,
    RunRequest,
    RunStatusSensorContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    run_status_sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from mlops_assets.errors import NotApproved, RequestInvalid
from mlops_assets.partitions import model_lines
from mlops_assets.request.lifecycle import TrainingIdentity, decide
from resources.artifacts import ISSUE_TAG, MODEL_TAG, TRAINING_TAG, training_id_in
from resources.closing import close_training
from resources.front_desk import TRIGGER_LABEL
from resources.platform import Platform
from resources.runs import PROPOSE_JOB, RETRAIN_JOB, TRAIN_JOB, failure_of, reap, run_state
from resources.tracker import Issue

ISSUES_PER_TICK = 20
"""Reading an issue takes milliseconds, but a tick must end well before its sixty-second limit."""


def read_issues(context: SensorEvaluationContext) -> SensorResult | SkipReason:
    """One tick: for each open issue, the one next thing that `decide` says."""
    platform: Platform = context.resources.platform
    reap(context.instance)
    requests: list[RunRequest] = []
    lines: set[str] = set()
    for issue in platform.tracker.issues(label=TRIGGER_LABEL):
        for request in _next(context, platform, platform.tracker.issue(issue.number)):
            requests.append(request)
            lines.add(request.tags[MODEL_TAG])
        if len(requests) >= ISSUES_PER_TICK:
            break
    if not requests:
        return SkipReason("no issue needs a run")
    return SensorResult(run_requests=requests, dynamic_partitions_requests=[model_lines.build_add_request(sorted(lines))])


def _next(context: SensorEvaluationContext, platform: Platform, issue: Issue) -> Iterator[RunRequest]:
    def state_of(training_id: str, job: str) -> str:
        return run_state(context.instance, training_id, job)

    while True:
        state = platform.front_desk.state(issue, state_of)  # type: ignore[arg-type]
        action = decide(state)
        if action == "read":
            try:
                platform.front_desk.read(issue)
            except RequestInvalid as invalid:
                context.log.info(f"issue {issue.number} refused: {invalid}")
                return
            continue
        if action in ("nothing", "wait") or state.training_id is None:
            return
        identity = platform.ledger.identity(state.training_id)
        if action == "approve":
            try:
                platform.front_desk.approve(identity.training_id, issue.author, "auto_approve")
            except NotApproved as refused:
                context.log.info(f"issue {issue.number}: {refused}")
                return
            continue
        if action == "conclude":
            return  # the run status sensors close trainings
        yield _run_request(PROPOSE_JOB if action == "propose" else TRAIN_JOB, identity)
        return


def _run_request(job: str, identity: TrainingIdentity) -> RunRequest:
    return RunRequest(
        run_key=f"{job}:{identity.training_id}",
        job_name=job,
        partition_key=identity.model_id,
        tags={
            TRAINING_TAG: identity.training_id,
            MODEL_TAG: identity.model_id,
            **({ISSUE_TAG: str(identity.issue)} if identity.issue is not None else {}),
        },
    )


def _after(context: RunStatusSensorContext, error: str | None) -> None:
    platform = Platform()
    training_id = training_id_in(context.instance, context.dagster_run.run_id)
    if context.dagster_run.job_name == PROPOSE_JOB and error is None:
        issue = platform.ledger.identity(training_id).issue
        platform.thread.propose(training_id, f"mlops run {issue}")
    elif run_state(context.instance, training_id, context.dagster_run.job_name) in ("failed", "succeeded") or error is None:
        close_training(platform, training_id, error)


@run_status_sensor(
    run_status=DagsterRunStatus.SUCCESS,
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=5,
    description="Posts the proposal of a planned training; closes a training whose run succeeded.",
)
def run_succeeded(context: RunStatusSensorContext) -> None:
    """After a run of a model-line job ends well."""
    if context.dagster_run.job_name in (PROPOSE_JOB, TRAIN_JOB, RETRAIN_JOB):
        _after(context, None)


@run_status_sensor(
    run_status=DagsterRunStatus.FAILURE,
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=5,
    description="Reports a training whose run failed.",
)
def run_failed(context: RunStatusSensorContext) -> None:
    """After a run of a model-line job fails."""
    if context.dagster_run.job_name in (PROPOSE_JOB, TRAIN_JOB, RETRAIN_JOB):
        _after(context, failure_of(context.instance, context.dagster_run.run_id))


def issue_sensors(jobs: Sequence[UnresolvedAssetJobDefinition]) -> list[SensorDefinition]:
    """The sensors, with the jobs that the first one may start."""
    reader = SensorDefinition(
        name="issue_sensor",
        evaluation_fn=read_issues,
        jobs=jobs,
        minimum_interval_seconds=5,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"platform"},
        description="Reads open issues labelled mlops:train, proposes plans, and starts what has been approved.",
    )
    return [reader, run_succeeded, run_failed]
