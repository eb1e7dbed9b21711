"""Sensors over the threads: new or edited issues, approvals, and runs that have ended.

Thin: each reads state, asks the pure ``decide`` what is next, and returns run requests. A training belongs to one wording and
attempt of an issue, and a run key carries the training, the job and how often that job was interrupted: a tick that is repeated
starts nothing twice, and a run whose process was killed is started once more.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    DagsterInstance,
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

from mlops_assets.errors import MlopsError, NotApproved
from mlops_assets.partitions import model_lines
from mlops_assets.request.lifecycle import TrainingIdentity, decide
from resources.artifacts import ISSUE_TAG, MODEL_TAG, TRAINING_TAG, training_id_in
from resources.closing import close_training
from resources.front_desk import TRIGGER_LABEL
from resources.platform import Platform
from resources.runs import PROPOSE_JOB, TRAIN_JOB, failure_of, reap, run_state, runs_of, was_interrupted
from resources.tracker import Issue

ISSUES_PER_TICK = 20
"""Reading an issue takes milliseconds, but a tick must end well before its sixty-second limit."""

COMMAND_GRACE = timedelta(seconds=60)
"""The command that approved a plan runs it itself; the daemon takes over only where that command got no further."""


def read_issues(context: SensorEvaluationContext) -> SensorResult | SkipReason:
    """One tick: for each open issue, the one next thing that `decide` says."""
    platform: Platform = context.resources.platform
    reap(context.instance)
    requests: list[RunRequest] = []
    lines: set[str] = set()
    for issue in platform.tracker.issues(label=TRIGGER_LABEL):
        try:
            for request in _next(context.instance, platform, platform.tracker.issue(issue.number)):
                requests.append(request)
                lines.add(request.tags[MODEL_TAG])
        except MlopsError as error:  # refused or damaged: the other issues go on
            context.log.warning(f"issue {issue.number}: {error}")
        if len(requests) >= ISSUES_PER_TICK:
            break
    if not requests:
        return SkipReason("no issue needs a run")
    return SensorResult(run_requests=requests, dynamic_partitions_requests=[model_lines.build_add_request(sorted(lines))])


def _next(instance: DagsterInstance, platform: Platform, issue: Issue) -> Iterator[RunRequest]:
    while True:
        state = platform.front_desk.state(issue, lambda training, job: run_state(instance, training, job))
        action = decide(state)
        if action == "read":
            platform.front_desk.read(issue)
            continue
        if action in ("nothing", "wait") or state.training_id is None:
            return
        identity = platform.ledger.identity(state.training_id)
        if action == "approve":
            platform.front_desk.approve(identity.training_id, issue.author, "auto_approve")
            continue
        if action == "conclude":
            _conclude(instance, platform, identity, TRAIN_JOB if state.approved_digest is not None else PROPOSE_JOB)
            return
        if action == "train" and not _may_train(platform, issue, identity):
            continue
        yield from _run_requests(instance, platform, PROPOSE_JOB if action == "propose" else TRAIN_JOB, identity)
        return


def _may_train(platform: Platform, issue: Issue, identity: TrainingIdentity) -> bool:
    """Whether the approved plan still is the plan; a changed one ends that training and is proposed as another."""
    try:
        platform.front_desk.require_approved(identity.training_id)
    except NotApproved as changed:
        close_training(platform, identity.training_id, str(changed))
        platform.front_desk.read(issue, after=identity.training_id)
        return False
    return True


def _run_requests(instance: DagsterInstance, platform: Platform, job: str, identity: TrainingIdentity) -> Iterator[RunRequest]:
    training_id = identity.training_id
    runs = runs_of(instance, training_id, job)
    interrupted = sum(was_interrupted(run) for run in runs)
    if runs and runs[0].status == DagsterRunStatus.CANCELED:
        return  # a person stopped it; `mlops run` carries it on
    if interrupted > platform.settings.training_retries:
        close_training(platform, training_id, f"the run was interrupted {interrupted} times; see the log of the daemon")
        return
    if job == TRAIN_JOB and not runs and _command_is_at_it(platform, training_id):
        return
    yield RunRequest(
        run_key=f"{job}:{training_id}:{interrupted}",
        job_name=job,
        partition_key=identity.model_id,
        tags={
            TRAINING_TAG: training_id,
            MODEL_TAG: identity.model_id,
            **({ISSUE_TAG: str(identity.issue)} if identity.issue is not None else {}),
        },
    )


def _command_is_at_it(platform: Platform, training_id: str) -> bool:
    approval = platform.front_desk.require_approved(training_id)
    return approval.how == "command" and datetime.now(UTC) - datetime.fromisoformat(approval.at) < COMMAND_GRACE


def _conclude(instance: DagsterInstance, platform: Platform, identity: TrainingIdentity, job: str) -> None:
    run = runs_of(instance, identity.training_id, job)[0]
    error = failure_of(instance, run.run_id) if run.status == DagsterRunStatus.FAILURE else None
    close_training(platform, identity.training_id, error)


def _ended(context: RunStatusSensorContext) -> None:
    """After a run that belongs to a training: post its proposal, close it, or leave it to be carried on."""
    platform, instance, run = Platform(), context.instance, context.dagster_run
    training_id = training_id_in(instance, run.run_id)
    if not platform.ledger.knows(training_id) or platform.ledger.is_reported(training_id):
        return
    if run.status == DagsterRunStatus.FAILURE:
        _failed(instance, platform, platform.ledger.identity(training_id), run.job_name, run.run_id)
    elif run.status == DagsterRunStatus.SUCCESS and run.job_name == PROPOSE_JOB:
        plan = platform.front_desk.plan(training_id)
        if plan is not None and platform.ledger.approval(training_id, plan.digest) is None:
            platform.thread.propose(training_id, f"mlops run {platform.ledger.identity(training_id).issue}")
    elif run.status == DagsterRunStatus.SUCCESS and _reached_its_end(platform, training_id):
        close_training(platform, training_id)
    else:
        platform.thread.leave(training_id)


def _failed(instance: DagsterInstance, platform: Platform, identity: TrainingIdentity, job: str, run_id: str) -> None:
    run = instance.get_run_by_id(run_id)
    tagged = runs_of(instance, identity.training_id, job)
    overtaken = bool(tagged) and tagged[0].run_id != run_id  # a later run of this training decides
    retried = run is not None and was_interrupted(run) and not identity.is_retraining
    if not overtaken and not retried:
        close_training(platform, identity.training_id, failure_of(instance, run_id))


def _reached_its_end(platform: Platform, training_id: str) -> bool:
    last = (platform.ledger.reference(training_id, asset) for asset in ("endpoint", "operator_request"))
    return any(reference is not None and reference.training_id == training_id for reference in last)


@run_status_sensor(
    run_status=DagsterRunStatus.SUCCESS,
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=5,
    description="Posts the proposal of a planned training; closes a training that reached its endpoint or the operator.",
)
def run_succeeded(context: RunStatusSensorContext) -> None:
    """After a run ends well, *Materialize* in the UI included."""
    _ended(context)


@run_status_sensor(
    run_status=DagsterRunStatus.FAILURE,
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=5,
    description="Reports a training whose run failed.",
)
def run_failed(context: RunStatusSensorContext) -> None:
    """After a run fails."""
    _ended(context)


@run_status_sensor(
    run_status=DagsterRunStatus.CANCELED,
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Takes the label of a running training away from an issue whose run a person has cancelled.",
)
def run_cancelled(context: RunStatusSensorContext) -> None:
    """After a person cancels a run."""
    _ended(context)


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
    return [reader, run_succeeded, run_failed, run_cancelled]
