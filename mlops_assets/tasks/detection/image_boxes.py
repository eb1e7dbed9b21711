"""Boxes of one image as detectors give them and evaluation reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_assets.tasks.detection.overlap import Floats


@dataclass(frozen=True, eq=False)
class ImageBoxes:
    """Boxes of one image.

    Attributes:
        boxes: ``(N, 4)`` left, top, right, bottom [px].
        classes: ``(N,)`` integers, positions in the list of class names: the first is 0.
        scores: ``(N,)``, higher is surer; None for ground truth.
        crowd: ``(N,)`` bool, ground truth that only excuses detections of its class (COCO's ``iscrowd``); None: none is.
    """

    boxes: Floats
    classes: NDArray[np.int64]
    scores: Floats | None = None
    crowd: NDArray[np.bool_] | None = None
