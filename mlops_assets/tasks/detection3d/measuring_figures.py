"""The figures of an evaluation of detection in clouds: curves, confusion, and test frames with what was found in them.

Pictures of clouds and boxes are drawn by ``figures``, curves and confusion by ``detection.detection_figures``; which frames are
shown was chosen in ``preparation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from mlops_assets.data.kitti.boxes import camera_boxes, camera_to_lidar_boxes, has_box
from mlops_assets.request.vocabulary import Language
from mlops_assets.tasks.detection.detection_figures import draw_confusion_matrix, draw_precision_recall
from mlops_assets.tasks.detection3d.box_evaluation import BoxEvaluation
from mlops_assets.tasks.detection3d.cloud_features import CloudFeatures, spread
from mlops_assets.tasks.detection3d.figures import (
    DrawnBoxes,
    birds_eye_view,
    image_with_boxes,
    points_per_voxel,
)
from mlops_assets.tasks.detection3d.frame_detection import FoundFrames
from mlops_assets.tasks.detection3d.occupancy import occupancy_of, summed
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from mlops_assets.tasks.detection3d.voxels import Voxelizer
from mlops_assets.whole_files import write_whole

PR_CURVE, CONFUSION, BIRDS_EYE, IMAGE_BOXES, PILLARS = (
    "pr_curve.png", "confusion_matrix.png", "birds_eye.png", "image_boxes.png", "points_per_pillar.png",
)  # fmt: skip
OCCUPANCY_CLOUDS: Final = 20


def draw_figures(
    folder: CloudFeatures,
    found: FoundFrames,
    boxes: BoxEvaluation,
    matrix: Sequence[Sequence[int]],
    settings: PillarSettings,
    *,
    threshold: float,
    language: Language,
    out: Path,
) -> tuple[str, ...]:
    """Write the figures into ``out`` and return their names in reading order; those of an image only where there is one.

    Raises:
        OSError: a file cannot be written.
    """
    names = [PR_CURVE, CONFUSION]
    averages = [None if entry is None else entry[0] for entry in boxes.average_precisions]
    draw_precision_recall(out / PR_CURVE, boxes.curves, averages, boxes.classes, threshold, language)
    draw_confusion_matrix(out / CONFUSION, matrix, boxes.classes, threshold, language)
    shown = [name for name in folder.notes.shown if name in found.labels]
    if shown:
        labels, detections = _drawn_boxes(folder, found, shown[0], threshold)
        low, high = settings.range_min, settings.range_max
        picture = birds_eye_view(
            folder.copy.cloud(shown[0]), labels, detections,
            forward=(low[0], high[0]), left=(low[1], high[1]), language=language,
        )  # fmt: skip
        write_whole(out / BIRDS_EYE, picture)
        names.append(BIRDS_EYE)
    with_image = [name for name in shown if folder.copy.index.frame(name).image is not None]
    if with_image:
        name = with_image[0]
        labels, detections = _drawn_boxes(folder, found, name, threshold)
        calibration = folder.copy.calibration(name)
        picture = image_with_boxes(
            folder.copy.image(name), labels, lambda points: calibration.to_image(calibration.to_camera(points)), detections,
            language=language,
        )  # fmt: skip
        write_whole(out / IMAGE_BOXES, picture)
        names.append(IMAGE_BOXES)
    voxelizer = Voxelizer(settings.grid, 4)
    ids = spread(tuple(found.labels), OCCUPANCY_CLOUDS)
    counts = [occupancy_of(voxelizer.voxelize(folder.copy.cloud(name), copy=False), settings.grid) for name in ids]
    write_whole(out / PILLARS, points_per_voxel(summed(counts), language=language))
    return (*names, PILLARS)


def _drawn_boxes(folder: CloudFeatures, found: FoundFrames, name: str, threshold: float) -> tuple[DrawnBoxes, DrawnBoxes]:
    """Labels of a frame, and everything found in it of this score or more, beside the image too."""
    objects = found.labels[name].objects
    labelled = objects.select(has_box(objects))
    labels = DrawnBoxes(camera_to_lidar_boxes(camera_boxes(labelled), folder.copy.calibration(name)), labelled.names.tolist())
    detections = found.found[name]
    rows = np.flatnonzero(detections.scores >= threshold)
    return labels, DrawnBoxes(detections.boxes[rows], [detections.names[row] for row in rows.tolist()])
