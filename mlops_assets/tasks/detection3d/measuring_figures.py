"""The figures of an evaluation of detection in clouds: curves, confusion, and test frames with what was found in them.

Single pictures of clouds and boxes are drawn by ``figures``; which frames are shown was chosen in ``preparation``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mlops_assets.data.kitti.boxes import camera_boxes, camera_to_lidar_boxes, has_box
from mlops_assets.request.vocabulary import Language
from mlops_assets.tasks.detection3d.box_evaluation import BoxEvaluation
from mlops_assets.tasks.detection3d.cloud_features import CloudFeatures, spread
from mlops_assets.tasks.detection3d.figures import (
    CLASS_COLOURS,
    OTHER_COLOUR,
    DrawnBoxes,
    birds_eye_view,
    drawn,
    image_with_boxes,
    points_per_voxel,
)
from mlops_assets.tasks.detection3d.frame_detection import FoundFrames
from mlops_assets.tasks.detection3d.measuring_words import WORDS
from mlops_assets.tasks.detection3d.occupancy import occupancy_of, summed
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from mlops_assets.tasks.detection3d.voxels import Voxelizer
from mlops_assets.tasks.lettering import lettering_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    score: float,
    language: Language,
    out: Path,
) -> tuple[str, ...]:
    """Write the figures into ``out`` and return their names in reading order; those of an image only where there is one.

    Raises:
        OSError: a file cannot be written.
    """
    names = [PR_CURVE, CONFUSION]
    _write(out / PR_CURVE, precision_recall(boxes, language=language))
    _write(out / CONFUSION, confusion_picture(matrix, folder.summary.classes, score=score, language=language))
    shown = [name for name in folder.notes.shown if name in found.labels]
    if shown:
        labels, detections = _drawn_boxes(folder, found, shown[0], score)
        low, high = settings.range_min, settings.range_max
        picture = birds_eye_view(
            folder.copy.cloud(shown[0]), labels, detections,
            forward=(low[0], high[0]), left=(low[1], high[1]), language=language,
        )  # fmt: skip
        _write(out / BIRDS_EYE, picture)
        names.append(BIRDS_EYE)
    with_image = [name for name in shown if folder.copy.index.frame(name).image is not None]
    if with_image:
        name = with_image[0]
        labels, detections = _drawn_boxes(folder, found, name, score)
        calibration = folder.copy.calibration(name)
        picture = image_with_boxes(
            folder.copy.image(name), labels, lambda points: calibration.to_image(calibration.to_camera(points)), detections,
            language=language,
        )  # fmt: skip
        _write(out / IMAGE_BOXES, picture)
        names.append(IMAGE_BOXES)
    voxelizer = Voxelizer(settings.grid, 4)
    ids = spread(tuple(found.labels), OCCUPANCY_CLOUDS)
    counts = [occupancy_of(voxelizer.voxelize(folder.copy.cloud(name), copy=False), settings.grid) for name in ids]
    _write(out / PILLARS, points_per_voxel(summed(counts), language=language))
    return (*names, PILLARS)


def precision_recall(boxes: BoxEvaluation, *, language: Language) -> bytes:
    """Precision over recall of every class in space at overlap 0.5, its average precision in the legend."""
    letters = lettering_for(language)
    words = WORDS[letters.language]

    def draw(axes: Axes) -> None:
        for entry in boxes.classes:
            if entry.average_precision is None:
                continue
            precision, recall = entry.precision_recall()
            axes.plot(
                np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision]) if len(precision) else [0.0],
                color=CLASS_COLOURS.get(entry.name, OTHER_COLOUR), linewidth=1.8,
                label=f"{letters.printable(entry.name, '?')}  AP {entry.average_precision[0]:.2f}",
            )  # fmt: skip
        axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel=words["figure.recall"], ylabel=words["figure.precision"])
        axes.set_title(words["figure.pr"])
        axes.grid()
        axes.legend(loc="best")

    return drawn(draw, letters, (6.0, 4.4))


def confusion_picture(matrix: Sequence[Sequence[int]], classes: Sequence[str], *, score: float, language: Language) -> bytes:
    """Counts with the share of their row as colour; the last row and column are the background, whose own cell has no number."""
    letters = lettering_for(language)
    words = WORDS[letters.language]
    counts = np.array(matrix, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [*(letters.printable(name, "?") for name in classes), words["figure.background"]]

    def draw(axes: Axes) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            last = row == column == len(classes)
            text = "–" if last else f"{int(counts[row, column]):,}\n{share:.0%}"
            axes.text(column, row, text, ha="center", va="center", color="white" if share > 0.55 else "#1f2937")
        places = range(len(names))
        axes.set_xticks(places, names)
        axes.set_yticks(places, names)
        axes.set(xlabel=words["figure.detected"], ylabel=words["figure.true"])
        axes.set_title(words["figure.confusion"].format(score=score))
        axes.spines[:].set_visible(False)

    side = 2.2 + 1.05 * len(names)
    return drawn(draw, letters, (side + 1.0, side))


def _drawn_boxes(folder: CloudFeatures, found: FoundFrames, name: str, score: float) -> tuple[DrawnBoxes, DrawnBoxes]:
    """Labels of a frame, and everything found in it of this score or more, beside the image too."""
    objects = found.labels[name].objects
    labelled = objects.select(has_box(objects))
    labels = DrawnBoxes(camera_to_lidar_boxes(camera_boxes(labelled), folder.copy.calibration(name)), labelled.names.tolist())
    detections = found.found[name]
    rows = np.flatnonzero(detections.scores >= score)
    return labels, DrawnBoxes(detections.boxes[rows], [detections.names[row] for row in rows.tolist()])


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)
