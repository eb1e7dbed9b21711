"""Phase 1: the cleaned and split dataset, with its quality rules as asset checks."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    MaterializeResult,
    MetadataValue,
    asset,
)

from mlops_assets.assets.metadata import numbers
from mlops_assets.assets.step import Step
from mlops_assets.data.dataset import TABLE, DatasetVersion, QualityCheck
from mlops_assets.partitions import model_lines
from mlops_assets.reports.language import sentence
from mlops_assets.request.digest import sha256_of
from mlops_assets.request.plan import Plan
from resources.artifacts import Artifact
from resources.ledger import LineConfiguration
from resources.platform import Platform

#: Rules that stop a training, and what each rule asks; see mlops_assets.data.quality and .frame_quality. ``files`` stops only
#: when much is lost: until then its severity is that of a warning.
BLOCKING = ("schema", "target", "class_support", "files")
DESCRIPTIONS = {
    "schema": "Columns of the previous version and of the request are there, and of the same kind as before.",
    "target": "The target is there, is not empty, and fits the kind of task.",
    "class_support": "Every class has enough rows or objects to be learned and measured.",
    "null_rate": "Few cells of each important column are missing.",
    "range": "Every value lies in the range declared for its column.",
    "duplicates": "Few rows are repeated.",
    "freshness": "The newest row is as recent as was declared.",
    "leakage": "No feature alone, and no sum of features, gives the target away.",
    "files": "Every file of every frame is there and whole.",
    "labels": "Labels are of known classes, have boxes that make sense, and hold what was asked for.",
}
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


def check_results(checks: Iterable[QualityCheck]) -> list[AssetCheckResult]:
    """An outcome for every declared check: Dagster insists on one, also for a rule that says nothing about this task."""
    results = [check_result(check) for check in checks]
    judged = {result.check_name for result in results}
    return results + [
        AssetCheckResult(
            asset_key="dataset", check_name=rule, passed=True, metadata={"limit": "does not apply to this kind of task"}
        )
        for rule in DESCRIPTIONS
        if rule not in judged
    ]


@asset(
    description="Cleaned rows or whole frames of one dataset version, split into train, validation and test.",
    partitions_def=model_lines,
    group_name="data",
    io_manager_key="artifacts",
    required_resource_keys={"platform"},
    check_specs=[
        AssetCheckSpec(rule, asset="dataset", description=description, blocking=rule in BLOCKING)
        for rule, description in DESCRIPTIONS.items()
    ],
)
def dataset(context: AssetExecutionContext, plan: Artifact) -> Iterator[AssetCheckResult | MaterializeResult[object]]:
    """Prepare the plan's dataset version; nothing runs unless exactly this plan has been approved."""
    from mlops_assets.data.forms import Preparation, form_of
    from mlops_assets.data.quality import QualityRejected

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
        form = form_of(version)

        def told(fraction: float, text: str) -> None:
            step.check_wanted()
            step.report(fraction, text, {})

        try:
            prepared = form.prepare(
                Preparation(
                    source=source,
                    request=request,
                    target=approved.target,
                    out=step.folder,
                    now=datetime.now(UTC),
                    memory_limit=platform.settings.memory_limit,
                    shard=platform.shards.opener(version, told),
                    told=told,
                )
            )
        except QualityRejected as rejected:
            for check in rejected.checks:
                yield check_result(check)
            raise
        report = form.report(version, prepared.checks, request.language)
        (step.folder / "quality.md").write_text(report, encoding="utf-8")
        alerts = sum(not check.passed for check in prepared.checks)
        detail = "detail.data" if prepared.form == TABLE else "detail.data_frames"
        step.done(sentence(detail, request.language, **prepared.rows, alerts=alerts))
        identity = sha256_of(prepared.model_dump(mode="json"))[:16]
        yield MaterializeResult(
            value=step.finished or step.staged(f"datasets/{approved.dataset_id}/processed/{identity}"),
            check_results=check_results(prepared.checks),
            metadata={
                **numbers(prepared.rows, "rows_"),
                **numbers(prepared.removed, "removed_"),
                "dataset_version": prepared.version,
                "dataset_digest": prepared.digest,
                "quality": MetadataValue.md(report),
                **(
                    {"shards": version.shards, "made_from": MetadataValue.asset(AssetKey("kitti_frames"))}
                    if version.shards
                    else {}
                ),
            },
        )
