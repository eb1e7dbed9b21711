"""Training frames made different: flip, rotation, scaling and objects from other frames, points and boxes moved together.

LiDAR frame throughout (x forward, y left, z up). Every random step takes a numpy ``Generator`` and a frozen settings model:
the same generator state, settings and frame give the same result. Which objects are put in is in ``object_sampling``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mlops_assets.data.kitti.boxes import wrapped
from mlops_assets.errors import UserError
from mlops_assets.tasks.detection3d.object_sampling import ObjectDatabase, SamplingSettings, sample_objects
from mlops_assets.tasks.detection3d.training_frame import Settings, TrainingFrame


class FlipSettings(Settings):
    """How often a frame is mirrored."""

    probability: float = Field(default=0.5, ge=0, le=1)


class RotationSettings(Settings):
    """How far a frame is turned: evenly distributed between ``-limit`` and ``limit`` [rad]."""

    limit: float = Field(default=math.pi / 4, ge=0, le=math.pi)


class ScalingSettings(Settings):
    """By which factor a frame grows: evenly distributed between ``low`` and ``high``."""

    low: float = Field(default=0.95, gt=0, le=10)
    high: float = Field(default=1.05, gt=0, le=10)

    @model_validator(mode="after")
    def _in_order(self) -> ScalingSettings:
        if self.low > self.high:
            raise UserError(
                "the smallest scale is above the largest",
                field="low",
                given=f"{self.low} to {self.high}",
                allowed=("low <= high",),
            )
        return self


class AugmentationSettings(Settings):
    """What is done to every training frame, in this order; None leaves a step out. The defaults are those of SECOND on KITTI."""

    sampling: SamplingSettings | None = None
    flip: FlipSettings | None = FlipSettings()
    rotation: RotationSettings | None = RotationSettings()
    scaling: ScalingSettings | None = ScalingSettings()


def augment(
    frame: TrainingFrame,
    settings: AugmentationSettings,
    random: np.random.Generator,
    database: ObjectDatabase | None = None,
) -> TrainingFrame:
    """The frame after all steps of ``settings``; the frame given is left as it is.

    Raises:
        UserError: objects are to be sampled and there is no database, or its points have another number of columns.

    Source: Yan, Mao, Li, "SECOND: Sparsely Embedded Convolutional Detection", Sensors 2018, section 3.4.
    """
    if settings.sampling is not None:
        if database is None:
            raise UserError(
                "objects are to be sampled from other frames, and no database of objects is given",
                field="database",
                next_step="make one with crop_objects, or leave sampling out of the settings",
            )
        frame = sample_objects(frame, database, settings.sampling, random)
    if settings.flip is not None:
        frame = random_flip(frame, settings.flip, random)
    if settings.rotation is not None:
        frame = random_rotation(frame, settings.rotation, random)
    if settings.scaling is not None:
        frame = random_scaling(frame, settings.scaling, random)
    return frame


def random_flip(frame: TrainingFrame, settings: FlipSettings, random: np.random.Generator) -> TrainingFrame:
    """The frame, mirrored with the probability of the settings."""
    return flip(frame) if random.random() < settings.probability else frame


def random_rotation(frame: TrainingFrame, settings: RotationSettings, random: np.random.Generator) -> TrainingFrame:
    """The frame, turned about the sensor by an angle within the limit of the settings."""
    return rotate(frame, random.uniform(-settings.limit, settings.limit))


def random_scaling(frame: TrainingFrame, settings: ScalingSettings, random: np.random.Generator) -> TrainingFrame:
    """The frame, grown by a factor within the limits of the settings."""
    return scale(frame, random.uniform(settings.low, settings.high))


def flip(frame: TrainingFrame) -> TrainingFrame:
    """Left and right exchanged: y and yaw change sign. Twice is exactly the frame itself."""
    points, boxes = frame.points.copy(), frame.boxes.copy()
    points[:, 1] *= -1
    boxes[:, [1, 6]] *= -1
    return TrainingFrame(points, boxes, frame.names)


def rotate(frame: TrainingFrame, angle: float) -> TrainingFrame:
    """Everything turned about the z axis of the sensor by ``angle`` [rad], counter-clockwise seen from above."""
    points, boxes = frame.points.copy(), frame.boxes.copy()
    points[:, :2] = _turned(points[:, :2].astype(np.float64), angle)  # rounded to float32 once
    boxes[:, :2] = _turned(boxes[:, :2], angle)
    boxes[:, 6] = wrapped(boxes[:, 6] + angle)
    return TrainingFrame(points, boxes, frame.names)


def scale(frame: TrainingFrame, factor: float) -> TrainingFrame:
    """Positions and sizes multiplied by ``factor``; further numbers of a point stay."""
    points, boxes = frame.points.copy(), frame.boxes.copy()
    points[:, :3] = points[:, :3].astype(np.float64) * factor
    boxes[:, :6] *= factor
    return TrainingFrame(points, boxes, frame.names)


def _turned(places: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    cosine, sine = math.cos(angle), math.sin(angle)
    x, y = places[:, 0], places[:, 1]
    return np.column_stack([cosine * x - sine * y, sine * x + cosine * y])
