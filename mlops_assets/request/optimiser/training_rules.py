"""Rules of phase 2: hyperparameter search, early stopping, the number of trees, processors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mlops_assets.request.optimiser.models import OptimizationPhase, Recommendation, Source, Statement
from mlops_assets.request.optimiser.rules import Facts
from mlops_assets.request.vocabulary import SearchMethod

#: The requirement's own limits, in rows: a grid below the first, Bayesian above the second.
GRID_BELOW: Final = 10_000
BAYESIAN_ABOVE: Final = 100_000


@dataclass(frozen=True)
class HyperparameterSearch:
    """A search of the hyperparameters: grid for small tables, Bayesian for large ones; between them by profile.

    One training of a detector takes hours to days: a search over them is proposed by nobody who does not ask for it.
    """

    name: str = "hyperparameter_search"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "training"
    source: Source = "rule"
    setting: str | None = None

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        if facts.request.search.enabled or not facts.algorithm.hyperparameters or facts.characteristics.has_frames:
            return None
        rows, profile = facts.characteristics.rows, facts.request.optimization.performance_profile
        method: SearchMethod
        if rows < GRID_BELOW:
            method, reason = "grid", "search_small"
        elif rows > BAYESIAN_ABOVE:
            method, reason = "bayesian", "search_large"
        else:
            method, reason = ("random" if profile in ("speed", "cost") else "bayesian"), "search_medium"
        trials = facts.profile.trials
        return Recommendation(
            action=Statement(key="search", values={"search": method, "trials": trials}),
            reason=Statement(key=reason, values={"rows": rows}),
            changes={"search.enabled": True, "search.method": method, "search.max_trials": trials},
            carried_out=False,
        )


@dataclass(frozen=True)
class EarlyStopping:
    """Boosting ends when the validation loss no longer falls, after as many rounds as the profile waits."""

    name: str = "early_stopping"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "training"
    source: Source = "rule"
    setting: str | None = None

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        knob = "early_stopping_rounds"
        if facts.algorithm.hyperparameter(knob) is None or facts.was_set(knob):
            return None
        patience = facts.profile.patience
        return Recommendation(
            action=Statement(key="early_stopping", values={"rounds": patience}),
            reason=Statement(key="early_stopping"),
            changes={f"hyperparameters.{knob}": patience},
        )


@dataclass(frozen=True)
class ProfileTrees:
    """Fewer trees for speed and cost, more for accuracy, where the person gave no number."""

    name: str = "profile_trees"
    requirement: str = "FR-037"
    phase: OptimizationPhase = "training"
    source: Source = "profile"
    setting: str | None = None

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        trees = facts.by_profile("n_estimators")
        if trees is None:
            return None
        return Recommendation(
            action=Statement(key="trees", values={"trees": trees.count, "default": trees.default}),
            reason=Statement(key=f"profile_{facts.request.optimization.performance_profile}"),
            changes={f"hyperparameters.{trees.knob}": trees.count},
        )


@dataclass(frozen=True)
class ParallelForest:
    """The trees of a forest grow side by side on every processor; this is how they are always grown here."""

    name: str = "parallel_forest"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "training"
    source: Source = "rule"
    setting: str | None = None

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        processors = facts.resources.get("processors")
        if facts.request.algorithm != "random_forest" or not isinstance(processors, int) or processors < 2:
            return None
        return Recommendation(
            action=Statement(key="parallel_trees", values={"processors": processors}), reason=Statement(key="independent_trees")
        )
