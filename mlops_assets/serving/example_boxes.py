"""Do a packaged detector's graphs find in the example frames what the native model found?

Two correct programs may differ where a decision hangs on a hair: a score at the threshold, the last place of a full list, an
overlap at the limit of suppression, two boxes of almost one score of which either suppresses the other. A box that only one side
has must be explained by one of these, and only a fifth of an example's boxes may need it; everything else must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mlops_assets.errors import IntegrityError
from mlops_assets.serving.package import Examples

#: Largest difference of a score.
SCORE_TOLERANCE: Final = 1e-3
#: Frames that are tried when a package is loaded: each takes as long as a request.
FRAMES_CHECKED: Final = 4
_OVERLAP_TOLERANCE: Final = 0.01
_EXPLAINED_SHARE: Final = 0.2

Boxes = NDArray[np.float64]
Found = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """How boxes of one kind are compared.

    Attributes:
        numbers: a box's geometry as a row of numbers.
        tolerances: boxes ``(N, K)`` to the difference allowed for each of their numbers ``(N, K)``.
        overlap: boxes ``(N, K)`` and ``(M, K)`` to intersection over union ``(N, M)``, as suppression counts it.
        score_threshold: less sure boxes are left out.
        overlap_threshold: boxes that overlap by more suppress each other.
        limit: most boxes of a frame.
        within_class: suppression leaves boxes of different classes alone.
    """

    numbers: Callable[[Mapping[str, Any]], list[float]]
    tolerances: Callable[[Boxes], Boxes]
    overlap: Callable[[Boxes, Boxes], Boxes]
    score_threshold: float
    overlap_threshold: float
    limit: int
    within_class: bool


def hold_to_examples(examples: Examples, found: Callable[[Mapping[str, Any], int], Found], comparison: Comparison) -> None:
    """Compare the first frames of the examples with what the graphs find in them.

    Args:
        examples: rows as clients send them, and the native model's boxes of each.
        found: row and its number to the boxes that the graphs find.
        comparison: when two boxes are one.

    Raises:
        IntegrityError: a box differs, or an example has none of the native model's boxes.
    """
    if len(examples.boxes) != len(examples.rows):
        raise IntegrityError(f"examples: {len(examples.boxes)} native predictions for {len(examples.rows)} rows")
    for number, row in enumerate(examples.rows[:FRAMES_CHECKED]):
        native, own = examples.boxes[number], found(row, number)
        try:
            sides = [_Side(boxes, comparison.numbers) for boxes in (native, own)]
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"examples: the native boxes of row {number} are not boxes: {error}") from error
        matched = _matched(sides[0], sides[1], comparison.tolerances)
        explained = 0
        for side, other, alone in ((sides[0], sides[1], ~matched.any(axis=1)), (sides[1], sides[0], ~matched.any(axis=0))):
            reasons = _on_a_hair(side, other, comparison)
            explained += int((alone & reasons).sum())
            if (alone & ~reasons).any():
                box = int(np.flatnonzero(alone & ~reasons)[0])
                who, whom = ("native model", "graph") if side is sides[0] else ("graph", "native model")
                raise IntegrityError(
                    f"examples: in row {number} the {who} found {side.names[box]} {side.boxes[box].round(2).tolist()} with score "
                    f"{side.scores[box]:.4f}, the {whom} did not"
                )
        if explained > _EXPLAINED_SHARE * (len(native) + len(own)):
            raise IntegrityError(
                f"examples: of {len(native)} boxes of the native model and {len(own)} of the graph in row {number}, {explained} "
                "have no counterpart"
            )


class _Side:
    """The boxes of one frame as one of the two programs gave them."""

    def __init__(self, found: Found, numbers: Callable[[Mapping[str, Any]], list[float]]) -> None:
        self.names = np.array([str(box["class"]) for box in found], dtype=object)
        self.scores = np.array([float(box["score"]) for box in found], dtype=np.float64)
        self.boxes = np.array([numbers(box) for box in found], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.names)


def _matched(native: _Side, own: _Side, tolerances: Callable[[Boxes], Boxes]) -> NDArray[np.bool_]:
    """``(N, M)`` whether a native box and a graph's box are the same."""
    if not len(native) or not len(own):
        return np.zeros((len(native), len(own)), dtype=np.bool_)
    if native.boxes.shape[1:] != own.boxes.shape[1:]:
        raise IntegrityError(f"examples: native boxes have {native.boxes.shape[1:]} numbers, the graph's {own.boxes.shape[1:]}")
    same = native.names[:, None] == own.names[None, :]
    near = np.abs(native.scores[:, None] - own.scores[None, :]) <= SCORE_TOLERANCE
    distance = np.abs(native.boxes[:, None, :] - own.boxes[None, :, :])
    if native.boxes.shape[1] == 7:
        # Angles meet at pi and -pi.
        distance[:, :, 6] = np.abs((distance[:, :, 6] + np.pi) % (2 * np.pi) - np.pi)
    close = (distance <= tolerances(native.boxes)[:, None, :]).all(axis=2)
    return np.asarray(same & near & close, dtype=np.bool_)


def _on_a_hair(side: _Side, other: _Side, comparison: Comparison) -> NDArray[np.bool_]:
    """``(N,)`` whether the other side may be without a box for one of the reasons above."""
    if not len(side):
        return np.zeros(0, dtype=np.bool_)
    excused = side.scores <= comparison.score_threshold + SCORE_TOLERANCE
    limit = comparison.limit
    if len(side) == limit or len(other) == limit:
        lowest = min(s.scores.min() for s in (side, other) if len(s) == limit)
        excused |= side.scores <= lowest + SCORE_TOLERANCE
    if len(other):
        rivals = (comparison.overlap(side.boxes, other.boxes) > comparison.overlap_threshold - _OVERLAP_TOLERANCE) & (
            other.scores[None, :] >= side.scores[:, None] - SCORE_TOLERANCE
        )
        if comparison.within_class:
            rivals &= np.asarray(side.names[:, None] == other.names[None, :], dtype=np.bool_)
        excused |= rivals.any(axis=1)
    return np.asarray(excused, dtype=np.bool_)
