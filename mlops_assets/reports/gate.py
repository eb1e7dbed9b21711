"""The gate: whether an evaluation reached its threshold, by how much, and what could be changed."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_assets.errors import IntegrityError
from mlops_assets.reports.detector_suggestions import detector_suggestions
from mlops_assets.reports.record import GateDecision
from mlops_assets.reports.suggestions import gate_suggestions, with_threshold
from mlops_assets.request.plan import Plan
from mlops_assets.request.vocabulary import METRICS
from mlops_assets.tasks.interface import EvaluationSummary, FeatureSummary, TrainSummary


def decide_gate(
    plan: Plan, features: FeatureSummary, trained: TrainSummary, measured: EvaluationSummary, *, variants: Sequence[str] = ()
) -> GateDecision:
    """Compare the plan's gate metric with the request's threshold; without a threshold everything passes.

    Args:
        variants: sizes of the plan's algorithm, smallest first; suggestions name the next one.

    Raises:
        IntegrityError: the gate metric was not measured, e.g. because the test split holds one class only.
    """
    metric = plan.gate_metric
    if metric not in measured.metrics:
        raise IntegrityError(f"the gate metric {metric} was not measured; measured: {', '.join(measured.metrics)}")
    value, direction, threshold = measured.metrics[metric], METRICS[metric], plan.request.evaluation.threshold
    passed = threshold is None or (value >= threshold if direction == "higher" else value <= threshold)
    return GateDecision(
        metric=metric,
        direction=direction,
        value=value,
        threshold=threshold,
        passed=passed,
        suggestions=() if passed or threshold is None else _suggestions(plan, features, trained, value, threshold, variants),
    )


def _suggestions(
    plan: Plan, features: FeatureSummary, trained: TrainSummary, value: float, threshold: float, variants: Sequence[str]
) -> tuple[str, ...]:
    metric, direction = plan.gate_metric, METRICS[plan.gate_metric]
    if plan.characteristics.has_frames:
        found = detector_suggestions(
            plan.request,
            hyperparameters=plan.hyperparameters,
            direction=direction,
            value=value,
            trained=trained.metrics.get(f"train_{metric}"),
            variants=variants,
            training_frames=features.rows["train"],
        )
        return with_threshold(found, value, threshold)
    return gate_suggestions(
        algorithm=plan.request.algorithm,
        hyperparameters=plan.hyperparameters,
        metric=metric,
        direction=direction,
        value=value,
        threshold=threshold,
        metrics=trained.metrics,
        imbalanced=plan.characteristics.imbalanced and plan.request.preprocessing.resample == "none",
        training_rows=features.rows["train"],
        features=len(features.feature_names),
    )
