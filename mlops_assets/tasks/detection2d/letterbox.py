"""An image fitted into a network's input: scaled without distortion, in the upper left corner, grey around it.

Used in training and, from inside a packaged server, in service: only numpy and Pillow are imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Grey of what lies outside an image.
PADDING: Final = 114

#: ``(H, W, 3)``, RGB.
Pixels = NDArray[np.uint8]
#: Height, width [px].
Size = tuple[int, int]


def resized(image: Pixels, size: Size) -> Pixels:
    """The image at ``size`` (height, width), bilinear, with the pixels that it loses averaged."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def letterbox_ratio(shape: Sequence[int], size: Size) -> float:
    """Scale at which an image of ``shape`` (height, width, …) just fits into ``size``."""
    return min(size[0] / shape[0], size[1] / shape[1])


def letterboxed(image: Pixels, size: Size) -> tuple[Pixels, float]:
    """The image scaled to fit ``size`` (height, width), in the upper left corner on grey, and the scale."""
    ratio = letterbox_ratio(image.shape, size)
    inner = resized(image, scaled_size(image.shape, ratio))
    if inner.shape[:2] == size:
        return inner, ratio
    canvas = np.full((*size, 3), PADDING, np.uint8)
    canvas[: inner.shape[0], : inner.shape[1]] = inner
    return canvas, ratio


def scaled_size(shape: Sequence[int], ratio: float) -> Size:
    """Height and width of an image of ``shape`` (height, width, …) at a scale; at least one pixel each."""
    return max(1, int(shape[0] * ratio + 1e-9)), max(1, int(shape[1] * ratio + 1e-9))
