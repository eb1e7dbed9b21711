"""The sensor over pushes: model lines that ask for it are trained again when model code on the default branch has changed.

Thin: the inbox tells the pushes, the pure ``code_change.decide`` the lines, and a delivery is consumed only once every run
that it asks for exists. A tick that is killed, or repeated, asks for the same run keys and so starts nothing twice. Pushes
are known from the webhook alone; without `mlops webhook` a changed branch is not noticed. A push does not bring the code
onto this machine either: a training runs the code that is installed here when it starts.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import RUN_KEY_TAG

from mlops_assets.errors import MlopsError
from mlops_assets.partitions import model_lines
from mlops_assets.request.code_change import Retraining, decide, read_push, touches_model_code
from mlops_assets.request.schema import RetrainingRequest
from resources.artifacts import MODEL_TAG
from resources.inbox import PUSH_EVENTS
from resources.platform import Platform
from resources.runs import RETRAIN_JOB

PUSHES_PER_TICK = 20
"""A payload may have 25 MB; reading this many of the largest takes a few seconds of the sixty that a tick has."""
SECONDS = 30


def read_pushes(context: SensorEvaluationContext) -> SensorResult | SkipReason:
    """One tick: the runs that the pushes in the inbox ask for and that do not exist yet."""
    platform: Platform = context.resources.platform
    if platform.settings.tracker != "github":
        return SkipReason("issues live in a folder: nobody tells of pushes")
    deliveries = platform.inbox.pending(PUSHES_PER_TICK, PUSH_EVENTS)
    if not deliveries:
        return SkipReason("no push was delivered")
    pushes = []
    for delivery in deliveries:
        push = read_push(delivery.body)
        if push is None:
            context.log.warning(f"delivery {delivery.delivery_id} is no push that can be read; it is left out")
        else:
            pushes.append(push)
    accounts: tuple[str, ...] = ()
    lines: dict[str, RetrainingRequest] = {}
    if any(touches_model_code(push) for push in pushes):
        accounts, lines = _platform_accounts(platform), _lines(platform, context)
    wanted = decide(pushes, lines, accounts)
    missing = [retraining for retraining in wanted if not _is_launched(context.instance, retraining)]
    if not missing:
        platform.inbox.consume([delivery.delivery_id for delivery in deliveries])
        return SkipReason(f"nothing is left to start for {len(deliveries)} deliveries")
    return SensorResult(
        run_requests=[_request(retraining) for retraining in missing],
        dynamic_partitions_requests=[model_lines.build_add_request([retraining.line for retraining in missing])],
    )


def _lines(platform: Platform, context: SensorEvaluationContext) -> dict[str, RetrainingRequest]:
    """What each model line's approved configuration says on retraining; a damaged line does not hold up the others."""
    found = {}
    for line in platform.ledger.lines():
        try:
            found[line] = platform.ledger.line(line).request.retraining
        except (MlopsError, ValueError) as error:
            context.log.warning(f"model line {line} is left out: {error}")
    return found


def _platform_accounts(platform: Platform) -> tuple[str, ...]:
    """The platform's own account where it has one of its own; with a person's token that person's commits are nobody else's."""
    account = platform.tracker.current_actor()
    return (account,) if platform.tracker.is_bot(account) else ()


def _is_launched(instance: DagsterInstance, retraining: Retraining) -> bool:
    """Whether the run exists; one that a killed daemon made and did not launch is asked for again, and then launched."""
    runs = instance.get_runs(RunsFilter(job_name=RETRAIN_JOB, tags={RUN_KEY_TAG: retraining.run_key}))
    return any(run.status != DagsterRunStatus.NOT_STARTED for run in runs)


def _request(retraining: Retraining) -> RunRequest:
    return RunRequest(
        run_key=retraining.run_key,
        job_name=RETRAIN_JOB,
        partition_key=retraining.line,
        tags={MODEL_TAG: retraining.line},
    )


def push_sensors(jobs: Sequence[UnresolvedAssetJobDefinition]) -> list[SensorDefinition]:
    """The sensor, with the job among ``jobs`` that it may start."""
    sensor = SensorDefinition(
        name="push_sensor",
        evaluation_fn=read_pushes,
        jobs=[job for job in jobs if job.name == RETRAIN_JOB],
        minimum_interval_seconds=SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"platform"},
        description="Trains model lines with the trigger code_change again after a push of model code to the default branch.",
    )
    return [sensor]
