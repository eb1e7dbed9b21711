"""Phase 4: the package of a model version, registered only after it has been compared with the native model."""

import shutil

from dagster import AssetExecutionContext, MaterializeResult, MetadataValue, asset

from mlops_assets.assets.metadata import numbers
from mlops_assets.assets.step import Step
from mlops_assets.data.dataset import PreparedDataset
from mlops_assets.partitions import model_lines
from mlops_assets.reports.language import sentence
from mlops_assets.request.digest import sha256_of
from mlops_assets.request.plan import Plan
from mlops_assets.serving.package import ModelMetadata
from mlops_assets.tasks.interface import EvaluationSummary, installed_tasks
from resources.artifacts import Artifact
from resources.platform import Platform


@asset(
    description="One model version: an ONNX graph from raw inputs to predictions, its signature, digests and container recipe.",
    partitions_def=model_lines,
    group_name="delivery",
    io_manager_key="artifacts",
    required_resource_keys={"platform"},
)
def package(
    context: AssetExecutionContext,
    plan: Artifact,
    dataset: Artifact,
    features: Artifact,
    model: Artifact,
    evaluation: Artifact,
    approved_model: Artifact,
) -> MaterializeResult[object]:
    """Export, compare row by row, allot the semantic version, and publish it with its manifest last."""
    from mlops_assets.serving.packaging import build_package

    platform: Platform = context.resources.platform
    approved = plan.read("plan.json", Plan)
    inputs = {"plan": plan, "dataset": dataset, "features": features, "model": model, "evaluation": evaluation}
    with Step(context, platform, "package", "package", **inputs, approved_model=approved_model) as step:
        export = step.folder.with_name("export")
        shutil.rmtree(export, ignore_errors=True)
        export.mkdir()
        exported = installed_tasks()[approved.task].export(dataset.path, features.path, model.path, approved.request, export)
        inputs_digest = sha256_of(
            [field.model_dump(mode="json", include={"name", "kind"}) for field in exported.signature.inputs]
        )
        allotted = platform.models.allot(step.line, step.training_id, approved.request.packaging.model_version, inputs_digest)
        metadata = ModelMetadata(
            model_id=step.line,
            version=allotted.version,
            training_id=step.training_id,
            algorithm=approved.request.algorithm,
            task_type=approved.request.task_type,
            hyperparameters=dict(approved.hyperparameters),
            metrics=evaluation.read("results.json", EvaluationSummary).metrics,
            dataset_id=approved.dataset_id,
            dataset_version=dataset.read("dataset.json", PreparedDataset).version,
            plan_digest=approved.digest,
            code_version=approved.code_version,
            created_at=step.identity.created_at,
        )
        step.folder.rmdir()  # a package is made under a temporary name and moved here whole
        manifest = build_package(export, metadata, step.folder)
        note = sentence(f"detail.{allotted.note}", approved.request.language) if allotted.note else ""
        step.done(
            sentence("detail.package", approved.request.language, version=allotted.version, rows=exported.rows_compared)
            + (f" ({note})" if note else "")
        )
        size = sum(manifest.sizes.values())
        return MaterializeResult(
            value=step.finished or step.staged(platform.models.prefix(step.line, allotted.version)),
            metadata={
                "model_version": allotted.version,
                "package_digest": manifest.digest,
                **numbers(
                    {
                        "package_bytes": size,
                        "rows_compared": exported.rows_compared,
                        "largest_difference": exported.largest_difference,
                    }
                ),
                "signature": MetadataValue.json(exported.signature.model_dump(mode="json")),
            },
        )
