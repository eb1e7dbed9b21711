"""Choosing features by their values on the training split: by correlation with each other, by importance for the target.

Takes matrices, gives positions; removing a feature from the graph is in ``feature_graph``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

MAX_CORRELATION: Final = 0.95
FOREST_TREES: Final = 50
FOREST_DEPTH: Final = 10
FOREST_ROWS: Final = 10_000
_BATCH: Final = 65_536


def correlated_features(matrix: Array) -> dict[int, tuple[int, float]]:
    """Features to drop: position -> (earlier feature that stays, Pearson's r of the two).

    Of two features with |r| > ``MAX_CORRELATION`` the later goes. A constant feature correlates with nothing.
    ``matrix`` (N, F) float32, finite.
    """
    import numpy as np

    rows, width = matrix.shape
    if rows < 2:
        return {}
    mean = matrix.mean(axis=0, dtype=np.float64)
    # Divided by the largest deviation first, so that squares of 1e30 or 1e-30 neither overflow nor vanish.
    largest = np.zeros(width)
    for start in range(0, rows, _BATCH):
        largest = np.maximum(largest, np.abs(matrix[start : start + _BATCH] - mean).max(axis=0))
    divisor = np.where(largest > 0, largest, 1.0)
    products = np.zeros((width, width))
    for start in range(0, rows, _BATCH):
        centred = (matrix[start : start + _BATCH] - mean) / divisor
        products += centred.T @ centred
    norm = np.sqrt(np.diag(products))
    norm[(norm == 0) | (matrix.min(axis=0) == matrix.max(axis=0))] = np.inf
    r = products / norm[:, None] / norm[None, :]
    dropped: dict[int, tuple[int, float]] = {}
    for j in range(width):
        for i in np.flatnonzero(np.abs(r[:j, j]) > MAX_CORRELATION):
            if int(i) not in dropped:
                dropped[j] = (int(i), float(r[i, j]))
                break
    return dropped


def importances(matrix: Array, y: Array, *, classification: bool, seed: int) -> Array:
    """(F,) impurity importances of a small random forest; at most ``FOREST_ROWS`` rows, drawn by ``seed``.

    The same arguments give the same numbers whatever the number of processors.
    """
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if len(matrix) > FOREST_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(matrix), FOREST_ROWS, replace=False))
        matrix, y = matrix[chosen], y[chosen]
    forest = (RandomForestClassifier if classification else RandomForestRegressor)(
        n_estimators=FOREST_TREES, max_depth=FOREST_DEPTH, max_features="sqrt", random_state=seed, n_jobs=-1
    )
    found: Array = np.asarray(forest.fit(matrix, y).feature_importances_, dtype=np.float64)
    return found


def most_important(values: Array, max_features: int | None) -> list[int]:
    """Positions to keep, ascending: the ``max_features`` largest, or all that reach the mean; the earlier of equals first."""
    import numpy as np

    if max_features is None:
        # A rounding error below the mean still counts as reaching it, or equal importances would all go.
        return [int(i) for i in np.flatnonzero(values >= values.mean() * (1 - 1e-9))]
    return sorted(int(i) for i in np.argsort(-values, kind="stable")[:max_features])
