"""Anchors of PointPillars: where they are, how boxes are written relative to them, and which box each of them shall find.

Plain numpy, no network. All boxes are LiDAR boxes ``(N, 7)``: centre x, y, z [m] in the velodyne frame (x forward, y left, z up),
length, width, height [m], yaw [rad] about z. Anchors are numbered (kind, row, column): all places of the first class along x,
then of the first class along y, then of the second class; ``row`` counts along y, ``column`` along x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_assets.tasks.detection3d.pillar_settings import BOX_NUMBERS, YAWS, AnchorClass, PillarSettings

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

#: The two halves of the circle that the direction classifier tells apart begin at 45 and 225 degrees: little drives that way.
DIRECTION_OFFSET = math.pi / 4
#: exp() of a residual beyond this is no size of a thing on a road, and beyond 88 it is no float32 either.
LARGEST_LOG_SIZE = 4.0


@dataclass(frozen=True, eq=False)
class AnchorGrid:
    """The anchors of one detector, by what they are made of.

    Attributes:
        xs: ``(W,)`` float32, centres of the columns [m].
        ys: ``(H,)`` float32, centres of the rows [m].
        kinds: ``(A, 5)`` float32, of each kind z, length, width, height [m] and yaw [rad].
        classes: one for each two kinds.
    """

    xs: Floats
    ys: Floats
    kinds: Floats
    classes: tuple[AnchorClass, ...]

    @property
    def count(self) -> int:
        """Number of anchors."""
        return len(self.kinds) * len(self.ys) * len(self.xs)

    def boxes(self, numbers: ArrayLike | None = None) -> Floats:
        """LiDAR boxes ``(N, 7)`` of the anchors with these numbers ``(N,)``; of all, in order, without them."""
        which = np.arange(self.count) if numbers is None else np.asarray(numbers, dtype=np.int64)
        kind, row, column = np.unravel_index(which, (len(self.kinds), len(self.ys), len(self.xs)))
        return np.column_stack([self.xs[column], self.ys[row], self.kinds[kind]]).astype(np.float32).reshape(-1, BOX_NUMBERS)


@dataclass(frozen=True, eq=False)
class Targets:
    """What the anchors of one frame shall find; every anchor not named here is background.

    Attributes:
        positive: ``(P,)`` int64, numbers of the anchors that shall find a box, rising.
        classes: ``(P,)`` int64, class of that box.
        residuals: ``(P, 7)`` float32, that box relative to the anchor.
        directions: ``(P,)`` int64, half of the circle in which the box heads.
        ignored: ``(I,)`` int64, numbers of the anchors that are neither right nor wrong, rising.
    """

    positive: Indices
    classes: Indices
    residuals: Floats
    directions: Indices
    ignored: Indices


def anchor_grid(settings: PillarSettings) -> AnchorGrid:
    """The anchors of a detector: two of each class at the middle of every cell of its head."""
    rows, columns = settings.head_cells
    step = settings.pillar_size * settings.block_strides[0]
    kinds = [(kind.z, kind.length, kind.width, kind.height, yaw) for kind in settings.classes for yaw in YAWS]
    return AnchorGrid(
        xs=(settings.range_min[0] + (np.arange(columns) + 0.5) * step).astype(np.float32),
        ys=(settings.range_min[1] + (np.arange(rows) + 0.5) * step).astype(np.float32),
        kinds=np.array(kinds, dtype=np.float32),
        classes=settings.classes,
    )


def encode_boxes(boxes: ArrayLike, anchors: ArrayLike) -> Floats:
    """Residuals ``(N, 7)`` of boxes ``(N, 7)`` relative to anchors ``(N, 7)``.

    Shifts are in diagonals of the anchor (z: in its heights), sizes are logarithms of ratios, the angle is a difference.

    Source: Zhou and Tuzel, "VoxelNet", CVPR 2018, equation 1.
    """
    box, anchor = (np.asarray(values, dtype=np.float64).reshape(-1, BOX_NUMBERS) for values in (boxes, anchors))
    diagonal = np.hypot(anchor[:, 3], anchor[:, 4])[:, None]
    return np.column_stack(
        [
            (box[:, :2] - anchor[:, :2]) / diagonal,
            (box[:, 2] - anchor[:, 2]) / anchor[:, 5],
            np.log(box[:, 3:6] / anchor[:, 3:6]),
            box[:, 6] - anchor[:, 6],
        ]
    ).astype(np.float32)


def decode_boxes(residuals: ArrayLike, anchors: ArrayLike) -> NDArray[np.float64]:
    """Boxes ``(N, 7)`` from residuals ``(N, 7)`` and anchors ``(N, 7)``: the inverse of ``encode_boxes``.

    Logarithms of size ratios are cut at ±4 (1/55 to 55 times the anchor), so an untrained network gives boxes too.
    """
    shift, anchor = (np.asarray(values, dtype=np.float64).reshape(-1, BOX_NUMBERS) for values in (residuals, anchors))
    diagonal = np.hypot(anchor[:, 3], anchor[:, 4])[:, None]
    return np.column_stack(
        [
            anchor[:, :2] + shift[:, :2] * diagonal,
            anchor[:, 2] + shift[:, 2] * anchor[:, 5],
            anchor[:, 3:6] * np.exp(np.clip(shift[:, 3:6], -LARGEST_LOG_SIZE, LARGEST_LOG_SIZE)),
            anchor[:, 6] + shift[:, 6],
        ]
    )


def direction_of(yaw: ArrayLike) -> Indices:
    """Half of the circle ``(N,)`` in which a yaw ``(N,)`` [rad] points: 0 from 45 to 225 degrees, 1 for the rest."""
    turned = np.mod(np.asarray(yaw, dtype=np.float64) - DIRECTION_OFFSET, 2 * np.pi)
    return (turned >= np.pi).astype(np.int64)


def headed(yaw: ArrayLike, directions: ArrayLike) -> NDArray[np.float64]:
    """Yaws ``(N,)`` [rad] in -pi … pi with the axis of ``yaw`` ``(N,)`` and the heading of ``directions`` ``(N,)``.

    The box loss compares sines, so the regressed yaw is known up to half a turn; the classifier decides that half.
    """
    axis = np.mod(np.asarray(yaw, dtype=np.float64) - DIRECTION_OFFSET, np.pi)
    full = axis + DIRECTION_OFFSET + np.pi * np.asarray(directions)
    return np.asarray(full - 2 * np.pi * np.floor((full + np.pi) / (2 * np.pi)), dtype=np.float64)


def assign_targets(grid: AnchorGrid, boxes: ArrayLike, names: Sequence[str], *, ignored: ArrayLike | None = None) -> Targets:
    """Which anchor shall find which of the boxes ``(N, 7)`` with class names ``(N,)``.

    An anchor of a class finds the box of that class that it overlaps most, where that is ``matched`` or more, and the anchor
    that overlaps a box more than any other anchor does finds it whatever the overlap. Overlap is intersection over union seen
    from above, of the anchor and of the box turned to the nearer of the two axes. Left out are anchors between ``unmatched`` and
    ``matched``, and those that overlap by ``unmatched`` or more a box of a class that is ``alike``, or a box of their own class
    that ``ignored`` ``(N,)`` marks. Boxes of other classes do not count. A box that no anchor overlaps is not found.

    Raises:
        ValueError: boxes, names and marks of different numbers.

    Source: Zhou and Tuzel, "VoxelNet", CVPR 2018, section 3.1; Yan et al., "SECOND", 2018, section 3.2.
    """
    objects = np.asarray(boxes, dtype=np.float64).reshape(-1, BOX_NUMBERS)
    marks = np.zeros(len(objects), dtype=np.bool_) if ignored is None else np.asarray(ignored, dtype=np.bool_)
    if len(names) != len(objects) or marks.shape != (len(objects),):
        raise ValueError(f"{len(objects)} boxes, {len(names)} class names and {marks.shape} marks do not fit together")
    positive, classes, sources, left_out = [], [], [], []
    per_class = len(YAWS) * len(grid.ys) * len(grid.xs)
    for number, kind in enumerate(grid.classes):
        own = np.array([row for row, name in enumerate(names) if name == kind.name and not marks[row]], dtype=np.int64)
        other = [
            row for row, name in enumerate(names) if name in kind.alike or (name == kind.name and marks[row])
        ]  # neither background nor to be found
        found, source, ignore = _assign_class(grid, number, objects[own], objects[other])
        positive.append(found + number * per_class)
        classes.append(np.full(len(found), number, dtype=np.int64))
        sources.append(own[source])
        left_out.append(ignore + number * per_class)
    numbers = np.concatenate(positive)
    chosen = objects[np.concatenate(sources)]
    return Targets(
        positive=numbers,
        classes=np.concatenate(classes),
        residuals=encode_boxes(chosen, grid.boxes(numbers)),
        directions=direction_of(chosen[:, 6]),
        ignored=np.concatenate(left_out),
    )


def _assign_class(
    grid: AnchorGrid, number: int, own: NDArray[np.float64], other: NDArray[np.float64]
) -> tuple[Indices, Indices, Indices]:
    """Within one class: numbers of positive anchors, the row of ``own`` each shall find, and numbers to leave out."""
    kind = grid.classes[number]
    shape = (len(YAWS), len(grid.ys), len(grid.xs))
    best = np.zeros(shape, dtype=np.float32)
    source = np.full(shape, -1, dtype=np.int64)
    forced: list[tuple[float, int, tuple[NDArray[np.intp], ...]]] = []
    for row, box in enumerate(own):
        window, overlap = _overlap(grid, number, box)
        better = overlap > best[window]
        best[window] = np.where(better, overlap, best[window])
        source[window] = np.where(better, row, source[window])
        most = float(overlap.max(initial=0.0))
        if most > 0:
            at = np.nonzero(overlap == most)
            forced.append((most, row, (at[0], at[1] + window[1].start, at[2] + window[2].start)))
    ambiguous = best >= kind.unmatched
    for box in other:
        window, overlap = _overlap(grid, number, box)
        ambiguous[window] |= overlap >= kind.unmatched
    positive = best >= kind.matched
    # Of two boxes that want the same anchor the one that fits it better comes last, and keeps it.
    for _, row, places in sorted(forced, key=lambda entry: entry[0]):
        positive[places] = True
        source[places] = row
    numbers = np.flatnonzero(positive)
    return numbers, source.reshape(-1)[numbers], np.flatnonzero(ambiguous & ~positive)


def _overlap(grid: AnchorGrid, number: int, box: NDArray[np.float64]) -> tuple[tuple[slice, slice, slice], Floats]:
    """Overlap of one box with the anchors of a class, and the window ``(yaws, rows, columns)`` outside of which it is 0.

    Anchors and the box lie along the axes, so what they share is the product of what they share along x and along y.
    """
    x, y, _, length, width, _, yaw = box.tolist()
    along_y = abs(math.sin(yaw)) > abs(math.cos(yaw))
    half_x, half_y = (width / 2, length / 2) if along_y else (length / 2, width / 2)
    sizes = grid.kinds[number * len(YAWS) : (number + 1) * len(YAWS), 1:3].astype(np.float64) / 2
    reach = float(sizes.max())
    rows = slice(*np.searchsorted(grid.ys, [y - half_y - reach, y + half_y + reach]).tolist())
    columns = slice(*np.searchsorted(grid.xs, [x - half_x - reach, x + half_x + reach]).tolist())
    layers = []
    for turned, (half_length, half_width) in zip((False, True), sizes.tolist(), strict=True):
        anchor_x, anchor_y = (half_width, half_length) if turned else (half_length, half_width)
        shared_x = _shared(grid.xs[columns], anchor_x, x, half_x)
        shared_y = _shared(grid.ys[rows], anchor_y, y, half_y)
        shared = shared_y[:, None] * shared_x[None, :]
        layers.append(shared / (4 * anchor_x * anchor_y + 4 * half_x * half_y - shared))
    return (slice(0, len(YAWS)), rows, columns), np.stack(layers).astype(np.float32)


def _shared(centres: Floats, half: float, centre: float, other_half: float) -> NDArray[np.float64]:
    middle = centres.astype(np.float64)
    shared: NDArray[np.float64] = np.maximum(
        np.minimum(middle + half, centre + other_half) - np.maximum(middle - half, centre - other_half), 0.0
    )
    return shared
