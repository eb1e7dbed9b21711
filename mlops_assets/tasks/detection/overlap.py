"""How much boxes overlap: axis-aligned rectangles in an image, turned rectangles seen from above, turned boxes in space.

Plain numpy in float64, no compilation. What follows from an overlap (matching, suppression) is not here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_assets.errors import UserError

Floats = NDArray[np.float64]
#: Columns of a LiDAR box ``(N, 7)`` that are its rectangle seen from above: x, y, length, width, yaw.
BEV_COLUMNS = [0, 1, 3, 4, 6]
_CORNERS = ((1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0))  # counter-clockwise, in halves of length and width
_LARGEST = 1e100  # a volume must not overflow
_PAIRS_AT_ONCE = 1 << 18  # about 100 MB of intermediate arrays


def axis_aligned_iou(first: ArrayLike, second: ArrayLike) -> Floats:
    """Intersection over union of every pair, ``(N, M)``, 0 … 1.

    ``first`` is ``(N, 4)``, ``second`` ``(M, 4)``: left, top, right, bottom [px or m], no ``+ 1``. A box without area, or
    turned inside out, overlaps nothing, not even itself.

    Raises:
        UserError: not that shape, or a value that is not finite or beyond 1e100.
    """
    one, two = boxes_of(first, 4, "first"), boxes_of(second, 4, "second")
    intersections = image_intersections(one[:, None, :], two[None, :, :])
    areas_one = (one[:, 2] - one[:, 0]) * (one[:, 3] - one[:, 1])
    areas_two = (two[:, 2] - two[:, 0]) * (two[:, 3] - two[:, 1])
    return ratios(intersections, areas_one[:, None] + areas_two[None, :] - intersections)


def bev_iou(first: ArrayLike, second: ArrayLike) -> Floats:
    """Intersection over union of turned rectangles, every pair, ``(N, M)``, 0 … 1.

    ``first`` is ``(N, 5)``, ``second`` ``(M, 5)``: centre x, y [m], length along the heading, width [m], yaw [rad], measured
    from x towards y. A LiDAR box ``(N, 7)`` gives them as ``boxes[:, BEV_COLUMNS]`` (velodyne frame, seen from above).
    Identical boxes give exactly 1; boxes that only touch give 0; a length or width of 0 or less overlaps nothing.

    Raises:
        UserError: not that shape, or a value that is not finite or beyond 1e100.
    """
    one, two = boxes_of(first, 5, "first"), boxes_of(second, 5, "second")
    found = np.zeros((len(one), len(two)))
    for rows, columns in near_pairs(one, two):
        areas = bev_intersections(one[rows], two[columns])
        unions = one[rows, 2] * one[rows, 3] + two[columns, 2] * two[columns, 3] - areas
        found[rows, columns] = ratios(areas, unions)
    return found


def iou_3d(first: ArrayLike, second: ArrayLike) -> Floats:
    """Intersection over union of upright boxes in space, every pair, ``(N, M)``, 0 … 1.

    ``first`` is ``(N, 7)``, ``second`` ``(M, 7)``, LiDAR frame: centre x, y, z [m], length, width, height [m], yaw [rad] about z.

    Raises:
        UserError: not that shape, or a value that is not finite or beyond 1e100.
    """
    one, two = boxes_of(first, 7, "first"), boxes_of(second, 7, "second")
    flat_one, flat_two = one[:, BEV_COLUMNS], two[:, BEV_COLUMNS]
    found = np.zeros((len(one), len(two)))
    for rows, columns in near_pairs(flat_one, flat_two):
        a, b = one[rows], two[columns]
        # Relative to the first box's centre, so that two equal intervals have exactly their own height in common.
        rise = b[:, 2] - a[:, 2]
        shared = np.minimum(a[:, 5] / 2, rise + b[:, 5] / 2) - np.maximum(-a[:, 5] / 2, rise - b[:, 5] / 2)
        volumes = bev_intersections(flat_one[rows], flat_two[columns]) * np.maximum(shared, 0)
        unions = a[:, 3] * a[:, 4] * a[:, 5] + b[:, 3] * b[:, 4] * b[:, 5] - volumes
        found[rows, columns] = ratios(volumes, unions)
    return found


def image_intersections(first: Floats, second: Floats) -> Floats:
    """Areas that axis-aligned boxes ``(…, 4)`` (left, top, right, bottom) share, broadcast against each other."""
    width = np.minimum(first[..., 2], second[..., 2]) - np.maximum(first[..., 0], second[..., 0])
    height = np.minimum(first[..., 3], second[..., 3]) - np.maximum(first[..., 1], second[..., 1])
    # Both signs are asked: a product of two negative numbers is no area.
    return np.where((width > 0) & (height > 0), width * height, 0.0)


def bev_intersections(first: Floats, second: Floats) -> Floats:
    """Areas [m²] that turned rectangles share, row for row: ``(P, 5)`` and ``(P, 5)`` as in ``bev_iou`` to ``(P,)``.

    The second rectangle is turned into the frame of the first, where the first is ``|x| <= a, |y| <= b``. By Green's theorem
    the shared area is the integral of ``clamp(x, -a, a)`` over ``clamp(y, -b, b)`` along the second one's outline. It is a
    sum over four edges that changes continuously with the boxes: no corner has to be found inside or outside, nothing can be
    lost or counted twice where edges coincide. That is where clippers in float32 with a fixed list of corners fail.
    """
    half_x, half_y = first[:, 2] / 2, first[:, 3] / 2
    cosine, sine = _turn(first[:, 4], second[:, 4])
    along, across = np.cos(first[:, 4]), np.sin(first[:, 4])
    away_x, away_y = second[:, 0] - first[:, 0], second[:, 1] - first[:, 1]
    centre_x, centre_y = along * away_x + across * away_y, along * away_y - across * away_x
    length, width = second[:, 2] / 2, second[:, 3] / 2
    xs = [centre_x + (u * length * cosine - v * width * sine) for u, v in _CORNERS]
    ys = [centre_y + (u * length * sine + v * width * cosine) for u, v in _CORNERS]
    area = np.zeros(len(first))
    for start, end in ((3, 0), (0, 1), (1, 2), (2, 3)):
        area += _under_edge(xs[start], ys[start], xs[end], ys[end], half_x, half_y)
    solid = (half_x > 0) & (half_y > 0) & (length > 0) & (width > 0)
    most = 4 * np.minimum(half_x * half_y, length * width)
    return np.where(solid, np.minimum(np.maximum(area, 0), most), 0.0)


def _turn(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine of the second yaw seen from the first."""
    away = second - first
    return np.cos(away), np.sin(away)


def _under_edge(x0: Floats, y0: Floats, x1: Floats, y1: Floats, half_x: Floats, half_y: Floats) -> Floats:
    """One edge's part of the integral of ``clamp(x)`` over ``clamp(y)``."""
    rise = y1 - y0
    low, high = np.clip(y0, -half_y, half_y), np.clip(y1, -half_y, half_y)
    run, over = x1 - x0, np.where(rise == 0, 1, rise)
    enter, leave = x0 + ((low - y0) / over) * run, x0 + ((high - y0) / over) * run
    left, right = np.minimum(enter, leave), np.maximum(enter, leave)
    inner_left, inner_right = np.clip(left, -half_x, half_x), np.clip(right, -half_x, half_x)
    span = right - left
    # x runs evenly from left to right: the parts beyond either side count as that side, the part between as its middle.
    below = np.maximum(np.minimum(right, -half_x) - left, 0)
    above = np.maximum(right - np.maximum(left, half_x), 0)
    inside = (inner_right - inner_left) * ((inner_left + inner_right) / 2)
    mean = np.where(span > 0, ((above - below) * half_x + inside) / np.where(span > 0, span, 1), inner_left)
    return (high - low) * mean


def ratios(part: Floats, whole: Floats) -> Floats:
    """``part / whole`` where there is a part, else 0; never above 1."""
    return np.minimum(np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=(part > 0) & (whole > 0)), 1)


def boxes_of(values: ArrayLike, columns: int, name: str) -> Floats:
    """The values as ``(N, columns)`` float64.

    Raises:
        UserError: not that shape, or a value that is not finite or beyond 1e100.
    """
    boxes = np.asarray(values, dtype=np.float64)
    if boxes.size == 0:
        boxes = boxes.reshape(-1, columns) if boxes.ndim < 2 or boxes.shape[1:] != (columns,) else boxes
    if boxes.ndim != 2 or boxes.shape[1] != columns:
        raise UserError(
            f"{name} must be boxes of {columns} numbers each", field=name, given=boxes.shape, allowed=(f"(N, {columns})",)
        )
    usable = (np.abs(boxes) <= _LARGEST).all(axis=1)  # false for NaN too
    if not usable.all():
        row = int(np.argmin(usable))
        raise UserError(
            f"box {row} of {name} has a value that is not finite, or beyond {_LARGEST:g}",
            field=name,
            given=boxes[row].tolist(),
            next_step="look for a division by zero or an overflow in what made these boxes",
        )
    return boxes


def near_pairs(first: Floats, second: Floats) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Index pairs of turned rectangles whose circumscribed circles meet, in blocks that fit into memory."""
    reach_first, reach_second = (np.hypot(boxes[:, 2], boxes[:, 3]) / 2 for boxes in (first, second))
    step = max(1, _PAIRS_AT_ONCE // max(1, len(second)))
    blocks = []
    for start in range(0, len(first), step):
        rows = slice(start, start + step)
        distance = np.hypot(first[rows, 0, None] - second[None, :, 0], first[rows, 1, None] - second[None, :, 1])
        near_rows, near_columns = np.nonzero(distance < reach_first[rows, None] + reach_second[None, :])
        blocks.append((near_rows + start, near_columns))
    return blocks
