"""What a labeller would write about one generated frame, with the truth at hand: boxes, truncation, occlusion, DontCare.

* truncation: share of the projected box that lies outside the image.
* occlusion, from the share of the object's pixels that nothing hides: 0 from 85 %, 1 from 50 %, 2 below.
* DontCare: an object of which something is seen, but too far, too hidden or with too few points to be labelled.
* An object of which next to nothing is seen is not mentioned, as in KITTI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.kitti.boxes import (
    camera_to_lidar_boxes,
    has_box,
    in_camera_boxes,
    in_lidar_boxes,
    observation_angle,
    project_boxes,
)
from mlops_assets.data.kitti.labels import DONT_CARE, KittiObjects
from sim.driving.camera import Picture
from sim.driving.config import WorldConfig
from sim.driving.lidar import Scan
from sim.driving.placement import Placement
from sim.driving.rig import Rig

_VISIBLE, _PARTLY = 0.85, 0.5
#: With a smaller share in sight an object is no example of anything.
_LEAST_SHARE = 0.06
_LEAST_PIXELS = 12


@dataclass(frozen=True, eq=False)
class Annotation:
    """Labels of one frame, DontCare last; ``tracks`` ``(M,)`` are the actors' numbers, -1 for DontCare."""

    objects: KittiObjects
    tracks: NDArray[np.int64]


def annotate(rig: Rig, config: WorldConfig, placement: Placement, scan: Scan, picture: Picture) -> Annotation:
    """The labels of this frame; numbers of 3D boxes are exact in two decimals."""
    boxes = placement.camera_boxes
    clipped, in_image = project_boxes(boxes, rig.calibration, rig.image_size)
    whole, _ = project_boxes(boxes, rig.calibration)
    share = picture.visible / np.maximum(picture.alone, 1)
    seen = in_image & (picture.visible >= _LEAST_PIXELS)
    labelled = seen & (share >= _LEAST_SHARE) & (boxes[:, 2] <= config.label_distance) & (boxes[:, 2] > 0.5)
    labelled[labelled] = _points_inside(rig, boxes[labelled], scan) >= config.label_points
    rows = np.concatenate([np.flatnonzero(labelled), np.flatnonzero(seen & ~labelled)])
    care = labelled[rows]
    names = np.array([actor.name for actor in placement.actors], dtype=np.str_)[rows] if len(rows) else np.empty(0, "<U8")
    truncation = np.clip(1 - _area(clipped) / np.maximum(_area(whole), 1e-9), 0, 1)
    occlusion = np.where(share >= _VISIBLE, 0, np.where(share >= _PARTLY, 1, 2))
    objects = KittiObjects(
        names=np.where(care, names, DONT_CARE),
        truncation=np.where(care, truncation[rows], -1.0),
        occlusion=np.where(care, occlusion[rows], -1).astype(np.int64),
        alpha=np.where(care, observation_angle(boxes)[rows], -10.0),
        boxes_2d=clipped[rows],
        dimensions=np.where(care[:, None], boxes[rows][:, 3:6], -1.0),
        locations=np.where(care[:, None], boxes[rows][:, :3], -1000.0),
        rotation_y=np.where(care, boxes[rows][:, 6], -10.0),
    )
    tracks = np.array([actor.track for actor in placement.actors], dtype=np.int64)[rows] if len(rows) else np.empty(0, np.int64)
    return Annotation(objects, np.where(has_box(objects), tracks, -1))


def _points_inside(rig: Rig, boxes: NDArray[np.float64], scan: Scan) -> NDArray[np.int64]:
    """Points that whoever reads the label finds in it, whichever upright they take; noise leaves some outside."""
    in_camera = in_camera_boxes(scan.points, boxes, rig.calibration).sum(axis=1)
    in_lidar = in_lidar_boxes(scan.points, camera_to_lidar_boxes(boxes, rig.calibration)).sum(axis=1)
    fewest: NDArray[np.int64] = np.minimum(in_camera, in_lidar)
    return fewest


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area
