"""Phase 1: the cleaned and split dataset, with its quality rules as asset checks."""

from collections.abc import Iterator
from datetime import UTC, datetime

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    MaterializeResult,
    MetadataValue,
    asset,
)

from mlops_assets.assets.metadata import numbers
from mlops_assets.assets.step import Step
from mlops_assets.data.dataset import DatasetVersion, QualityCheck
from mlops_assets.partitions import model_lines
from mlops_assets.reports.language import sentence
from mlops_assets.request.digest import sha256_of
from mlops_assets.request.plan import Plan
from resources.artifacts import Artifact
from resources.ledger import LineConfiguration
from resources.platform import Platform

#: Rules that stop a training, and rules that only speak; see mlops_assets.data.quality.
BLOCKING = ("schema", "target", "class_support")
SPEAKING = ("null_rate", "range", "duplicates", "freshness", "leakage")
SEVERITY = {"stop": AssetCheckSeverity.ERROR, "alert": AssetCheckSeverity.WARN, "log": AssetCheckSeverity.WARN}


def check_result(check: QualityCheck) -> AssetCheckResult:
    """One quality rule's outcome with its evidence."""
    evidence = {name: ("missing" if value is None else value) for name, value in check.evidence.items()}
    return AssetCheckResult(
        asset_key="dataset",
        check_name=check.rule,
        passed=check.passed,
        severity=SEVERITY[check.severity],
        metadata={"limit": check.limit, "evidence": MetadataValue.json(evidence)},
    )


@asset(
    description="Cleaned rows of one dataset version, split into train, validation and test.",
    partitions_def=model_lines,
    group_name="data",
    io_manager_key="artifacts",
    required_resource_keys={"platform"},
    check_specs=[
        *(AssetCheckSpec(rule, asset="dataset", blocking=True) for rule in BLOCKING),
        *(AssetCheckSpec(rule, asset="dataset") for rule in SPEAKING),
    ],
)
def dataset(context: AssetExecutionContext, plan: Artifact) -> Iterator[AssetCheckResult | MaterializeResult[object]]:
    """Prepare the plan's dataset version; nothing runs unless exactly this plan has been approved."""
    from mlops_assets.data.cleaning import prepare_dataset
    from mlops_assets.data.quality import QualityRejected
    from mlops_assets.data.quality_report import quality_report_markdown

    platform: Platform = context.resources.platform
    approved = plan.read("plan.json", Plan)
    request = approved.request
    with Step(context, platform, "dataset", "data", plan=plan) as step:
        platform.front_desk.require_approved(step.training_id)
        platform.ledger.configure_line(
            LineConfiguration(model_id=step.line, request=request, issue=step.identity.issue, training_id=step.training_id)
        )
        source = platform.catalogue.folder(approved.dataset_id, approved.dataset_version)
        version = DatasetVersion.model_validate_json((source / "version.json").read_bytes())
        try:
            prepared = prepare_dataset(
                source,
                request,
                approved.target,
                step.folder,
                now=datetime.now(UTC),
                memory_limit=platform.settings.memory_limit,
            )
        except QualityRejected as rejected:
            for check in rejected.checks:
                yield check_result(check)
            raise
        report = quality_report_markdown(version, prepared.checks, request.language)
        (step.folder / "quality.md").write_text(report, encoding="utf-8")
        alerts = sum(not check.passed for check in prepared.checks)
        step.done(sentence("detail.data", request.language, **prepared.rows, alerts=alerts))
        identity = sha256_of(prepared.model_dump(mode="json"))[:16]
        yield MaterializeResult(
            value=step.finished or step.staged(f"datasets/{approved.dataset_id}/processed/{identity}"),
            check_results=[check_result(check) for check in prepared.checks],
            metadata={
                **numbers(prepared.rows, "rows_"),
                **numbers(prepared.removed, "removed_"),
                "dataset_version": prepared.version,
                "dataset_digest": prepared.digest,
                "quality": MetadataValue.md(report),
            },
        )
