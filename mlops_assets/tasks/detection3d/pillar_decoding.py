"""From the raw outputs of PointPillars to boxes: score threshold, decoding, heading, rotated suppression.

Plain numpy, whether the outputs come from PyTorch or from ONNX Runtime.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_assets.errors import IntegrityError
from mlops_assets.tasks.detection.overlap import BEV_COLUMNS
from mlops_assets.tasks.detection.suppression import suppress_rotated
from mlops_assets.tasks.detection3d.anchors import AnchorGrid, decode_boxes, headed
from mlops_assets.tasks.detection3d.pillar_settings import BOX_NUMBERS, PillarSettings


@dataclass(frozen=True, eq=False)
class LidarDetections:
    """Objects found in one cloud, the surest first.

    Attributes:
        boxes: ``(K, 7)`` float64, LiDAR frame: centre x, y, z [m], length, width, height [m], yaw [rad] in -pi … pi.
        scores: ``(K,)`` float64, 0 … 1.
        names: ``(K,)`` class of each box.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


def decode_detections(
    class_logits: ArrayLike, residuals: ArrayLike, direction_logits: ArrayLike, grid: AnchorGrid, settings: PillarSettings
) -> LidarDetections:
    """The boxes that one frame's outputs mean.

    An anchor gives one box, of its likeliest class. Of boxes that overlap by more than ``suppression_overlap`` from above the
    surest stays, whatever the classes: two things cannot stand in one place.

    Args:
        class_logits: ``(A * classes, H, W)``.
        residuals: ``(A * 7, H, W)``.
        direction_logits: ``(A * 2, H, W)``.
        grid: the anchors of these settings.
        settings: of the detector.

    Raises:
        IntegrityError: a score or a box that would be reported is not finite.
    """
    kinds, places = settings.anchors_per_cell, math.prod(settings.head_cells)
    logits = np.asarray(class_logits, dtype=np.float32).reshape(kinds, len(settings.classes), places)
    # A chain of maxima over few classes is ten times faster than max(axis=1), and NaN stays NaN.
    best = logits[:, 0]
    for number in range(1, len(settings.classes)):
        best = np.maximum(best, logits[:, number])
    limit = math.log(settings.score_threshold / (1 - settings.score_threshold))
    # "not below" lets NaN through to the check: a network that has diverged must not look like an empty road.
    chosen = np.flatnonzero(~(best.reshape(-1) < limit))
    scores = best.reshape(-1)[chosen].astype(np.float64)
    if len(chosen) > settings.candidates:
        surest = np.argsort(-scores, kind="stable")[: settings.candidates]
        chosen, scores = chosen[surest], scores[surest]
    kind, place = np.divmod(chosen, places)
    numbers = np.asarray(residuals, dtype=np.float32).reshape(kinds, BOX_NUMBERS, places)[kind, :, place]
    halves = np.asarray(direction_logits, dtype=np.float32).reshape(kinds, 2, places)[kind, :, place]
    if not (np.isfinite(scores).all() and np.isfinite(numbers).all() and np.isfinite(halves).all()):
        raise IntegrityError("the network's outputs are not finite: its weights are damaged, or the cloud holds absurd values")
    boxes = decode_boxes(numbers, grid.boxes(chosen))
    boxes[:, 6] = headed(boxes[:, 6], halves.argmax(axis=1))
    classes = logits[kind, :, place].argmax(axis=1)
    scores = 1 / (1 + np.exp(-scores))
    kept = suppress_rotated(
        boxes[:, BEV_COLUMNS], scores, iou_threshold=settings.suppression_overlap, limit=settings.max_detections
    )
    names = settings.class_names
    return LidarDetections(boxes[kept], scores[kept], tuple(names[number] for number in classes[kept].tolist()))
