"""LiDAR clouds as voxels: the grid, hard voxels (first points kept) and dynamic mean voxels (every point counts).

What voxels mean is defined here; how they are computed fast is in ``voxel_kernels`` (numba) and ``voxel_sorting`` (numpy),
which give the same bits. What a network makes of voxels is not here.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection3d import voxel_sorting

if TYPE_CHECKING:
    from mlops_assets.tasks.detection3d.voxel_kernels import Workspace

Triple = tuple[float, float, float]
Engine = Literal["numba", "numpy"]

CELLS_LIMIT = 2**31 - 1  # cells are numbered in int32
CELLS_ALONG_AXIS_LIMIT = 2**24  # float32 counts no further without gaps
MEMORY_LIMIT = 2 * 2**30  # bytes of one Voxelizer
_AXES = ("x", "y", "z")


class VoxelGrid(BaseModel):
    """Where voxels are, how large, and how many points and voxels are kept; the same in every run, so part of a version.

    A point ``p`` is in cell ``floor((p - range_min) / voxel_size)`` on each axis, computed in float32. It is kept where that is
    0 or more and less than the number of cells, so the upper border is open. The number of cells is
    ``round((range_max - range_min) / voxel_size)`` in float32, ties to even. Where the quotient is no whole number the outermost
    cells therefore end before or after ``range_max``: 70 m in cells of 0.16 m are 438 cells, which end at 70.08 m.

    Attributes:
        range_min: lower corner x, y, z [m], velodyne frame (x forward, y left, z up); belongs to the grid.
        range_max: upper corner x, y, z [m]; see above for where exactly the grid ends.
        voxel_size: edge lengths of one voxel x, y, z [m].
        max_points: points kept in a voxel, the first in the order of the cloud.
        max_voxels: voxels kept, those that get a point first; later points of kept voxels are still kept.

    Raises:
        UserError: a value is not finite, a range or size is empty, or the grid has too many cells (on construction).

    Source: spconv 2.3 ``Point2VoxelCPU3d`` and mmdetection3d ``points_to_voxel``, which agree bit for bit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    range_min: Triple
    range_max: Triple
    voxel_size: Triple
    max_points: int
    max_voxels: int

    def model_post_init(self, _: object) -> None:
        """Refuse a grid that no cloud can be put into."""
        for field in ("range_min", "range_max", "voxel_size"):
            given = getattr(self, field)
            with np.errstate(over="ignore"):
                finite = np.isfinite(np.array(given, dtype=np.float32)).all()
            if not finite:
                raise UserError(
                    f"{field} of the voxel grid must be three finite numbers",
                    field=field,
                    given=given,
                    allowed=("metres within the range of float32",),
                )
        for field in ("max_points", "max_voxels"):
            limit: int = getattr(self, field)
            if limit < 1:
                raise UserError(f"{field} of the voxel grid must be 1 or more", field=field, given=limit, allowed=("1 or more",))
        low, high, size = self.as_float32()
        for axis, name in enumerate(_AXES):
            if not low[axis] < high[axis]:
                raise UserError(
                    f"the voxel grid is empty along {name}: its lower end is not below its upper end",
                    field="range_max",
                    given=f"{self.range_min[axis]} to {self.range_max[axis]}",
                    next_step=f"give range_max a larger {name} than range_min",
                )
            if not size[axis] > 0:
                raise UserError(
                    f"the voxel size along {name} must be more than 0",
                    field="voxel_size",
                    given=self.voxel_size[axis],
                    next_step="give an edge length in metres, 0.16 for example",
                )
            self._check_cells(axis, _quotient(low[axis], high[axis], size[axis]))
        if math.prod(self.cells) > CELLS_LIMIT:
            raise UserError(
                f"the voxel grid has {math.prod(self.cells):,} cells",
                field="voxel_size",
                given=self.voxel_size,
                allowed=(f"at most {CELLS_LIMIT:,} cells",),
                next_step="make the voxels larger or the range smaller",
            )

    def _check_cells(self, axis: int, quotient: float) -> None:
        if not 1 <= round(min(quotient, 1e30)) <= CELLS_ALONG_AXIS_LIMIT:
            raise UserError(
                f"the voxel grid has {min(quotient, 1e30):.4g} cells along {_AXES[axis]}, rounded to a whole number",
                field="voxel_size",
                given=self.voxel_size[axis],
                allowed=(f"1 to {CELLS_ALONG_AXIS_LIMIT:,} cells along an axis",),
                next_step=f"the range is {self.range_min[axis]} to {self.range_max[axis]} m: choose a size that divides it",
            )

    @property
    def cells(self) -> tuple[int, int, int]:
        """Number of cells along x, y, z."""
        low, high, size = self.as_float32()
        x, y, z = (round(_quotient(low[axis], high[axis], size[axis])) for axis in range(3))
        return x, y, z

    @property
    def end(self) -> Triple:
        """Where the outermost cells end, x, y, z [m]: ``range_max`` itself where the sizes divide the range."""
        x, y, z = (low + count * size for low, count, size in zip(self.range_min, self.cells, self.voxel_size, strict=True))
        return x, y, z

    def working_bytes(self, features: int) -> int:
        """Memory that a ``Voxelizer`` of this grid holds at most for points of ``features`` numbers, in bytes.

        The number of the voxel in each cell (4 bytes a cell) and the largest result. Only pages that a cloud touches are
        taken from the machine.
        """
        voxels = min(self.max_voxels, math.prod(self.cells))
        return 4 * math.prod(self.cells) + voxels * 4 * (self.max_points * features + 6)

    def as_float32(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """``range_min``, ``range_max`` and ``voxel_size``, each ``(3,)``, as the voxels are computed with them."""
        low, high, size = (np.array(values, dtype=np.float32) for values in (self.range_min, self.range_max, self.voxel_size))
        return low, high, size


def _quotient(low: np.float32, high: np.float32, size: np.float32) -> float:
    with np.errstate(over="ignore"):
        return float((high - low) / size)


@dataclass(frozen=True)
class Voxels:
    """Hard voxels of one cloud, in the order of each voxel's first point.

    Attributes:
        features: ``(V, P, C)`` float32, the points as they came; unused places are 0.
        coordinates: ``(V, 3)`` int32, cell z, y, x.
        points_per_voxel: ``(V,)`` int32, 1 … P.
        points_in_range: points of the cloud inside the grid, kept or not.
    """

    features: NDArray[np.float32]
    coordinates: NDArray[np.int32]
    points_per_voxel: NDArray[np.int32]
    points_in_range: int


@dataclass(frozen=True)
class MeanVoxels:
    """Dynamic voxels of one cloud, in the order of each voxel's first point; neither points nor voxels are limited.

    Attributes:
        features: ``(V, C)`` float32, mean of all points of a voxel, summed in float64 in the order of the cloud.
        coordinates: ``(V, 3)`` int32, cell z, y, x.
        points_per_voxel: ``(V,)`` int32.
    """

    features: NDArray[np.float32]
    coordinates: NDArray[np.int32]
    points_per_voxel: NDArray[np.int32]


def installed_engine() -> Engine:
    """``numba`` where it is installed (extra ``perception``), else ``numpy``: the same voxels, more slowly."""
    return "numpy" if find_spec("numba") is None else "numba"


class Voxelizer:
    """Makes voxels of many clouds with one grid and keeps its memory in between.

    The map from cells to voxels and the result are allocated once; after each cloud only what it touched is reset. Results are
    the caller's own unless ``copy=False`` is asked for. Threads may share one, and then wait for each other; with one each they
    run side by side, because the compiled code releases the interpreter.
    """

    def __init__(self, grid: VoxelGrid, features: int = 4, *, engine: Engine | None = None) -> None:
        """Prepare for points of ``features`` numbers (x, y, z first); the engine is ``installed_engine()`` unless given.

        Raises:
            UserError: fewer than 3 features, or ``grid.working_bytes(features)`` is more than 2 GiB.
            ImportError: numba was asked for, or is there, and cannot be imported.
        """
        if features < 3:
            raise UserError("a point has x, y and z at least", field="features", given=features, allowed=("3 or more",))
        needed = grid.working_bytes(features)
        if needed > MEMORY_LIMIT:
            raise UserError(
                f"voxels of this grid could take {needed / 2**30:,.1f} GiB of memory",
                field="voxel_size, max_points, max_voxels",
                given=f"{math.prod(grid.cells):,} cells, {grid.max_voxels:,} voxels of {grid.max_points:,} points",
                allowed=(f"at most {MEMORY_LIMIT / 2**30:.0f} GiB",),
                next_step="make the voxels larger, or lower max_voxels or max_points",
            )
        self.grid = grid
        self.features = features
        self.engine: Engine = engine or installed_engine()
        self._workspace = _workspace(grid, features) if self.engine == "numba" else None
        self._lock = threading.Lock()

    def voxelize(self, points: ArrayLike, *, copy: bool = True) -> Voxels:
        """Hard voxels of a cloud ``(N, C)``: x, y, z [m], velodyne frame, then any further numbers.

        Float32 is read in place; other real numbers are rounded to float32 first. Points outside the grid, or with a coordinate
        that is not finite, are dropped. An empty cloud gives no voxels. With ``copy=False`` the arrays are windows into this
        object's memory, and hold only until its next call.

        Raises:
            UserError: not an array of real numbers of that shape.
        """
        cloud = as_cloud(points, self.features)
        if self._workspace is None:
            return Voxels(*voxel_sorting.hard_voxels(cloud, self.grid))
        with self._lock:
            features, coordinates, counts, inside = self._workspace.hard_voxels(cloud)
            if copy:
                features, coordinates, counts = features.copy(), coordinates.copy(), counts.copy()
            return Voxels(features, coordinates, counts, inside)

    def mean(self, points: ArrayLike) -> MeanVoxels:
        """Dynamic mean voxels of a cloud ``(N, C)``, see ``MeanVoxels``; points as for ``voxelize``.

        Raises:
            UserError: not an array of real numbers of that shape.
        """
        cloud = as_cloud(points, self.features)
        if self._workspace is None:
            return MeanVoxels(*voxel_sorting.mean_voxels(cloud, self.grid))
        with self._lock:
            return MeanVoxels(*self._workspace.mean_voxels(cloud))


def voxelize(points: ArrayLike, grid: VoxelGrid) -> Voxels:
    """Hard voxels of one cloud ``(N, C)``; for many clouds keep a ``Voxelizer``, which is several times faster.

    Raises:
        UserError: not an array of real numbers of that shape, or the grid needs too much memory.
    """
    cloud = as_cloud(points)
    return Voxelizer(grid, cloud.shape[1]).voxelize(cloud, copy=False)


def mean_voxels(points: ArrayLike, grid: VoxelGrid) -> MeanVoxels:
    """Dynamic mean voxels of one cloud ``(N, C)``; for many clouds keep a ``Voxelizer``.

    Raises:
        UserError: not an array of real numbers of that shape, or the grid needs too much memory.
    """
    cloud = as_cloud(points)
    return Voxelizer(grid, cloud.shape[1]).mean(cloud)


def as_cloud(points: ArrayLike, features: int | None = None) -> NDArray[np.float32]:
    """The points as ``(N, C)`` float32, C-contiguous and aligned; the same memory where they are so already.

    Raises:
        UserError: not two-dimensional, fewer than 3 columns (or not ``features``), or no real numbers.
    """
    given = np.asarray(points)
    allowed = "(N, C) with C of 3 or more" if features is None else f"(N, {features})"
    if given.ndim != 2 or given.shape[1] < 3 or (features is not None and given.shape[1] != features):
        raise UserError(
            "a cloud is one row a point: x, y, z, then any further numbers",
            field="points",
            given=f"shape {given.shape}",
            allowed=(allowed,),
            next_step="reshape it; a KITTI .bin file is np.fromfile(path, np.float32).reshape(-1, 4)",
        )
    if given.dtype.kind not in "fiu":
        raise UserError(
            "a cloud is made of real numbers",
            field="points",
            given=f"dtype {given.dtype}",
            allowed=("float32", "other floats and integers, rounded to float32"),
        )
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which no grid contains
        return np.require(given, np.float32, ["C_CONTIGUOUS", "ALIGNED"])


def _workspace(grid: VoxelGrid, features: int) -> Workspace:
    from mlops_assets.tasks.detection3d.voxel_kernels import Workspace

    return Workspace(grid, features)
