"""Voxels by sorting, in plain numpy: what ``voxels`` uses where numba is not installed. Bit for bit as ``voxel_kernels``.

Nothing here is kept between clouds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mlops_assets.tasks.detection3d.voxels import VoxelGrid

Coordinates = NDArray[np.int32]
Counts = NDArray[np.int32]


@dataclass(frozen=True)
class _Groups:
    """Points of one cloud, grouped by cell; groups in the order of their first point, points in the order of the cloud.

    Attributes:
        points: rows of the cloud, group after group, ``(M,)``.
        voxels: number of the group of each of them, ``(M,)``.
        places: position of each within its group, ``(M,)``.
        counts: points in each group, ``(V,)``.
        coordinates: cell z, y, x of each group, ``(V, 3)``.
    """

    points: NDArray[np.int64]
    voxels: NDArray[np.int64]
    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    coordinates: Coordinates


def hard_voxels(cloud: NDArray[np.float32], grid: VoxelGrid) -> tuple[NDArray[np.float32], Coordinates, Counts, int]:
    """Features ``(V, P, C)``, coordinates ``(V, 3)``, points per voxel ``(V,)`` and the number of points in range."""
    groups = _grouped(cloud, grid)
    counts = np.minimum(groups.counts[: grid.max_voxels], grid.max_points).astype(np.int32)
    features = np.zeros((len(counts), grid.max_points, cloud.shape[1]), dtype=np.float32)
    kept = np.flatnonzero((groups.voxels < grid.max_voxels) & (groups.places < grid.max_points))
    places = groups.voxels[kept] * grid.max_points + groups.places[kept]
    features.reshape(-1, cloud.shape[1])[places] = cloud.take(groups.points[kept], axis=0)
    return features, groups.coordinates[: grid.max_voxels], counts, len(groups.points)


def mean_voxels(cloud: NDArray[np.float32], grid: VoxelGrid) -> tuple[NDArray[np.float32], Coordinates, Counts]:
    """Mean features ``(V, C)``, coordinates ``(V, 3)`` and points per voxel ``(V,)``."""
    groups = _grouped(cloud, grid)
    rows, number = cloud[groups.points], len(groups.counts)
    # bincount adds in float64 in the order of the rows, which is the order in which the compiled loop adds.
    sums = [np.bincount(groups.voxels, rows[:, column], number) for column in range(cloud.shape[1])]
    with np.errstate(over="ignore", invalid="ignore"):  # further numbers of a point may be anything
        means = (np.stack(sums, axis=1) / groups.counts[:, None]).astype(np.float32)
    return means, groups.coordinates, groups.counts.astype(np.int32)


def _grouped(cloud: NDArray[np.float32], grid: VoxelGrid) -> _Groups:
    """Group by sorting cell numbers with the point's own number in the lower half, so that equal keys never occur."""
    low, _, size = grid.as_float32()
    within = np.ones(len(cloud), dtype=np.bool_)
    positions = []
    with np.errstate(over="ignore", invalid="ignore"):  # infinite coordinates are in no cell
        for axis, count in enumerate(grid.cells):
            position = (cloud[:, axis] - low[axis]) / size[axis]
            within &= (position >= 0) & (position < np.float32(count))
            positions.append(position)
    inside = np.flatnonzero(within)
    x, y, z = (position[inside].astype(np.int64) for position in positions)
    keys = ((z * grid.cells[1] + y) * grid.cells[0] + x) << 32 | np.arange(len(inside))
    keys.sort()
    cell, rank = keys >> 32, keys & 0xFFFF_FFFF
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    sizes = np.diff(starts, append=len(cell))
    order = np.argsort(rank[starts])  # the first of a group is its earliest point
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    rest, column = np.divmod(cell[starts[order]], grid.cells[0])
    layer, row = np.divmod(rest, grid.cells[1])
    return _Groups(
        points=inside[rank],
        voxels=np.repeat(number, sizes),
        places=np.arange(len(cell)) - np.repeat(starts, sizes),
        counts=sizes[order],
        coordinates=np.stack([layer, row, column], axis=1).astype(np.int32),
    )
