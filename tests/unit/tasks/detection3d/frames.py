"""Training frames for tests: random ones of any kind, and streets of the generated world."""

from __future__ import annotations

from functools import cache

import numpy as np

from mlops_assets.data.kitti.boxes import camera_boxes, camera_to_lidar_boxes, has_box
from mlops_assets.tasks.detection3d.training_frame import TrainingFrame
from sim.driving.config import WorldConfig
from sim.driving.world import generate_frame

COARSE = WorldConfig(beams=32, azimuth_step=0.5, image_width=256, image_height=96)


def random_frame(seed: int, columns: int = 4, objects: int = 5) -> TrainingFrame:
    """Boxes anywhere, turned anyhow, possibly overlapping; a third of the points is near them."""
    random = np.random.default_rng(seed)
    boxes = np.column_stack(
        [random.uniform(-60, 60, (objects, 2)), random.uniform(-2, 1, objects), random.uniform(0.4, 6, (objects, 3)),
         random.uniform(-4, 4, objects)]
    )  # fmt: skip
    points = random.uniform(-70, 70, (300, columns))
    if objects:
        near = random.integers(0, objects, 150)
        points[:150, :3] = boxes[near, :3] + random.uniform(-3, 3, (150, 3))
    names = random.choice(np.array(["Car", "Pedestrian", "Cyclist", "Van"]), objects)
    return TrainingFrame(points.astype(np.float32), boxes, names)


@cache
def street(number: int) -> TrainingFrame:
    """One frame of the generated world, all objects with a box."""
    frame = generate_frame(7, number, COARSE)
    objects = frame.objects.select(has_box(frame.objects))
    boxes = camera_to_lidar_boxes(camera_boxes(objects), frame.calibration)
    return TrainingFrame(frame.cloud, boxes, objects.names)
