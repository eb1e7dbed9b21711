"""From a LiDAR frame to what PointPillars computes with: decorated pillars, their places, and targets; in batches.

Plain numpy, shared by training, ONNX Runtime and tests: a detector must see in service what it saw in training. Reading frames
from files and augmentation are not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_assets.data.kitti.boxes import in_lidar_boxes
from mlops_assets.tasks.detection3d.anchors import AnchorGrid, Targets, anchor_grid, assign_targets
from mlops_assets.tasks.detection3d.pillar_settings import POINT_FEATURES, PillarSettings
from mlops_assets.tasks.detection3d.training_frame import TrainingFrame
from mlops_assets.tasks.detection3d.voxels import Voxelizer, Voxels

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


class FrameSource(Protocol):
    """Frames by number; they are read when asked for, from several threads."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> TrainingFrame: ...


@dataclass(frozen=True, eq=False)
class Pillars:
    """The occupied pillars of one cloud.

    Attributes:
        features: ``(P, N, 10)`` float32, decorated points; unused places are 0.
        places: ``(P,)`` int64, row * columns + column of the canvas.
    """

    features: Floats
    places: Indices


@dataclass(frozen=True, eq=False)
class PillarSample:
    """Pillars and targets of one frame."""

    pillars: Pillars
    targets: Targets


@dataclass(frozen=True, eq=False)
class PillarBatch:
    """Several frames in one; ``places`` and ``positive`` count through the frames.

    Attributes:
        frames: number of frames B.
        features: ``(P, N, 10)`` float32.
        places: ``(P,)`` int64, (frame * rows + row) * columns + column.
        positive: ``(Q,)`` int64, frame * anchors + anchor.
        positive_frames: ``(Q,)`` int64.
        classes, residuals, directions: of the positive anchors, as in ``Targets``.
        ignored: ``(I,)`` int64, frame * anchors + anchor.
    """

    frames: int
    features: Floats
    places: Indices
    positive: Indices
    positive_frames: Indices
    classes: Indices
    residuals: Floats
    directions: Indices
    ignored: Indices


class PillarMaker:
    """Makes samples of frames; keeps the voxelizer's memory in between, so use one for each thread."""

    def __init__(self, settings: PillarSettings) -> None:
        self.settings = settings
        self.anchors: AnchorGrid = anchor_grid(settings)
        self._voxelizer = Voxelizer(settings.grid, 4)

    def pillars(self, points: ArrayLike) -> Pillars:
        """The pillars of a cloud ``(N, 4)``: x, y, z [m] in the LiDAR frame, reflectance; an empty one has none.

        Raises:
            UserError: not an array of real numbers of that shape.
        """
        voxels = self._voxelizer.voxelize(points, copy=False)
        _, columns = self.settings.canvas
        places = voxels.coordinates[:, 1].astype(np.int64) * columns + voxels.coordinates[:, 2]
        return Pillars(decorate(voxels, self.settings), places)

    def sample(self, frame: TrainingFrame) -> PillarSample:
        """Pillars and targets of a frame, whose points are x, y, z [m] and reflectance.

        Objects whose centre is outside the grid do not count; those without a point inside have nothing that could be learned,
        so the anchors on them are left out.

        Raises:
            UserError: a point has another number of columns than 4.
        """
        low, high = self.settings.range_min, self.settings.range_max
        inside = np.flatnonzero(((frame.boxes[:, :2] >= low[:2]) & (frame.boxes[:, :2] < high[:2])).all(axis=1))
        boxes, names = frame.boxes[inside], frame.names[inside].tolist()
        hidden = ~in_lidar_boxes(frame.points, boxes).any(axis=1)
        return PillarSample(self.pillars(frame.points), assign_targets(self.anchors, boxes, names, ignored=hidden))


def decorate(voxels: Voxels, settings: PillarSettings) -> Floats:
    """Points as the pillar network sees them, ``(P, N, 10)`` float32; unused places are 0.

    x, y, z [m] and reflectance, then the offset of the point from the mean of the pillar's points (x, y, z), then from the
    middle of the pillar (x, y, z).

    Source: Lang et al., "PointPillars", CVPR 2019, section 2.1, with the third number of the last offset as OpenPCDet has it.
    """
    pillars, places, numbers = voxels.features.shape
    decorated = np.zeros((pillars * places, POINT_FEATURES), dtype=np.float32)
    if not pillars:
        return decorated.reshape(0, places, POINT_FEATURES)
    counts = voxels.points_per_voxel
    # Two thirds of the places are unused: the arithmetic is done on the points alone, in a quarter of the time.
    used = np.flatnonzero(np.arange(places, dtype=counts.dtype)[None, :] < counts[:, None])
    points = voxels.features.reshape(pillars * places, numbers)[used, :4]
    begins = np.zeros(pillars, dtype=np.intp)
    np.cumsum(counts[:-1], out=begins[1:])
    means = np.add.reduceat(points[:, :3], begins, axis=0) / counts[:, None].astype(np.float32)
    size = np.array(settings.grid.voxel_size, dtype=np.float32)
    middles = (voxels.coordinates[:, ::-1] + np.float32(0.5)).astype(np.float32) * size
    middles += np.array(settings.range_min, dtype=np.float32)
    seen = np.concatenate([points, points[:, :3], points[:, :3]], axis=1)
    seen[:, 4:] -= np.concatenate([means, middles], axis=1)[used // places]
    decorated[used] = seen
    return decorated.reshape(pillars, places, POINT_FEATURES)


def collate(samples: Sequence[PillarSample], settings: PillarSettings) -> PillarBatch:
    """Several samples in one batch."""
    rows, columns = settings.canvas
    head_rows, head_columns = settings.head_cells
    anchors = settings.anchors_per_cell * head_rows * head_columns
    targets = [sample.targets for sample in samples]
    return PillarBatch(
        frames=len(samples),
        features=np.concatenate([sample.pillars.features for sample in samples]),
        places=np.concatenate([sample.pillars.places + i * rows * columns for i, sample in enumerate(samples)]),
        positive=np.concatenate([target.positive + i * anchors for i, target in enumerate(targets)]),
        positive_frames=np.concatenate([np.full(len(target.positive), i, dtype=np.int64) for i, target in enumerate(targets)]),
        classes=np.concatenate([target.classes for target in targets]),
        residuals=np.concatenate([target.residuals for target in targets]),
        directions=np.concatenate([target.directions for target in targets]),
        ignored=np.concatenate([target.ignored + i * anchors for i, target in enumerate(targets)]),
    )
