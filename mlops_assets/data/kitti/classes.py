"""The classes of KITTI's labels and its difficulties. How detections of them are judged is the evaluation's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from mlops_assets.data.kitti.labels import DONT_CARE, KittiObjects

CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", DONT_CARE)
Difficulty = Literal["easy", "moderate", "hard", "none"]
#: Least 2D height [px], largest occlusion, largest truncation, easiest first.
#: Source: KITTI object development kit, evaluate_object.cpp.
DIFFICULTIES: Mapping[Difficulty, tuple[float, int, float]] = {
    "easy": (40, 0, 0.15), "moderate": (25, 1, 0.3), "hard": (25, 2, 0.5),
}  # fmt: skip


def difficulty(objects: KittiObjects, *, truncation_levels: bool = False) -> list[Difficulty]:
    """The easiest difficulty of each object by KITTI's rules, ``none`` where it is beyond all.

    Tracking labels have levels instead of shares (``truncation_levels``): partly outside counts as moderate, largely as
    beyond all.
    """
    truncation = objects.truncation
    if truncation_levels:
        truncation = np.where(truncation <= 0, 0.0, np.where(truncation <= 1, 0.3, 1.0))
    heights = objects.boxes_2d[:, 3] - objects.boxes_2d[:, 1]
    found: list[Difficulty] = []
    for height, hidden, outside in zip(heights.tolist(), objects.occlusion.tolist(), truncation.tolist(), strict=True):
        fitting = (
            name for name, (least, most, share) in DIFFICULTIES.items() if height >= least and hidden <= most and outside <= share
        )
        found.append(next(fitting, "none"))
    return found
