"""Rules of phase 1: imbalanced classes and time series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mlops_assets.request.optimiser.models import OptimizationPhase, Recommendation, Source, Statement
from mlops_assets.request.optimiser.rules import Facts

#: Nearest neighbours between which SMOTE interpolates; it needs one row of the rarest class more than that.
#: Source: N. Chawla et al., SMOTE: Synthetic Minority Over-sampling Technique, JAIR 16 (2002), k = 5.
SMOTE_NEIGHBOURS: Final = 5
#: Undersampling throws rows away: only where at least this many would be left of a large table.
ROWS_LEFT: Final = 10_000
#: Metrics of the order of the rows alone, whatever the point of decision.
RANKING_METRICS: Final = ("auc_roc", "average_precision")
#: Knobs that weigh the classes, with the value at which they do nothing.
_WEIGHTS: Final = {"class_weight": (None, "none", "null"), "scale_pos_weight": (1, 1.0)}


@dataclass(frozen=True)
class ClassImbalance:
    """SMOTE where the rarest class has less than ``IMBALANCE`` of an even share.

    A large table of which enough is left is undersampled instead: SMOTE there costs more time than its rows are worth. Where the
    training split is expected to hold too few rows of the rarest class for SMOTE's neighbours, they are repeated (oversampled).
    A request that weighs the classes itself has handled the imbalance; one that names a ranking as what decides would only lose:
    more rows of a class move the point of decision and make no ranking better. Both are left alone.
    """

    name: str = "class_imbalance"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "data"
    source: Source = "rule"
    setting: str | None = "phase1_preprocessing.class_imbalance_handling"

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        found = facts.characteristics
        handled = _weighs_classes(facts) or facts.request.evaluation.threshold_metric in RANKING_METRICS
        if facts.request.task_type != "classification" or not found.imbalanced or handled:
            return None
        counts = found.class_counts
        options = facts.request.preprocessing
        rarest = min(counts.values()) * (1 - options.validation_fraction - options.test_fraction)
        values = {"share": found.minority_share, "limit": found.imbalance_limit, "rows": found.rows}
        if rarest < SMOTE_NEIGHBOURS + 1:
            method, reason = "oversample", Statement(key="too_rare_for_smote", values={**values, "rare_rows": int(rarest)})
        elif found.size_class == "large" and rarest * len(counts) >= ROWS_LEFT:
            method, reason = "undersample", Statement(key="imbalanced_large", values=values)
        else:
            method, reason = "smote", Statement(key="imbalanced", values=values)
        return Recommendation(
            action=Statement(key=f"resample_{method}"), reason=reason, changes={"preprocessing.resample": method}
        )


def _weighs_classes(facts: Facts) -> bool:
    return any(facts.request.hyperparameters.get(knob, neutral[0]) not in neutral for knob, neutral in _WEIGHTS.items())


@dataclass(frozen=True)
class LagFeatures:
    """Earlier values as features where numbers are predicted along a declared time."""

    name: str = "lag_features"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "data"
    source: Source = "rule"
    setting: str | None = None

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        column = facts.request.preprocessing.timestamp_column or facts.version.entry.timestamp
        if facts.request.task_type != "regression" or column is None:
            return None
        return Recommendation(
            action=Statement(key="lag_features"),
            reason=Statement(key="time_series", values={"column": column}),
            carried_out=False,
        )
