"""Phase 1, second half: the features that the learning task makes from the dataset."""

from dagster import AssetExecutionContext, MaterializeResult, MetadataValue, asset

from mlops_assets.assets.metadata import numbers
from mlops_assets.assets.step import Step
from mlops_assets.partitions import model_lines
from mlops_assets.reports.language import sentence
from mlops_assets.request.plan import Plan
from mlops_assets.request.vocabulary import Language
from mlops_assets.tasks.interface import FeatureSummary, installed_tasks
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
        step.done(detail_of(summary, dataset, language) + (f" ({notes})" if notes else ""))
        return MaterializeResult(
            value=step.finished
            or step.staged(f"datasets/{approved.dataset_id}/features/{summary.digest[:16]}-{step.training_id[-6:]}"),
            metadata={
                **numbers({"features": len(summary.feature_names)}),
                **numbers(summary.rows, "rows_"),
                **numbers(summary.objects, "objects_"),
                "feature_digest": summary.digest,
                "dropped": MetadataValue.json(summary.dropped),
                **({"definition": MetadataValue.md(definition.read_text(encoding="utf-8"))} if definition.is_file() else {}),
            },
        )


def detail_of(summary: FeatureSummary, dataset: Artifact, language: Language) -> str:
    """One line on what the features are: of a table how many came from how many columns, of frames the objects in them."""
    from mlops_assets.data.dataset import TABLE, PreparedDataset

    prepared = dataset.read("dataset.json", PreparedDataset)
    if prepared.form == TABLE:
        return sentence("detail.features", language, features=len(summary.feature_names), inputs=len(prepared.columns))
    frames, objects = sum(summary.rows.values()), sum(summary.objects.values())
    return sentence(
        "detail.features_frames", language, frames=f"{frames:,}", objects=f"{objects:,}", classes=len(summary.classes)
    )
