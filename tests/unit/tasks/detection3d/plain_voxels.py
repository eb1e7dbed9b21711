"""Voxels by their definition, one point after the other in plain Python: what both fast ways are held against."""

from __future__ import annotations

import numpy as np

from mlops_assets.tasks.detection3d.voxels import MeanVoxels, VoxelGrid, Voxels


def cell_of(point: np.ndarray, grid: VoxelGrid) -> tuple[int, int, int] | None:
    """Cell z, y, x of a point, or None outside; every step in float32."""
    found = []
    for axis in range(3):
        low, high, size = (np.float32(values[axis]) for values in (grid.range_min, grid.range_max, grid.voxel_size))
        cells = int(np.round((high - low) / size))
        with np.errstate(all="ignore"):
            cell = np.floor((point[axis] - low) / size)
        if not 0 <= cell < cells:
            return None
        found.append(int(cell))
    x, y, z = found
    return z, y, x


def plain_voxels(points: np.ndarray, grid: VoxelGrid) -> Voxels:
    voxels: dict[tuple[int, int, int], list[np.ndarray]] = {}
    inside = 0
    for point in points:
        cell = cell_of(point, grid)
        if cell is None:
            continue
        inside += 1
        if cell not in voxels:
            if len(voxels) == grid.max_voxels:
                continue
            voxels[cell] = []
        if len(voxels[cell]) < grid.max_points:
            voxels[cell].append(point)
    features = np.zeros((len(voxels), grid.max_points, points.shape[1]), dtype=np.float32)
    for voxel, kept in enumerate(voxels.values()):
        features[voxel, : len(kept)] = kept
    counts = np.array([len(kept) for kept in voxels.values()], dtype=np.int32)
    return Voxels(features, np.array(list(voxels), dtype=np.int32).reshape(-1, 3), counts, inside)


def plain_means(points: np.ndarray, grid: VoxelGrid) -> MeanVoxels:
    voxels: dict[tuple[int, int, int], list[np.ndarray]] = {}
    for point in points:
        cell = cell_of(point, grid)
        if cell is not None:
            voxels.setdefault(cell, []).append(point)
    features = np.zeros((len(voxels), points.shape[1]), dtype=np.float32)
    for voxel, kept in enumerate(voxels.values()):
        for column in range(points.shape[1]):
            total = 0.0
            for point in kept:
                total += float(point[column])
            with np.errstate(over="ignore"):
                features[voxel, column] = np.float32(total / len(kept))
    counts = np.array([len(kept) for kept in voxels.values()], dtype=np.int32)
    return MeanVoxels(features, np.array(list(voxels), dtype=np.int32).reshape(-1, 3), counts)
