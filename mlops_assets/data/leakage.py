"""Features that know the target: how much of it one feature, or an exact sum of a few, gives away on a sample.

Arithmetic on arrays only; drawing the sample and judging the result is in ``quality``. A suspicion is an alert, never a refusal:
a strong feature may be honest, and only a person knows when its value becomes known.

Method, on at most 20,000 rows:

- classes, numeric feature: the area under its ROC curve against two classes; beyond 0.999 (or below 0.001) it is a suspect.
  For any number of classes also: sorted by the feature, the rows fall into hardly more runs of one class than there are classes.
- classes, text feature: the share of rows outside the largest class that the best class for each value gets right (Goodman and
  Kruskal's lambda); beyond 0.999 a suspect, if values repeat often enough that this means something. Whether the cell is
  missing counts as such a feature too (a date of cancellation is filled for those who left).
- number: |Pearson's r| of the values or of their ranks beyond 0.999; for text, the share of variance between its values.
- number, several features: least squares over all numeric features. If it is exact, features are taken away one by one as long
  as it stays exact; what is left is a sum that equals the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LIMIT: Final = 0.999
LEAST_ROWS: Final = 50
_ROWS_PER_VALUE = 20  # a text feature with more distinct values says little about rows not seen
_EXACT = 1e-6  # root mean square of the residual / standard deviation of the target
_MOST_COLUMNS = 200  # for least squares


def suspects(numbers: Mapping[str, Any], texts: Mapping[str, Any], target: Any, *, classes: bool) -> dict[str, float]:
    """Feature, or ``a + b`` for an exact sum, -> how much of the target it determines (above 0.999, at most 1).

    Args:
        numbers: name -> (N,) float64, NaN for missing.
        texts: name -> (N,) int64 codes of the values, -1 for missing.
        target: (N,) int64 class codes if ``classes``, else float64; nothing missing.
        classes: whether the target is a class.
    """
    import numpy

    if len(target) < LEAST_ROWS:
        return {}
    score = _class_score if classes else _value_score
    found: dict[str, float] = {}
    for name, values in numbers.items():
        present = ~numpy.isnan(values)
        shares = [score(values[present], target[present], ordered=True)] if present.sum() >= LEAST_ROWS else []
        shares.append(score(present.astype(numpy.int64), target, ordered=False))
        found[name] = max(shares)
    for name, codes in texts.items():
        found[name] = score(codes, target, ordered=False)
    found = {name: round(share, 6) for name, share in found.items() if share > LIMIT}
    if not classes and not found:
        names = _exact_sum(numbers, target)
        if names:
            found[" + ".join(names)] = 1.0
    return found


def _class_score(feature: Any, target: Any, *, ordered: bool) -> float:
    """0..1, how well one feature separates the classes; see the module's text."""
    import numpy

    classes, codes, class_rows = numpy.unique(target, return_inverse=True, return_counts=True)
    values, places = numpy.unique(feature, return_inverse=True)
    rare = len(target) - int(class_rows.max())  # rows that guessing the largest class gets wrong
    if len(classes) < 2 or len(values) < 2 or rare < 5:
        return 0.0
    if not ordered and len(values) * _ROWS_PER_VALUE > len(target):
        return 0.0
    table = numpy.zeros((len(values), len(classes)), dtype=numpy.int64)
    numpy.add.at(table, (places, codes), 1)
    agreement = 1.0 - (len(target) - int(table.max(axis=1).sum())) / rare
    if not ordered:
        return agreement
    best = table.argmax(axis=1)
    runs = 1 + int((best[1:] != best[:-1]).sum())
    separated = agreement if runs <= len(classes) + 2 * (1 - LIMIT) * rare else 0.0
    if len(classes) == 2:
        below = numpy.concatenate(([0], numpy.cumsum(table[:, 0])[:-1]))
        area = float((table[:, 1] * (below + table[:, 0] / 2)).sum()) / (int(class_rows[0]) * int(class_rows[1]))
        return max(separated, area, 1.0 - area)
    return separated


def _value_score(feature: Any, target: Any, *, ordered: bool) -> float:
    """0..1, how well one feature tells a number: correlation, or share of variance between the values of a text."""
    import numpy

    if len(target) < 2 or target.std() == 0:
        return 0.0
    values, places, rows = numpy.unique(feature, return_inverse=True, return_counts=True)
    if len(values) < 2:
        return 0.0
    if ordered:
        _, target_places = numpy.unique(target, return_inverse=True)
        return max(_correlation(feature, target), _correlation(_ranks(places), _ranks(target_places)))
    if len(values) * _ROWS_PER_VALUE > len(target):
        return 0.0
    means = numpy.bincount(places, weights=target) / rows
    return float((rows * (means - target.mean()) ** 2).sum() / ((target - target.mean()) ** 2).sum())


def _ranks(places: Any) -> Any:
    """Average ranks of values given by their place among the sorted distinct ones."""
    import numpy

    rows = numpy.bincount(places)
    return (numpy.cumsum(rows) - (rows - 1) / 2.0)[places]


def _correlation(first: Any, second: Any) -> float:
    import numpy

    if first.std() == 0 or second.std() == 0:
        return 0.0
    return abs(float(numpy.corrcoef(first, second)[0, 1]))


def _exact_sum(numbers: Mapping[str, Any], target: Any) -> list[str]:
    """Names of a smallest set of features that the target is an exact linear sum of; empty if there is none."""
    import numpy

    usable = {}
    for name, values in numbers.items():
        if not numpy.isnan(values).any() and values.std() > 0:
            usable[name] = (values - values.mean()) / values.std()
    if not 2 <= len(usable) <= _MOST_COLUMNS or len(target) < 5 * len(usable) or target.std() == 0:
        return []
    wanted = (target - target.mean()) / target.std()

    def exact(names: list[str]) -> bool:
        matrix = numpy.column_stack([usable[name] for name in names])
        weights = numpy.linalg.lstsq(matrix, wanted, rcond=None)[0]
        return float(numpy.sqrt(numpy.mean((wanted - matrix @ weights) ** 2))) < _EXACT

    left = list(usable)
    if not exact(left):
        return []
    for name in list(left):
        fewer = [other for other in left if other != name]
        if fewer and exact(fewer):
            left = fewer
    return left
