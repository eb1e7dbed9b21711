"""Phase 3: the evaluation on the test split, and the gate that decides between package and operator."""

from collections.abc import Iterator

from dagster import AssetExecutionContext, AssetOut, MaterializeResult, MetadataValue, Output, asset, multi_asset

from mlops_assets.assets.metadata import Metadata, bar_table, confusion_table, figure, numbers, table
from mlops_assets.assets.step import Step
from mlops_assets.partitions import model_lines
from mlops_assets.reports.gate import decide_gate
from mlops_assets.reports.language import sentence
from mlops_assets.reports.record import GateDecision
from mlops_assets.request.plan import Plan
from mlops_assets.tasks.interface import EvaluationSummary, FeatureSummary, TrainSummary, installed_tasks, task_for
from resources.artifacts import Artifact
from resources.closing import log_to_mlflow
from resources.platform import Platform

#: Columns of the table by class that count and measure nothing.
COUNTED = ("support",)


@asset(
    description="Metrics and figures on the test split.",
    partitions_def=model_lines,
    group_name="validation",
    io_manager_key="artifacts",
    required_resource_keys={"platform"},
)
def evaluation(
    context: AssetExecutionContext, plan: Artifact, dataset: Artifact, features: Artifact, model: Artifact
) -> MaterializeResult[object]:
    """Measure the model on rows that nothing was fitted on."""
    platform: Platform = context.resources.platform
    approved = plan.read("plan.json", Plan)
    with Step(context, platform, "evaluation", "evaluation", plan=plan, dataset=dataset, features=features, model=model) as step:
        task = installed_tasks()[approved.task]
        summary = task.evaluate(features.path, model.path, approved.request, step.folder)
        step.write("results.json", summary)
        gate = approved.gate_metric
        step.done(
            sentence(
                "detail.evaluation_frames" if approved.characteristics.has_frames else "detail.evaluation",
                approved.request.language,
                metric=gate,
                value=f"{summary.metrics[gate]:.4f}",
                rows=summary.rows,
            )
        )
        return MaterializeResult(
            value=step.finished or step.staged(f"evaluations/{step.training_id}"),
            metadata={
                **numbers(summary.metrics),
                **numbers({"test_frames" if approved.characteristics.has_frames else "test_rows": summary.rows}),
                **({"conventions": MetadataValue.json(summary.conventions)} if summary.conventions else {}),
                **_at_a_glance(summary, "objects" if approved.characteristics.has_frames else "rows"),
                **{f"figure_{name.removesuffix('.png')}": figure(step.folder / name) for name in summary.figures},
            },
        )


def _at_a_glance(summary: EvaluationSummary, unit: str) -> Metadata:
    shown: Metadata = {}
    if summary.confusion_matrix:
        missing = len(summary.confusion_matrix) - len(summary.classes)  # a detector's matrix also has the background
        shown["confusion_matrix"] = confusion_table((*summary.classes, *["background"] * missing), summary.confusion_matrix)
    if summary.per_class:
        metrics = list(next(iter(summary.per_class.values())))
        metrics = [name for name in metrics if name not in COUNTED] + [name for name in metrics if name in COUNTED]
        rows = [
            (name, *("-" if m not in v else int(v[m]) if m in COUNTED else round(v[m], 4) for m in metrics))
            for name, v in summary.per_class.items()
        ]
        shown["per_class"] = table(("class", *(unit if m == "support" else m for m in metrics)), rows)
    if summary.importance:
        shown["importance"] = bar_table(summary.importance, ("feature", "importance"))
    return shown


@multi_asset(
    name="gate",
    description="Passes the model on, or asks the operator what to change.",
    partitions_def=model_lines,
    group_name="validation",
    outs={
        "approved_model": AssetOut(
            is_required=False,
            io_manager_key="artifacts",
            description="A model that reached its threshold.",
        ),
        "operator_request": AssetOut(
            is_required=False,
            io_manager_key="artifacts",
            description="By how much a model fell short, and what can be changed.",
        ),
    },
    required_resource_keys={"platform"},
)
def gate(
    context: AssetExecutionContext, plan: Artifact, features: Artifact, model: Artifact, evaluation: Artifact
) -> Iterator[Output[object]]:
    """Compare the gate metric with the threshold and take one of the two branches."""
    platform: Platform = context.resources.platform
    approved = plan.read("plan.json", Plan)
    measured = evaluation.read("results.json", EvaluationSummary)
    algorithm = task_for(approved.request.algorithm)
    decision = decide_gate(
        approved,
        features.read("summary.json", FeatureSummary),
        model.read("summary.json", TrainSummary),
        measured,
        variants=algorithm[1].variants if algorithm is not None else (),
    )
    branch = "approved_model" if decision.passed else "operator_request"
    with Step(context, platform, branch, None, plan=plan, features=features, model=model, evaluation=evaluation) as step:
        step.write("decision.json", decision)
        if not decision.passed:
            for phase in ("package", "deployment"):
                platform.board.finish(
                    step.training_id, phase, "skipped", sentence("detail.below_threshold", approved.request.language)
                )
        yield Output(
            step.finished or step.staged(f"trainings/{step.training_id}/{branch}"),
            output_name=branch,
            metadata={
                **_decision_metadata(decision),
                "mlflow_run": MetadataValue.url(log_to_mlflow(platform, step.training_id, decision)),
            },
        )


def _decision_metadata(decision: GateDecision) -> Metadata:
    return {
        **numbers({"value": decision.value, "shortfall": decision.shortfall}),
        **({} if decision.threshold is None else numbers({"threshold": decision.threshold})),
        "metric": MetadataValue.text(decision.metric),
        "passed": MetadataValue.bool(decision.passed),
        "suggestions": MetadataValue.json(list(decision.suggestions)),
    }
