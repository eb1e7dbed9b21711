"""The four performance profiles (FR-037): what each of them sets where a knob exists and the person set none.

The trial counts are the requirement's own (``speed`` 10, ``accuracy`` 50 and more). The factors on the number of trees are
round numbers by which training takes about so many times as long; no gain in accuracy is promised for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mlops_assets.request.vocabulary import PerformanceProfile


@dataclass(frozen=True)
class Profile:
    """How much work a profile spends.

    Attributes:
        tree_factor: times the algorithm's default number of trees or rounds.
        patience: rounds without a better validation loss before boosting stops.
        trials: experiments of a hyperparameter search.
    """

    tree_factor: float
    patience: int
    trials: int


PROFILES: Final[dict[PerformanceProfile, Profile]] = {
    "speed": Profile(tree_factor=0.5, patience=10, trials=10),
    "accuracy": Profile(tree_factor=3.0, patience=50, trials=50),
    "cost": Profile(tree_factor=0.5, patience=10, trials=10),
    "balanced": Profile(tree_factor=1.0, patience=20, trials=20),
}
