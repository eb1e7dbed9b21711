"""Phase 1, second half: the features that the learning task makes from the dataset."""

from dagster import AssetExecutionContext, MaterializeResult, MetadataValue, asset

from mlops_assets.assets.metadata import numbers
from mlops_assets.assets.step import Step
from mlops_assets.partitions import model_lines
from mlops_assets.reports.language import sentence
from mlops_assets.request.plan import Plan
from mlops_assets.tasks.interface import installed_tasks
from resources.artifacts import Artifact
from resources.platform import Platform


@asset(
    description="Feature matrices of every split, the transformation that made them, and its definition document.",
    partitions_def=model_lines,
    group_name="data",
    io_manager_key="artifacts",
    required_resource_keys={"platform"},
)
def features(context: AssetExecutionContext, plan: Artifact, dataset: Artifact) -> MaterializeResult[object]:
    """Fit the task's transformations on the training split and apply them to all splits."""
    platform: Platform = context.resources.platform
    approved = plan.read("plan.json", Plan)
    with Step(context, platform, "features", "features", plan=plan, dataset=dataset) as step:
        task = installed_tasks()[approved.task]
        summary = task.prepare(dataset.path, approved.request, step.folder)
        step.write("summary.json", summary)
        definition = step.folder / "definition.md"
        language = approved.request.language
        notes = "; ".join(sentence(f"warning.{warning}", language) for warning in summary.warnings)
        step.done(
            sentence("detail.features", language, features=len(summary.feature_names), inputs=len(dataset_columns(dataset)))
            + (f" ({notes})" if notes else "")
        )
        return MaterializeResult(
            value=step.finished
            or step.staged(f"datasets/{approved.dataset_id}/features/{summary.digest[:16]}-{step.training_id[-6:]}"),
            metadata={
                **numbers({"features": len(summary.feature_names)}),
                **numbers(summary.rows, "rows_"),
                "feature_digest": summary.digest,
                "dropped": MetadataValue.json(summary.dropped),
                **({"definition": MetadataValue.md(definition.read_text(encoding="utf-8"))} if definition.is_file() else {}),
            },
        )


def dataset_columns(dataset: Artifact) -> tuple[str, ...]:
    """Names of the columns that entered the feature step."""
    from mlops_assets.data.dataset import PreparedDataset

    return tuple(column.name for column in dataset.read("dataset.json", PreparedDataset).columns)
