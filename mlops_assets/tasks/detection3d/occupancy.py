"""How full the voxels of some frames are: what the limits of a grid keep and lose. Drawn in ``figures``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection3d.voxels import VoxelGrid, Voxels


class VoxelOccupancy(BaseModel):
    """Counts over the hard voxels of one or more frames of one grid.

    Attributes:
        frames: frames counted.
        cells: cells of the grid.
        points_in_range: points inside the grid.
        points_kept: points that are in a voxel; the others met a full voxel, or no voxel was left.
        frames_at_voxel_limit: frames with ``max_voxels`` voxels, some of which may be missing.
        voxels_by_points: number of voxels with 1, 2, … ``max_points`` points.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(ge=0)
    cells: int = Field(ge=1)
    points_in_range: int = Field(ge=0)
    points_kept: int = Field(ge=0)
    frames_at_voxel_limit: int = Field(ge=0)
    voxels_by_points: tuple[int, ...] = Field(min_length=1)

    @property
    def voxels(self) -> int:
        """Voxels of all frames together."""
        return sum(self.voxels_by_points)

    @property
    def mean_points(self) -> float:
        """Points kept in a voxel on average; 0 without voxels."""
        return self.points_kept / self.voxels if self.voxels else 0.0

    @property
    def full_share(self) -> float:
        """Share of voxels that hold ``max_points``, 0 … 1; 0 without voxels."""
        return self.voxels_by_points[-1] / self.voxels if self.voxels else 0.0

    @property
    def kept_share(self) -> float:
        """Share of the points in range that are in a voxel, 0 … 1; 1 without points."""
        return self.points_kept / self.points_in_range if self.points_in_range else 1.0

    @property
    def occupied_share(self) -> float:
        """Share of the cells of a frame that are voxels, 0 … 1; 0 without frames."""
        return self.voxels / (self.frames * self.cells) if self.frames else 0.0

    def quantile(self, share: float) -> int:
        """Least number of points so that ``share`` (0 … 1) of the voxels have no more; 0 without voxels.

        Raises:
            ValueError: the share is not within 0 … 1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share {share}: 0 to 1 is needed")
        if not self.voxels:
            return 0
        below = np.cumsum(self.voxels_by_points)
        return int(np.searchsorted(below, max(share * self.voxels, 1))) + 1


def occupancy_of(voxels: Voxels, grid: VoxelGrid) -> VoxelOccupancy:
    """Counts of one frame."""
    counts = np.bincount(voxels.points_per_voxel, minlength=grid.max_points + 1)[1:]
    return VoxelOccupancy(
        frames=1,
        cells=math.prod(grid.cells),
        points_in_range=voxels.points_in_range,
        points_kept=int(voxels.points_per_voxel.sum()),
        frames_at_voxel_limit=int(len(voxels.points_per_voxel) == grid.max_voxels),
        voxels_by_points=tuple(int(count) for count in counts),
    )


def summed(parts: Sequence[VoxelOccupancy]) -> VoxelOccupancy:
    """Counts of several frames or shards together.

    Raises:
        UserError: none is given, or they come from different grids.
    """
    kinds = {(part.cells, len(part.voxels_by_points)) for part in parts}
    if len(kinds) != 1:
        raise UserError(
            "these counts of voxels cannot be added",
            field="parts",
            given=f"{len(parts)} of grids with (cells, max_points) {sorted(kinds)}",
            allowed=("at least one, all of one grid",),
        )
    return VoxelOccupancy(
        frames=sum(part.frames for part in parts),
        cells=parts[0].cells,
        points_in_range=sum(part.points_in_range for part in parts),
        points_kept=sum(part.points_kept for part in parts),
        frames_at_voxel_limit=sum(part.frames_at_voxel_limit for part in parts),
        voxels_by_points=tuple(sum(column) for column in zip(*(part.voxels_by_points for part in parts), strict=True)),
    )
