"""Rules of phase 3: metrics that imbalanced classes need, and fairness between groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from mlops_assets.request.optimiser.custom import with_metrics
from mlops_assets.request.optimiser.models import OptimizationPhase, Recommendation, Source, Statement
from mlops_assets.request.optimiser.rules import Facts

#: What accuracy hides where one class is rare.
RARE_CLASS_METRICS: Final = ("precision", "recall", "f1_score")


@dataclass(frozen=True)
class PriorityMetrics:
    """Precision, recall and F1 beside what was asked for, where the classes are imbalanced; every class has its row anyway."""

    name: str = "priority_metrics"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "evaluation"
    source: Source = "rule"
    setting: str | None = "phase3_evaluation.priority_metrics"

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        found = facts.characteristics
        if facts.request.task_type != "classification" or not found.imbalanced:
            return None
        wanted = with_metrics(facts.request, list(RARE_CLASS_METRICS))
        missing = facts.request.evaluation.metrics and wanted != facts.request.evaluation.metrics
        changes: dict[str, JsonValue] = {"evaluation.metrics": list(wanted)} if missing else {}
        return Recommendation(
            action=Statement(key="priority_metrics", values={"metrics": list(RARE_CLASS_METRICS)}),
            reason=Statement(key="accuracy_hides", values={"share": found.minority_share}),
            changes=changes,
        )


@dataclass(frozen=True)
class BiasCheck:
    """A check of fairness between groups, where the dataset declares sensitive columns."""

    name: str = "bias_check"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "evaluation"
    source: Source = "rule"
    setting: str | None = "phase3_evaluation.bias_check_level"

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        sensitive = facts.characteristics.sensitive
        if not sensitive or facts.request.evaluation.bias_check:
            return None
        return Recommendation(
            action=Statement(key="bias_check"),
            reason=Statement(key="sensitive_columns", values={"columns": list(sensitive)}),
            changes={"evaluation.bias_check": True},
            carried_out=False,
        )
