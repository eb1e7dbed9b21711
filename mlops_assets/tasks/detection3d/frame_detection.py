"""A detector over labelled frames: what it found beside what is labelled, as KITTI's evaluation reads both.

Judging it is ``box_evaluation`` and ``detection.kitti_evaluation``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.kitti.boxes import camera_boxes, has_box, in_camera_boxes
from mlops_assets.data.kitti.labels import KittiObjects
from mlops_assets.tasks.detection3d.box_evaluation import LabelledObjects
from mlops_assets.tasks.detection3d.cloud_features import CloudFeatures
from mlops_assets.tasks.detection3d.kitti_clouds import kitti_detections
from mlops_assets.tasks.detection3d.pillar_decoding import LidarDetections

Detect = Callable[[NDArray[np.float32]], LidarDetections]
"""A cloud ``(N, 4)`` (LiDAR frame [m], reflectance) to the objects in it."""


@dataclass(frozen=True)
class FoundFrames:
    """By frame id.

    Attributes:
        labels: what is labelled, DontCare included, with the points in each box.
        detections: what the image shows of what was found.
        found: everything that was found, LiDAR frame.
        seconds: of all detections together, reading left out.
    """

    labels: dict[str, LabelledObjects] = field(default_factory=dict)
    detections: dict[str, KittiObjects] = field(default_factory=dict)
    found: dict[str, LidarDetections] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


def detect_frames(features: CloudFeatures, detect: Detect, frame_ids: Sequence[str]) -> FoundFrames:
    """Detect in the whole clouds of these frames, as the endpoint does.

    Raises:
        DataRejected: a file of a frame is damaged.
        IntegrityError: the detector's outputs are not finite.
    """
    frames = FoundFrames()
    for name in frame_ids:
        cloud, calibration = features.copy.cloud(name), features.copy.calibration(name)
        started = time.perf_counter()
        detections = detect(cloud)
        frames.seconds.append(time.perf_counter() - started)
        objects = features.copy.objects(name)
        points = np.zeros(len(objects), dtype=np.int64)
        boxed = has_box(objects)
        points[boxed] = in_camera_boxes(cloud, camera_boxes(objects.select(boxed)), calibration).sum(axis=1)
        frames.labels[name] = LabelledObjects(objects, points)
        frames.found[name] = detections
        frames.detections[name] = kitti_detections(detections, calibration, features.image_size(name))
    return frames
