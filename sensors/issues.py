"""Sensors over the threads: new or edited issues, approvals, and runs that have ended.

Thin: each reads state, asks the pure ``decide`` what is next, and returns run requests. A training belongs to one wording and
attempt of an issue, and a run key carries the training, the job and how often that job was interrupted: a tick that is repeated
starts nothing twice, and a run whose process was killed is started once more.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

from mlops_assets.errors import MlopsError, NotFound, RateLimited, RequestInvalid
from mlops_assets.partitions import model_lines
from mlops_assets.request.lifecycle import TrainingIdentity
from mlops_assets.request.schema import Frozen
from resources.artifacts import ISSUE_TAG, MODEL_TAG, TRAINING_TAG, training_id_in
from resources.attendant import Attendant
from resources.closing import close_training
from resources.conversation import Conversation
from resources.front_desk import TRIGGER_LABEL
from resources.inbox import InboxUnavailable
from resources.platform import Platform
from resources.runs import PROPOSE_JOB, TRAIN_JOB, InstanceRuns, cancel_queued, failure_of, reap, runs_of, was_interrupted
from resources.tracker import Issue, Reaction

ISSUES_PER_TICK = 20
"""Issues whose thread is read in one tick: two or three requests each, and a tick must end well before its sixty-second limit."""

OPEN_PER_TICK = 100
"""Issues under way that are looked at in one tick; what is known of them is enough, which takes milliseconds."""

TICK_SECONDS = 30.0
"""After so long a tick begins no further issue: the one that it is at may have to wait for GitHub another 25 seconds."""

COMMAND_GRACE = timedelta(seconds=60)
"""The command that approved a plan runs it itself; the daemon takes over only where that command got no further."""


class Cursor(Frozen):
    """How far the ticks are: what the tracker has told, and which issue of each kind was looked at last."""

    tracker: str | None = None
    read: int = 0
    known: int = 0


def read_issues(context: SensorEvaluationContext) -> SensorResult:
    """One tick: note what has changed, then do for each issue that needs it whatever `decide` says."""
    began = time.monotonic()
    platform: Platform = context.resources.platform
    reap(context.instance)
    cursor = Cursor.model_validate_json(context.cursor) if context.cursor else Cursor()
    try:
        cursor = _note_changes(platform, cursor)
        thumbs = _thumbs(platform)
    except MlopsError as error:  # the tracker cannot be reached: what is under way goes on
        context.log.warning(f"the tracker was not read: {error}")
        thumbs = {}
    requests: list[RunRequest] = []
    attended: list[int] = []
    changed, rest = _due(platform, thumbs, cursor)
    # What is under way first, in at most half of the time: a flood of new issues must not hold up what has been approved.
    for number, share in [*((number, 0.5) for number in rest), *((number, 1.0) for number in changed)]:
        if time.monotonic() - began > share * TICK_SECONDS:
            continue
        try:
            requests += _attend(context.instance, platform, number, whole=number in changed, thumbs=thumbs.get(number))
        except RateLimited as limited:  # every further question would only be refused
            context.log.warning(f"issue {number}: {limited}")
            break
        except RequestInvalid as invalid:  # its thread says why; an earlier training of it may still have to be ended
            context.log.info(f"issue {number} was refused: {len(invalid.problems)} problems")
            platform.docket.keep_open(number)
        except (MlopsError, ValueError) as error:  # damaged or out of reach: the others go on, and this one is tried again
            context.log.warning(f"issue {number}: {error}")
        attended.append(number)
    lines = sorted({request.tags[MODEL_TAG] for request in requests})
    return SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[model_lines.build_add_request(lines)] if lines else [],
        cursor=Cursor(
            tracker=cursor.tracker, read=_last(changed, attended, cursor.read), known=_last(rest, attended, cursor.known)
        ).model_dump_json(),
        skip_reason=None if requests else SkipReason("no issue needs a run"),
    )


def _note_changes(platform: Platform, cursor: Cursor) -> Cursor:
    """Put every changed issue on the docket; only then may the tracker's news and the inbox's events be forgotten."""
    news, events = _delivered(platform)
    changes = platform.tracker.changes(TRIGGER_LABEL, cursor.tracker)
    platform.docket.note_changed(news | set(changes.numbers))
    platform.inbox.consume(events)
    return cursor.model_copy(update={"tracker": changes.cursor})


def _delivered(platform: Platform) -> tuple[set[int], tuple[str, ...]]:
    """What the webhook has received; where that cannot be read, polling finds the same a little later."""
    try:
        return platform.inbox.changed_issues()
    except InboxUnavailable as unavailable:
        logging.getLogger(__name__).warning("%s", unavailable)
        return set(), ()


def _thumbs(platform: Platform) -> dict[int, tuple[tuple[str, Reaction], ...]]:
    """Reactions on the proposals that wait for one, of the issues that have any which might count by now."""
    waiting = platform.docket.listing().waiting
    if not waiting:
        return {}
    given = platform.tracker.reactions([(number, f"training:{training_id}") for number, training_id in waiting.items()])
    refused = platform.approvals.lately_refused
    return {
        number: thumbs for (number, _), thumbs in given.items() if any(not refused(waiting[number], login) for login, _ in thumbs)
    }


def _due(platform: Platform, thumbs: Mapping[int, object], cursor: Cursor) -> tuple[list[int], list[int]]:
    """Issues to read whole, and those of which what is known is enough, each cut to what fits into a tick."""
    listing = platform.docket.listing()
    rest = {*listing.open, *thumbs} - set(listing.changed)
    return _in_turn(listing.changed, cursor.read)[:ISSUES_PER_TICK], _in_turn(rest, cursor.known)[:OPEN_PER_TICK]


def _in_turn(numbers: Iterable[int], last: int) -> list[int]:
    """The numbers from the one after ``last`` on and round again, so that none is left out for ever."""
    return sorted(numbers, key=lambda number: (number <= last, number))


def _last(numbers: Sequence[int], attended: Sequence[int], before: int) -> int:
    """Where the next tick goes on: behind the last one that this tick has come to."""
    return next((number for number in reversed(numbers) if number in attended), before)


def _attend(
    instance: DagsterInstance,
    platform: Platform,
    number: int,
    *,
    whole: bool,
    thumbs: Sequence[tuple[str, Reaction]] | None,
) -> list[RunRequest]:
    """What one issue needs: comments answered, decisions carried out, runs asked for."""
    runs = InstanceRuns(instance)
    attendant = Attendant(platform, runs)
    # Nothing is decided on a thumb, or started, for a wording that may be out of date.
    known = None if whole or thumbs else platform.docket.seen(number)
    try:
        issue = known or _read(platform, number)
    except NotFound:  # deleted, or moved to another repository
        platform.docket.settle(number)
        return []
    if whole and (TRIGGER_LABEL in issue.labels or platform.ledger.of_issue(number)):
        Conversation(platform, runs).answer(issue)
    # Of an issue that has changed, the thumbs may stand on a proposal that has been replaced: they are asked for anew.
    task = attendant.attend(issue, None if whole else thumbs or ())
    if task.action == "train" and known is not None:
        task = attendant.attend(_read(platform, number))
    for identity in (*task.others_to_stop, *([task.identity] if task.action == "stop" and task.identity else [])):
        cancel_queued(instance, identity.training_id)
    if task.awaits_approval and task.identity is not None and not task.others_to_stop:
        platform.docket.wait(number, task.identity.training_id)
    elif task.action == "nothing" and not task.others_to_stop:
        platform.docket.settle(number)
    else:
        platform.docket.keep_open(number)
    if task.action not in ("propose", "train") or task.identity is None:
        return []
    return list(_run_requests(instance, platform, PROPOSE_JOB if task.action == "propose" else TRAIN_JOB, task.identity))


def _read(platform: Platform, number: int) -> Issue:
    issue = platform.tracker.issue(number)
    platform.docket.remember(issue)
    return issue


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


def after_run(platform: Platform, instance: DagsterInstance, run_id: str) -> None:
    """After a run that belongs to a training: post its proposal, close it, or leave it to be carried on."""
    run = instance.get_run_by_id(run_id)
    training_id = training_id_in(instance, run_id)
    if run is None or not platform.ledger.knows(training_id) or platform.ledger.is_reported(training_id):
        return
    if run.status == DagsterRunStatus.FAILURE:
        _failed(instance, platform, platform.ledger.identity(training_id), run.job_name, run_id)
    elif run.status == DagsterRunStatus.SUCCESS and run.job_name == PROPOSE_JOB:
        platform.thread.propose(training_id)
    elif run.status == DagsterRunStatus.SUCCESS and _reached_its_end(platform, training_id):
        close_training(platform, training_id)
    else:
        platform.thread.leave(training_id)


def _ended(context: RunStatusSensorContext) -> None:
    after_run(Platform(), context.instance, context.dagster_run.run_id)


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
