"""Phase 2: the trained model, from a training process that reports through Dagster Pipes."""

import shutil

from dagster import AssetExecutionContext, MaterializeResult, MetadataValue, asset

from mlops_assets.assets.metadata import numbers, sparklines, table
from mlops_assets.assets.step import Step
from mlops_assets.errors import ComputeInterrupted
from mlops_assets.partitions import model_lines
from mlops_assets.reports.language import sentence
from mlops_assets.request.plan import Plan
from mlops_assets.tasks.interface import TrainSummary
from resources.artifacts import Artifact
from resources.compute import TrainingJob, TrainingOutcome
from resources.pipes import train_with_pipes
from resources.platform import Platform


@asset(
    description="The trained model in its native format, with its learning curves.",
    partitions_def=model_lines,
    group_name="development",
    io_manager_key="artifacts",
    required_resource_keys={"platform"},
)
def model(context: AssetExecutionContext, plan: Artifact, features: Artifact) -> MaterializeResult[object]:
    """Train on the features; a process that was killed from outside is started again, a few times."""
    platform: Platform = context.resources.platform
    approved = plan.read("plan.json", Plan)
    with Step(context, platform, "model", "training", plan=plan, features=features) as step:
        made = step.finished
        if made is None:
            outcome = _trained(context, step, approved, features)
            shutil.copytree(outcome.model, step.folder, dirs_exist_ok=True)
            step.write("summary.json", outcome.summary)
            platform.store.put(f"logs/{step.training_id}/training.log", outcome.log.read_bytes())
            summary = outcome.summary
        else:
            summary = made.read("summary.json", TrainSummary)
        language = approved.request.language
        step.done(sentence("detail.training", language, iterations=summary.iterations, seconds=f"{summary.seconds:.1f}"))
        return MaterializeResult(
            value=made or step.staged(f"trainings/{step.training_id}/model"),
            metadata={
                **({"learning_curves": sparklines(summary.curves)} if summary.curves else {}),
                **numbers(summary.metrics),
                **numbers({"training_seconds": summary.seconds, "iterations": summary.iterations}),
                **({"resampled_rows": _resampled(summary)} if summary.resampled else {}),
                "hyperparameters": MetadataValue.json(dict(summary.hyperparameters)),
                "log": MetadataValue.path(platform.store.uri(f"logs/{step.training_id}/training.log")),
            },
        )


def _resampled(summary: TrainSummary) -> MetadataValue:
    """Rows of each class in the training split before and after resampling, the rarest first."""
    rows = sorted(summary.resampled, key=lambda rows: rows.before)
    return table(("class", "before", "after"), [(r.label, r.before, r.after) for r in rows])


def _trained(context: AssetExecutionContext, step: Step, approved: Plan, features: Artifact) -> TrainingOutcome:
    job = TrainingJob(
        training_id=step.training_id,
        task=approved.task,
        features=features.path,
        request=approved.request,
        work_folder=step.platform.scratch / step.training_id / "training",
        time_limit=step.platform.settings.training_time_limit_seconds,
    )
    retries = step.platform.settings.training_retries
    for attempt in range(retries + 1):
        try:
            return train_with_pipes(context, step.platform.compute, job, step.report)
        except ComputeInterrupted as interrupted:
            if attempt == retries:
                raise
            context.log.warning(f"{interrupted}; starting the training process again ({attempt + 1} of {retries})")
    raise AssertionError("unreachable: the last attempt returns or raises")
