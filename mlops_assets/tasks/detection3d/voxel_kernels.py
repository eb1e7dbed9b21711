"""Voxels by numba, with a map from cells to voxels that is kept between clouds. Imported only where numba is wanted.

Meaning, checks and ownership of results are in ``voxels``; the same bits without numba are in ``voxel_sorting``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mlops_assets.tasks.detection3d.voxels import VoxelGrid

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Int32s = NDArray[np.int32]
Float32s = NDArray[np.float32]
_BLOCK = 1024  # points whose cells are computed at once: the loop without branches is vectorised, its result stays in L1


def _compiled(kernel: Kernel) -> Kernel:
    """Compile at the first call; from then on every process loads it from disk, where any folder of numba's can be written."""
    try:
        return cast("Kernel", numba.njit(kernel, nogil=True, cache=True))
    except RuntimeError:  # numba found no folder for its cache, in a read-only container for example
        return cast("Kernel", numba.njit(kernel, nogil=True))


class Workspace:
    """The memory of one ``Voxelizer``. Between two calls every cell of the map is 0 and every unused place of a voxel is 0."""

    def __init__(self, grid: VoxelGrid, features: int) -> None:
        low, _, size = grid.as_float32()
        self._frame = (low, size, np.array(grid.cells, dtype=np.int32))
        self._shape = (min(grid.max_voxels, math.prod(grid.cells)), grid.max_points, features)
        voxels = self._shape[0]
        self._map = np.zeros(math.prod(grid.cells), dtype=np.int32)  # 0, or the number of the cell's voxel + 1
        self._block = np.empty(_BLOCK, dtype=np.int32)
        self._cell_of = np.empty(voxels, dtype=np.int32)
        self._features = np.zeros(math.prod(self._shape), dtype=np.float32)
        self._words = (0,) * (features // 4 if features % 4 == 0 else features)
        self._coordinates = np.empty((voxels, 3), dtype=np.int32)
        self._counts = np.empty(voxels, dtype=np.int32)
        self._filled = np.zeros(voxels, dtype=np.int32)
        self._last = 0

    def hard_voxels(self, cloud: Float32s) -> tuple[Float32s, Int32s, Int32s, int]:
        """Features ``(V, P, C)``, coordinates ``(V, 3)``, points per voxel ``(V,)``, all windows, and the points in range."""
        points, row = _flat(cloud), (0,) * self._shape[2]
        voxels, inside = _hard(
            points, row, *self._frame, self._map, self._block, _in_words(points, row), _in_words(self._features, row),
            self._words, self._shape[1], self._cell_of, self._coordinates, self._counts, self._filled, self._last,
        )  # fmt: skip
        self._last = voxels
        return self._features.reshape(self._shape)[:voxels], self._coordinates[:voxels], self._counts[:voxels], inside

    def mean_voxels(self, cloud: Float32s) -> tuple[Float32s, Int32s, Int32s]:
        """Mean features ``(V, C)``, coordinates ``(V, 3)`` and points per voxel ``(V,)``, the caller's own."""
        features = self._shape[2]
        most = min(len(cloud), len(self._map))
        cell_of, counts = np.empty(most, dtype=np.int32), np.zeros(most, dtype=np.int32)
        coordinates, sums = np.empty((most, 3), dtype=np.int32), np.zeros(most * features, dtype=np.float64)
        voxels = _summed(_flat(cloud), (0,) * features, *self._frame, self._map, self._block, cell_of, sums, coordinates, counts)
        with np.errstate(over="ignore", invalid="ignore"):  # further numbers of a point may be anything
            means = (sums.reshape(-1, features)[:voxels] / counts[:voxels, None]).astype(np.float32)
        return means, coordinates[:voxels].copy(), counts[:voxels].copy()


def _flat(cloud: Float32s) -> Float32s:
    """One dimension, always read-only: numba would compile again for the other kind, and memory maps are read-only."""
    flat = (cloud if cloud.ctypes.data % 16 == 0 else cloud.copy()).reshape(-1)
    flat.flags.writeable = False
    return flat


def _in_words(flat: Float32s, row: tuple[int, ...]) -> NDArray[Any]:
    """The same memory as what is copied at once: four numbers, as two halves of a complex one, where a point is so many."""
    return flat.view(np.complex128) if len(row) % 4 == 0 else flat


# ``row`` and ``words`` are tuples of as many zeros as a point has numbers and words: their length is known when a kernel is
# compiled, so that the loops over one point are unrolled.


@_compiled
def _locate(points: Float32s, row: tuple[int, ...], low: Float32s, size: Float32s, cells: Int32s, block: Int32s) -> None:
    """Cell number of each point, -1 outside. No floor is needed: truncation is the same for what is 0 or more."""
    zero = np.float32(0)
    low_x, low_y, low_z = low[0], low[1], low[2]
    size_x, size_y, size_z = size[0], size[1], size[2]
    columns, rows, layers = cells[0], cells[1], cells[2]
    end_x, end_y, end_z = np.float32(columns), np.float32(rows), np.float32(layers)
    for j in range(points.size // len(row)):
        at = j * len(row)
        x = (points[at] - low_x) / size_x
        y = (points[at + 1] - low_y) / size_y
        z = (points[at + 2] - low_z) / size_z
        inside = (x >= zero) & (x < end_x) & (y >= zero) & (y < end_y) & (z >= zero) & (z < end_z)
        cell = (np.int32(z) * rows + np.int32(y)) * columns + np.int32(x)
        block[j] = cell if inside else np.int32(-1)


@_compiled
def _hard(
    points: Float32s,
    row: tuple[int, ...],
    low: Float32s,
    size: Float32s,
    cells: Int32s,
    numbers: Int32s,
    block: Int32s,
    source: NDArray[Any],
    features: NDArray[Any],
    words: tuple[int, ...],
    max_points: int,
    cell_of: Int32s,
    coordinates: Int32s,
    counts: Int32s,
    filled: Int32s,
    last: int,
) -> tuple[int, int]:
    """Fill the first ``voxels`` rows and leave the map empty; returns that number and the points in range."""
    width = len(row)
    voxels = 0
    inside = 0
    for start in range(0, points.size // width, _BLOCK):
        stop = min(start + _BLOCK, points.size // width)
        _locate(points[start * width : stop * width], row, low, size, cells, block)
        for j in range(stop - start):
            cell = block[j]
            if cell < 0:
                continue
            inside += 1
            voxel = numbers[cell] - 1
            if voxel < 0:
                if voxels >= len(cell_of):
                    continue
                voxel = voxels
                voxels += 1
                numbers[cell] = voxels
                cell_of[voxel] = cell
                counts[voxel] = 0
            place = counts[voxel]
            if place < max_points:
                for k in range(len(words)):
                    features[(voxel * max_points + place) * len(words) + k] = source[(start + j) * len(words) + k]
                counts[voxel] = place + 1
    _release(cells, numbers, cell_of, coordinates, voxels)
    for voxel in range(max(voxels, last)):
        count = counts[voxel] if voxel < voxels else np.int32(0)
        if filled[voxel] > count:
            features[(voxel * max_points + count) * len(words) : (voxel * max_points + filled[voxel]) * len(words)] = 0
        filled[voxel] = count
    return voxels, inside


@_compiled
def _summed(
    points: Float32s,
    row: tuple[int, ...],
    low: Float32s,
    size: Float32s,
    cells: Int32s,
    numbers: Int32s,
    block: Int32s,
    cell_of: Int32s,
    sums: NDArray[np.float64],
    coordinates: Int32s,
    counts: Int32s,
) -> int:
    """Add up the points of each cell and leave the map empty; returns the number of voxels."""
    width = len(row)
    voxels = 0
    for start in range(0, points.size // width, _BLOCK):
        stop = min(start + _BLOCK, points.size // width)
        _locate(points[start * width : stop * width], row, low, size, cells, block)
        for j in range(stop - start):
            cell = block[j]
            if cell < 0:
                continue
            voxel = numbers[cell] - 1
            if voxel < 0:
                voxel = voxels
                voxels += 1
                numbers[cell] = voxels
                cell_of[voxel] = cell
            counts[voxel] += 1
            for k in range(width):
                sums[voxel * width + k] += points[(start + j) * width + k]
    _release(cells, numbers, cell_of, coordinates, voxels)
    return voxels


@_compiled
def _release(cells: Int32s, numbers: Int32s, cell_of: Int32s, coordinates: Int32s, voxels: int) -> None:
    """Write each voxel's cell as z, y, x and empty the map again, touching only what was touched."""
    columns, rows = cells[0], cells[1]
    for voxel in range(voxels):
        cell = cell_of[voxel]
        numbers[cell] = 0
        # Divided in float64, which is exact enough for int32 and several times faster than dividing integers.
        line = np.int32(cell / columns)
        layer = np.int32(line / rows)
        coordinates[voxel, 0] = layer
        coordinates[voxel, 1] = line - layer * rows
        coordinates[voxel, 2] = cell - line * columns
