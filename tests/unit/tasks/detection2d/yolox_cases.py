"""Pictures whose labels can be found again in their pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlops_assets.tasks.detection2d.augmentation import Sample
from mlops_assets.tasks.detection2d.dataset import DetectionDataset

COLOURS = np.array(((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)), np.uint8)


def rectangle(left: int, top: int, right: int, bottom: int, *, kind: int = 0, height: int = 90, width: int = 120) -> Sample:
    """A black picture with one rectangle in the colour of its class."""
    image = np.zeros((height, width, 3), np.uint8)
    image[top:bottom, left:right] = COLOURS[kind]
    return Sample(image, np.array([[left, top, right, bottom]], np.float32), np.array([kind], np.int64))


def extent(image: NDArray[np.uint8], kind: int, *, tolerance: int = 110) -> NDArray[np.int64] | None:
    """Left, top, right, bottom of the pixels that have the colour of a class; None: there are none."""
    near = (np.abs(image.astype(int) - COLOURS[kind]) < tolerance).all(axis=2)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    return np.array((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)) if len(rows) else None


def red_squares(count: int, *, side: int = 64, empty: int = 0, seed: int = 0) -> DetectionDataset:
    """Grey pictures with one red rectangle each, then ``empty`` ones without."""
    rng = np.random.default_rng(seed)
    images, boxes, classes = [], [], []
    for number in range(count + empty):
        image = np.full((side, side, 3), 60, np.uint8)
        left, top = (int(value) for value in rng.integers(2, side // 2 - 2, 2))
        right, bottom = left + side // 3, top + side // 3 + 3
        if number < count:
            image[top:bottom, left:right] = (220, 40, 40)
            boxes.append([[left, top, right, bottom]])
            classes.append([0])
        else:
            boxes.append([])
            classes.append([])
        images.append(image)
    return DetectionDataset.of_arrays(images, boxes, classes, ("square",))
