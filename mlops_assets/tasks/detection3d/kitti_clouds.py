"""KITTI and LiDAR detectors: frames of a copy with boxes in the LiDAR frame, and detections as KITTI's evaluation reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.kitti.boxes import (
    camera_boxes,
    camera_to_lidar_boxes,
    has_box,
    lidar_to_camera_boxes,
    observation_angle,
    project_boxes,
)
from mlops_assets.data.kitti.calibration import Calibration
from mlops_assets.data.kitti.clouds import Cloud
from mlops_assets.data.kitti.frames import KittiCopy
from mlops_assets.data.kitti.labels import KittiObjects
from mlops_assets.tasks.detection3d.pillar_decoding import LidarDetections
from mlops_assets.tasks.detection3d.training_frame import TrainingFrame


@dataclass(frozen=True)
class KittiLidarFrames:
    """Frames of a copy for a LiDAR detector, by number; each is read from its files when asked for.

    With ``widths`` (frame -> width of its image [px]) the points beside the camera's view are left out, as training needs it.
    """

    copy: KittiCopy
    frame_ids: Sequence[str]
    widths: Mapping[str, int] | None = None

    def __len__(self) -> int:
        return len(self.frame_ids)

    def __getitem__(self, index: int) -> TrainingFrame:
        name = self.frame_ids[index]
        cloud, calibration = self.copy.cloud(name), self.copy.calibration(name)
        if self.widths is not None:
            cloud = cloud[in_view(cloud, calibration, self.widths[name])]
        return training_frame(cloud, self.copy.objects(name), calibration)


def training_frame(cloud: Cloud, objects: KittiObjects, calibration: Calibration) -> TrainingFrame:
    """A cloud ``(N, 4)`` (LiDAR frame [m], reflectance) with its labels as LiDAR boxes; rows without a 3D box are left out."""
    labelled = objects.select(has_box(objects))
    return TrainingFrame(cloud, camera_to_lidar_boxes(camera_boxes(labelled), calibration), labelled.names)


def in_view(cloud: Cloud, calibration: Calibration, width: int) -> NDArray[np.bool_]:
    """``(N,)`` whether a point is ahead of camera 2 and between the left and right edges of its image of ``width`` [px].

    KITTI labels only what its camera sees, a LiDAR sees more: a car beside the view has points and no label, and a detector
    would learn that it is background. Above and below the image nothing stands that is not in it.

    Source: the same cut in SECOND and OpenPCDet (``FOV_POINTS_ONLY``), there along the image's height too.
    """
    pixels, depth = calibration.to_image(calibration.to_camera(cloud[:, :3]))
    inside: NDArray[np.bool_] = (depth > 0) & (pixels[:, 0] >= 0) & (pixels[:, 0] < width)
    return inside


def kitti_detections(detections: LidarDetections, calibration: Calibration, image_size: tuple[int, int]) -> KittiObjects:
    """Detections as rows of a KITTI result file; objects that the image (width, height [px]) does not show are left out.

    KITTI labels only what its camera sees: what a LiDAR finds beside the image is neither right nor wrong there.
    """
    camera = lidar_to_camera_boxes(detections.boxes, calibration)
    rectangles, visible = project_boxes(camera, calibration, image_size)
    count = int(visible.sum())
    shown = camera[visible]
    return KittiObjects(
        names=np.array(detections.names, dtype=np.str_)[visible],
        truncation=np.full(count, -1.0),
        occlusion=np.full(count, -1, dtype=np.int64),
        alpha=observation_angle(shown),
        boxes_2d=rectangles[visible],
        dimensions=shown[:, 3:6],
        locations=shown[:, :3],
        rotation_y=shown[:, 6],
        scores=detections.scores[visible],
    )
