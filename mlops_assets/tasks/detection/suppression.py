"""Greedy non-maximum suppression: of detections that overlap too much, the surest stays.

For axis-aligned boxes in an image and for turned boxes seen from above; plain numpy. Score thresholds and decoding of a
network's output are not here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection.overlap import Floats, axis_aligned_iou, bev_intersections, boxes_of, near_pairs, ratios

Rows = NDArray[np.intp]
_Overlapping = Callable[[Rows, Rows], NDArray[np.bool_]]
_BLOCK = 64


def suppress(
    boxes: ArrayLike, scores: ArrayLike, *, iou_threshold: float, classes: ArrayLike | None = None, limit: int | None = None
) -> Rows:
    """Rows to keep, ``(K,)``, the surest first; equal scores in the order given.

    A box goes when its intersection over union with a kept one exceeds the threshold (not when it equals it).

    Args:
        boxes: ``(N, 4)`` left, top, right, bottom [px].
        scores: ``(N,)``, higher is surer.
        classes: ``(N,)``; boxes of different classes leave each other alone. None: all are of one class.
        limit: keep at most so many.

    Raises:
        UserError: shapes that do not fit, values that are not finite, a threshold outside 0 … 1, a limit below 0.
    """
    found = boxes_of(boxes, 4, "boxes")
    order, kinds = _ranked(len(found), scores, classes, iou_threshold, limit)
    found = found[order]

    def overlapping(one: Rows, two: Rows) -> NDArray[np.bool_]:
        return (axis_aligned_iou(found[one], found[two]) > iou_threshold) & _same(kinds, one, two)

    return order[_greedy(len(found), overlapping, limit)]


def suppress_rotated(
    boxes: ArrayLike, scores: ArrayLike, *, iou_threshold: float, classes: ArrayLike | None = None, limit: int | None = None
) -> Rows:
    """As ``suppress``, for turned rectangles seen from above.

    Args:
        boxes: ``(N, 5)`` centre x, y [m], length, width [m], yaw [rad]; of LiDAR boxes ``(N, 7)`` the ``BEV_COLUMNS``.
        scores: ``(N,)``, higher is surer.
        classes: ``(N,)``; boxes of different classes leave each other alone. None: all are of one class.
        limit: keep at most so many.

    Raises:
        UserError: shapes that do not fit, values that are not finite, a threshold outside 0 … 1, a limit below 0.
    """
    found = boxes_of(boxes, 5, "boxes")
    order, kinds = _ranked(len(found), scores, classes, iou_threshold, limit)
    found = found[order]

    def overlapping(one: Rows, two: Rows) -> NDArray[np.bool_]:
        answer = np.zeros((len(one), len(two)), dtype=np.bool_)
        for near in near_pairs(found[one], found[two]):
            alike = slice(None) if kinds is None else kinds[one[near[0]]] == kinds[two[near[1]]]
            rows, columns = near[0][alike], near[1][alike]
            answer[rows, columns] = _pair_iou(found[one[rows]], found[two[columns]]) > iou_threshold
        return answer

    return order[_greedy(len(found), overlapping, limit)]


def _pair_iou(first: Floats, second: Floats) -> Floats:
    shared = bev_intersections(first, second)
    return ratios(shared, first[:, 2] * first[:, 3] + second[:, 2] * second[:, 3] - shared)


def _same(kinds: NDArray[np.generic] | None, one: Rows, two: Rows) -> NDArray[np.bool_]:
    if kinds is None:
        return np.ones((1, 1), dtype=np.bool_)
    return np.asarray(kinds[one][:, None] == kinds[two][None, :], dtype=np.bool_)


def _greedy(count: int, overlapping: _Overlapping, limit: int | None) -> Rows:
    """Rows that stay of rows ranked 0 … count - 1: the next undecided block settles itself, then clears what comes after."""
    most = count if limit is None else limit
    kept = [np.empty(0, dtype=np.intp)]
    held = 0
    undecided = np.arange(count)
    while len(undecided) and held < most:
        block, rest = undecided[:_BLOCK], undecided[_BLOCK:]
        against = overlapping(block, block)
        stays = np.ones(len(block), dtype=np.bool_)
        for row in range(len(block)):
            if stays[row]:
                stays[row + 1 :] &= ~against[row, row + 1 :]
        kept.append(block[stays])
        held += len(kept[-1])
        undecided = rest[~overlapping(kept[-1], rest).any(axis=0)]
    return np.concatenate(kept)[:most]


def _ranked(
    count: int, scores: ArrayLike, classes: ArrayLike | None, iou_threshold: float, limit: int | None
) -> tuple[Rows, NDArray[np.generic] | None]:
    """The rows by falling score, and the classes in that order."""
    values = np.asarray(scores, dtype=np.float64)
    kinds = None if classes is None else np.asarray(classes)
    for name, given in (("scores", values), ("classes", kinds)):
        if given is not None and given.shape != (count,):
            raise UserError(
                f"{name} must be one for each of {count} boxes", field=name, given=given.shape, allowed=(f"({count},)",)
            )
    if not np.isfinite(values).all():
        raise UserError(
            "a score is not finite",
            field="scores",
            given=values[~np.isfinite(values)][0],
            next_step="look for an overflow in the network's output",
        )
    if not 0 <= iou_threshold <= 1:
        raise UserError("no such overlap", field="iou_threshold", given=iou_threshold, allowed=("0 … 1",))
    if limit is not None and limit < 0:
        raise UserError("a limit cannot be negative", field="limit", given=limit, allowed=("0 or more",))
    order = np.argsort(-values, kind="stable")
    return order, None if kinds is None else kinds[order]
