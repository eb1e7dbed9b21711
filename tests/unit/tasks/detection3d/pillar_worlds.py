"""Small frames and detectors that the tests of PointPillars share."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mlops_assets.tasks.detection3d.pillar_settings import KITTI_ANCHORS, PillarSettings
from mlops_assets.tasks.detection3d.training_frame import TrainingFrame

#: 25.6 x 10.24 m in pillars of 0.32 m, and a network of a few thousand parameters.
TINY = PillarSettings(
    range_min=(0.0, -5.12, -3.0),
    range_max=(25.6, 5.12, 1.0),
    pillar_size=0.32,
    max_points=16,
    max_pillars=2000,
    pillar_channels=16,
    block_layers=(1, 1, 1),
    block_strides=(1, 2, 2),
    block_channels=(16, 24, 32),
    upsample_channels=(16, 16, 16),
    epochs=3,
    batch_size=2,
    workers=1,
    device="cpu",
    checkpoint_seconds=3600,
)
CAR, PEDESTRIAN, CYCLIST = KITTI_ANCHORS


def box(x: float, y: float, yaw: float = 0.0, *, like: str = "Car") -> list[float]:
    """A LiDAR box of the size and height of a class's anchor."""
    kind = next(kind for kind in KITTI_ANCHORS if kind.name == like)
    return [x, y, kind.z, kind.length, kind.width, kind.height, yaw]


def solid_frame(boxes: list[list[float]], names: list[str], *, seed: int = 0) -> TrainingFrame:
    """Points on flat ground, and 150 points inside each box."""
    random = np.random.default_rng(seed)
    ground = np.column_stack(
        [random.uniform(0, 25.6, 1500), random.uniform(-5.1, 5.1, 1500), np.full(1500, -1.9), random.uniform(0, 0.3, 1500)]
    )
    clouds: list[NDArray[np.float64]] = [ground]
    for x, y, z, length, width, height, yaw in boxes:
        inside = random.uniform(-0.49, 0.49, (150, 3)) * (length, width, height)
        cos, sin = math.cos(yaw), math.sin(yaw)
        turned = np.column_stack([cos * inside[:, 0] - sin * inside[:, 1], sin * inside[:, 0] + cos * inside[:, 1], inside[:, 2]])
        clouds.append(np.column_stack([turned + np.array([x, y, z]), random.uniform(0.5, 1, 150)]))
    return TrainingFrame(
        np.concatenate(clouds).astype(np.float32),
        np.array(boxes, dtype=np.float64).reshape(-1, 7),
        np.array(names, dtype=np.str_),
    )


def street(number: int) -> TrainingFrame:
    """A frame with a car and a pedestrian, somewhere else in each."""
    random = np.random.default_rng(number)
    car = box(float(random.uniform(6, 20)), float(random.uniform(-3, 0)), float(random.uniform(-0.3, 0.3)))
    pedestrian = box(float(random.uniform(4, 22)), float(random.uniform(2, 4)), 1.5, like="Pedestrian")
    return solid_frame([car, pedestrian], ["Car", "Pedestrian"], seed=number)


def empty_frame() -> TrainingFrame:
    """No point and no object."""
    return TrainingFrame(np.empty((0, 4), dtype=np.float32), np.empty((0, 7)), np.empty(0, dtype=np.str_))
