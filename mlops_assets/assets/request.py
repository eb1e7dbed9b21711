"""Phase 0: the training request of an issue, and the plan made from it."""

from dagster import AssetExecutionContext, MaterializeResult, MetadataValue, asset

from mlops_assets.assets.metadata import numbers
from mlops_assets.assets.step import Step
from mlops_assets.data.dataset import TABLE, DatasetVersion
from mlops_assets.partitions import model_lines
from mlops_assets.reports.language import sentence
from mlops_assets.reports.quantities import dollars
from mlops_assets.request.schema import TrainingRequest
from resources.artifacts import Artifact
from resources.impact import estimate_for
from resources.platform import Platform


@asset(
    description="The validated content of one issue, in canonical form.",
    partitions_def=model_lines,
    group_name="request",
    io_manager_key="artifacts",
    required_resource_keys={"platform"},
)
def training_request(context: AssetExecutionContext) -> MaterializeResult[object]:
    """The request of this run's training; a run started in the UI trains the line's current configuration again."""
    platform: Platform = context.resources.platform
    with Step(context, platform, "training_request", "request") as step:
        identity = platform.ledger.identity(step.training_id)
        request = platform.ledger.request(step.training_id)
        platform.ledger.join_line(identity.model_id, identity.training_id)
        step.write("request.json", request)
        step.write("identity.json", identity)
        step.done(
            sentence(
                "detail.request",
                request.language,
                dataset=request.dataset.dataset_id,
                algorithm=request.algorithm,
                line=step.line,
            )
        )
        return MaterializeResult(
            value=step.finished or step.staged(f"trainings/{step.training_id}/training_request"),
            metadata={
                "issue": identity.issue or 0,
                "attempt": identity.attempt,
                "algorithm": request.algorithm,
                "dataset": request.dataset.dataset_id,
                "request": MetadataValue.json(request.canonical()),
            },
        )


def _sizes(version: DatasetVersion) -> dict[str, int]:
    """Rows and columns of a table; frames, and how many have each part, of a copy of frames."""
    if version.form == TABLE:
        return {"rows": version.rows, "columns": len(version.columns)}
    return {"frames": version.rows, **version.parts}


@asset(
    description="What will run: request, detected characteristics, data and code version. Its digest is approved.",
    partitions_def=model_lines,
    group_name="request",
    io_manager_key="artifacts",
    required_resource_keys={"platform"},
)
def plan(context: AssetExecutionContext, training_request: Artifact) -> MaterializeResult[object]:
    """The plan of this training on the current version of its dataset, with its digest."""
    platform: Platform = context.resources.platform
    with Step(context, platform, "plan", "plan", training_request=training_request) as step:
        request = training_request.read("request.json", TrainingRequest)
        made = platform.front_desk.shown_plan(step.training_id) or platform.planning.make_plan(request)
        step.write("plan.json", made)
        version = platform.catalogue.version(made.dataset_id, made.dataset_version)
        expected = estimate_for(platform, step.training_id, made)
        cost = sentence("detail.no_estimate", request.language) if expected.cost_usd is None else dollars(expected.cost_usd)
        step.done(sentence("detail.plan", request.language, digest=made.digest[:12], cost=cost))
        return MaterializeResult(
            value=step.finished or step.staged(f"trainings/{step.training_id}/plan"),
            metadata={
                "plan_digest": made.digest,
                "dataset_version": made.dataset_version,
                "code_version": made.code_version,
                **numbers(_sizes(version)),
                **numbers({"not_done": len(made.not_done)}),
                **numbers({"optimizations": sum(o.carried_out for o in made.optimizations), "similar": len(expected.similar)}),
                **({} if expected.duration_seconds is None else numbers({"estimated_seconds": expected.duration_seconds})),
                "plan": MetadataValue.json(made.model_dump(mode="json")),
            },
        )
