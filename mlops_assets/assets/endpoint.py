"""Phase 5: the endpoint that serves a model version."""

from dagster import AssetExecutionContext, MaterializeResult, MetadataValue, asset

from mlops_assets.assets.step import Step
from mlops_assets.partitions import model_lines
from mlops_assets.reports.language import sentence
from mlops_assets.reports.record import EndpointFacts
from mlops_assets.request.plan import Plan
from mlops_assets.serving.package import ModelMetadata
from resources.artifacts import Artifact
from resources.platform import Platform


@asset(
    description="A model version answering requests; switched without a failed one, previous version kept.",
    partitions_def=model_lines,
    group_name="delivery",
    io_manager_key="artifacts",
    required_resource_keys={"platform"},
)
def endpoint(context: AssetExecutionContext, plan: Artifact, package: Artifact) -> MaterializeResult[object]:
    """Deploy the package behind its line's endpoint, health-checked before it gets traffic."""
    platform: Platform = context.resources.platform
    approved = plan.read("plan.json", Plan)
    metadata = package.read("model_metadata.json", ModelMetadata)
    environment = approved.request.deployment.environment
    with Step(context, platform, "endpoint", "deployment", plan=plan, package=package) as step:
        state = platform.endpoints.deploy(
            step.line, environment, package.path, who=f"training {step.training_id}", why="approved plan"
        )
        facts = EndpointFacts(
            environment=environment, url=state.url, previous_version=state.previous.version if state.previous else None
        )
        step.write("endpoint.json", facts)
        step.done(sentence("detail.deployment", approved.request.language, version=metadata.version, url=state.url))
        return MaterializeResult(
            value=step.finished or step.staged(f"trainings/{step.training_id}/endpoint"),
            metadata={
                "model_version": metadata.version,
                "environment": environment,
                "endpoint": MetadataValue.url(state.url),
                "docs": MetadataValue.url(f"{state.url}/docs"),
                "previous_version": facts.previous_version or "none",
            },
        )
