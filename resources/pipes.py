"""Training from inside a Dagster step: the training process reports into the step's own event log through Dagster Pipes.

Only the connection is made here; what trains is any ``Compute``, what it reports is decided in ``mlops_assets.tasks.entrypoint``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from dagster import (
    AssetExecutionContext,
    MaterializeResult,
    PipesTempFileContextInjector,
    PipesTempFileMessageReader,
    open_pipes_session,
)

from mlops_assets.tasks.entrypoint import training_metadata
from mlops_assets.tasks.interface import ProgressReporter
from resources.compute import Compute, TrainingJob, TrainingOutcome


def _unheard(_fraction: float, _text: str, _metrics: Mapping[str, float]) -> None:
    return


def train_with_pipes(
    context: AssetExecutionContext, compute: Compute, job: TrainingJob, on_progress: ProgressReporter = _unheard
) -> TrainingOutcome:
    """Train ``job`` for the asset step of ``context``.

    Log lines of the training process become events of the run, metadata that it reports is added to the asset's materialization,
    custom messages are logged as JSON, and every progress line reaches ``on_progress``. A session makes Dagster insist on
    explicit results: the asset function must return ``MaterializeResult(value=…)`` or ``Output(…)``, not a bare value.

    Raises:
        ComputeError, ComputeInterrupted, IntegrityError: as ``Compute.train``.
    """
    with open_pipes_session(
        context=context,
        context_injector=PipesTempFileContextInjector(),
        message_reader=PipesTempFileMessageReader(),
        extras={"training_id": job.training_id},
    ) as session:
        outcome = compute.train(job, on_progress, session.get_bootstrap_env_vars())
    for message in session.get_custom_messages():
        context.log.info(json.dumps(message, ensure_ascii=False, default=str))
    reported = [result for result in session.get_reported_results() if isinstance(result, MaterializeResult)]
    for result in reported:
        context.add_asset_metadata(result.metadata or {}, asset_key=result.asset_key)
    if not reported and len(context.selected_asset_keys) == 1:
        # An outcome that was already complete: no process ran that could have reported it.
        context.add_asset_metadata(training_metadata(job.training_id, outcome.summary))
    return outcome
