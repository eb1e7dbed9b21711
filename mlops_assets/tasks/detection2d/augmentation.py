"""Changes of labelled images that keep every box on its object: mosaic, MixUp, colour, flip, affine map, letterbox.

Plain numpy and Pillow; every draw comes from the generator given. Which change is made when is at the end (``Augmenter``);
reading images is in ``dataset``.

Boxes are left, top, right, bottom [px] with the image's upper left corner at (0, 0), so a box may end at the width itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mlops_assets.tasks.detection2d.letterbox import PADDING, Pixels, Size, letterbox_ratio, letterboxed, resized, scaled_size
from mlops_assets.tasks.detection2d.settings import STRIDE, YoloxSettings

#: What others need to change images; shapes and the letterbox are ``letterbox``'s, named here for those who read labelled images.
__all__ = [
    "IGNORED", "PADDING", "Augmenter", "Boxes", "Pixels", "Sample", "Size", "affine", "affine_matrix", "cut", "epoch_order",
    "flipped", "generator", "hsv_jittered", "letterbox_ratio", "letterboxed", "letterboxed_sample", "mixup", "mosaic",
    "multiscale_size", "resized",
]  # fmt: skip

#: Class of a region about which the labels say nothing: neither an object nor the lack of one is learned there.
IGNORED: Final = -1
#: Changes of hue, saturation and value, at most, of 256 each. Source: YOLOX 0.2; hue 5 of OpenCV's 180.
_HSV_GAINS: Final = (7.0, 30.0, 30.0)
#: A moved object stays labelled while at least this share of it is visible, its sides have so many pixels and this ratio at most.
_VISIBLE, _SIDE, _MIXUP_SIDE, _RATIO = 0.2, 2.0, 5.0, 20.0

Boxes = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled image.

    Attributes:
        image: ``(H, W, 3)`` uint8, RGB.
        boxes: ``(N, 4)`` float32, left, top, right, bottom [px].
        classes: ``(N,)`` int64, index of the class or ``IGNORED``.
    """

    image: Pixels
    boxes: Boxes
    classes: NDArray[np.int64]


def letterboxed_sample(sample: Sample, size: Size) -> Sample:
    """``letterboxed`` with the boxes."""
    image, ratio = letterboxed(sample.image, size)
    return Sample(image, sample.boxes * np.float32(ratio), sample.classes)


def flipped(sample: Sample) -> Sample:
    """Left and right exchanged."""
    width = np.float32(sample.image.shape[1])
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return Sample(np.ascontiguousarray(sample.image[:, ::-1]), boxes, sample.classes)


def hsv_jittered(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Hue, saturation and value each shifted by a random amount, or left alone with even chance; hue goes round."""
    shifts = rng.uniform(-1, 1, 3) * _HSV_GAINS * rng.integers(0, 2, 3)
    levels = np.arange(256)
    tables = [(levels + round(shifts[0])) % 256, *(np.clip(levels + round(shift), 0, 255) for shift in shifts[1:])]
    changed = Image.fromarray(image).convert("HSV").point(np.concatenate(tables).tolist())
    return np.asarray(changed.convert("RGB"))


def affine(sample: Sample, matrix: NDArray[np.float64], size: Size) -> Sample:
    """The sample mapped by ``matrix`` ``(2, 3)`` (x, y, 1 to x, y [px]) onto a canvas of ``size`` (height, width).

    Boxes become the upright hull of their mapped corners, cut at the canvas; objects of which too little is left lose theirs.
    """
    inverse = np.linalg.inv(np.vstack((matrix, (0.0, 0.0, 1.0))))
    picture = Image.fromarray(sample.image).transform(
        (size[1], size[0]),
        Image.Transform.AFFINE,
        tuple(inverse[:2].ravel().tolist()),
        Image.Resampling.BILINEAR,
        fillcolor=(PADDING,) * 3,
    )
    corners = sample.boxes[:, [0, 1, 2, 3, 0, 3, 2, 1]].reshape(-1, 4, 2) @ matrix[:, :2].T + matrix[:, 2]
    hulls = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1) if len(corners) else np.zeros((0, 4))
    return cut(np.asarray(picture), hulls, sample.classes)


def cut(image: Pixels, boxes: NDArray[np.floating], classes: NDArray[np.int64], *, smallest: float = _SIDE) -> Sample:
    """The sample with boxes cut at the image's borders, without objects of which too little is visible."""
    height, width = image.shape[:2]
    inside = np.clip(boxes, 0, (width, height, width, height))
    sides = inside[:, 2:] - inside[:, :2]
    share = sides.prod(axis=1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
    slender = sides.max(axis=1, initial=0) / np.maximum(sides.min(axis=1, initial=np.inf), 1e-9)
    stays = (sides > smallest).all(axis=1) & (share > _VISIBLE) & (slender < _RATIO)
    stays |= (classes == IGNORED) & (sides > 0).all(axis=1)
    return Sample(image, inside[stays].astype(np.float32), classes[stays])


def affine_matrix(
    rng: np.random.Generator, size: Size, *, degrees: float, scale: tuple[float, float], shear: float, translate: float
) -> NDArray[np.float64]:
    """A random map ``(2, 3)`` of a mosaic of twice ``size`` onto ``size``: turned, scaled, sheared about its middle, moved."""
    angle = math.radians(rng.uniform(-degrees, degrees))
    factor = rng.uniform(*scale)
    shear_x, shear_y = (math.tan(math.radians(rng.uniform(-shear, shear))) for _ in range(2))
    turn = factor * np.array(((math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))))
    linear = np.array(((1.0, shear_x), (shear_y, 1.0))) @ turn
    shift = np.array([rng.uniform(0.5 - translate, 0.5 + translate) * side for side in (size[1], size[0])])
    return np.column_stack((linear, shift - linear @ np.array((size[1], size[0]), dtype=np.float64)))


def mosaic(samples: Sequence[Sample], size: Size, rng: np.random.Generator) -> Sample:
    """Four samples round a random point, on a canvas of twice ``size`` (height, width); each is scaled to fit ``size`` first."""
    height, width = size
    canvas = np.full((2 * height, 2 * width, 3), PADDING, np.uint8)
    middle_y, middle_x = int(rng.uniform(0.5 * height, 1.5 * height)), int(rng.uniform(0.5 * width, 1.5 * width))
    boxes, classes = [], []
    for position, sample in enumerate(samples):
        ratio = letterbox_ratio(sample.image.shape, size)
        piece = resized(sample.image, scaled_size(sample.image.shape, ratio))
        left = middle_x if position % 2 else middle_x - piece.shape[1]
        top = middle_y if position // 2 else middle_y - piece.shape[0]
        _paste(canvas, piece, left, top)
        boxes.append(sample.boxes * np.float32(ratio) + np.array((left, top, left, top), np.float32))
        classes.append(sample.classes)
    return cut(canvas, np.concatenate(boxes), np.concatenate(classes))


def mixup(sample: Sample, other: Sample, rng: np.random.Generator, *, scale: tuple[float, float]) -> Sample:
    """Half of each image, with the boxes of both; ``other`` is scaled, perhaps flipped and moved first.

    The sample itself where nothing of ``other``'s objects would be visible.
    """
    size = (sample.image.shape[0], sample.image.shape[1])
    ratio = letterbox_ratio(other.image.shape, size) * rng.uniform(*scale)
    moved = Sample(resized(other.image, scaled_size(other.image.shape, ratio)), other.boxes * np.float32(ratio), other.classes)
    if rng.random() > 0.5:
        moved = flipped(moved)
    left, top = (
        int(rng.integers(0, max(0, theirs - ours) + 1)) for theirs, ours in zip(moved.image.shape[1::-1], size[::-1], strict=True)
    )
    canvas = np.full((*size, 3), PADDING, np.uint8)
    _paste(canvas, moved.image, -left, -top)
    seen = cut(canvas, moved.boxes - np.array((left, top, left, top), np.float32), moved.classes, smallest=_MIXUP_SIDE)
    if not (seen.classes != IGNORED).any():
        return sample
    blended = np.asarray(Image.blend(Image.fromarray(sample.image), Image.fromarray(seen.image), 0.5))
    return Sample(blended, np.concatenate((sample.boxes, seen.boxes)), np.concatenate((sample.classes, seen.classes)))


def multiscale_size(settings: YoloxSettings, step: int) -> Size:
    """Input size (height, width) of training step ``step``: its own at first, another every ``multiscale_interval`` steps."""
    height, width = settings.input_size
    period = step // settings.multiscale_interval
    if period == 0 or settings.multiscale == (0, 0):
        return settings.input_size
    rng = generator(settings.seed, _SIZES, period)
    cells = height // STRIDE
    rows = max(2, cells + int(rng.integers(settings.multiscale[0], settings.multiscale[1] + 1)))
    return rows * STRIDE, max(2, int(rows * width / height)) * STRIDE


def generator(*key: int) -> np.random.Generator:
    """The generator of one place in a training: equal keys draw equal numbers, whatever was drawn before."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


#: First numbers of keys after the seed, so that no two purposes share their draws.
_SIZES, _ORDER, _CHANGES = 1, 2, 3


def epoch_order(settings: YoloxSettings, epoch: int, count: int) -> NDArray[np.int64]:
    """The order ``(count,)`` in which an epoch sees the images."""
    return generator(settings.seed, _ORDER, epoch).permutation(count)


class Augmenter:
    """Draws the changes of one image of one epoch.

    Args:
        read: gives the sample with an index, as it is on disk.
        count: number of samples.
        with_objects: indices of samples that hold an object; MixUp takes its second image from these.
        settings: which changes are made how often.
    """

    def __init__(self, read: Callable[[int], Sample], count: int, with_objects: Sequence[int], settings: YoloxSettings) -> None:
        self._read, self._count, self._with_objects, self._settings = read, count, with_objects, settings

    def sample(self, index: int, epoch: int, size: Size) -> Sample:
        """Sample ``index`` as ``epoch`` sees it, at ``size`` (height, width); the last ``plain_epochs`` only jitter and flip."""
        settings = self._settings
        rng = generator(settings.seed, _CHANGES, epoch, index)
        plain = epoch >= settings.epochs - settings.plain_epochs
        composed = not plain and rng.random() < settings.mosaic_probability
        sample = self._mosaic(index, rng, size) if composed else self._read(index)
        if not composed and not plain:
            sample = self._single(sample, rng, size)
        if rng.random() < settings.hsv_probability:
            sample = Sample(hsv_jittered(sample.image, rng), sample.boxes, sample.classes)
        if rng.random() < settings.flip_probability:
            sample = flipped(sample)
        return letterboxed_sample(sample, size)

    def _single(self, sample: Sample, rng: np.random.Generator, size: Size) -> Sample:
        """The changes that belong to mosaics, made to one image: the map as often as asked, MixUp where there are no mosaics."""
        settings = self._settings
        if settings.affine_probability and rng.random() < settings.affine_probability:
            matrix = affine_matrix(
                rng, size, degrees=settings.degrees, scale=(1.0, 1.0), shear=settings.shear, translate=settings.translate
            )
            # the matrix maps the middle of a canvas of twice the size: the image is in the middle of it
            matrix[:, 2] += matrix[:, :2] @ (size[1] / 2, size[0] / 2)
            sample = affine(letterboxed_sample(sample, size), matrix, size)
        if settings.mosaic_probability or not settings.mixup_probability:
            return sample
        return self._mixed(letterboxed_sample(sample, size), rng)

    def _mixed(self, sample: Sample, rng: np.random.Generator) -> Sample:
        settings = self._settings
        if self._with_objects and len(sample.boxes) and rng.random() < settings.mixup_probability:
            other = self._with_objects[int(rng.integers(len(self._with_objects)))]
            return mixup(sample, self._read(other), rng, scale=settings.mixup_scale)
        return sample

    def _mosaic(self, index: int, rng: np.random.Generator, size: Size) -> Sample:
        settings = self._settings
        chosen = [index, *rng.integers(0, self._count, 3).tolist()]
        canvas = mosaic([self._read(each) for each in chosen], size, rng)
        matrix = affine_matrix(
            rng, size, degrees=settings.degrees, scale=settings.mosaic_scale, shear=settings.shear, translate=settings.translate
        )
        return self._mixed(affine(canvas, matrix, size), rng)


def _paste(canvas: Pixels, piece: Pixels, left: int, top: int) -> None:
    """Copy what of ``piece``, with its corner at ``left``, ``top``, lies on ``canvas``."""
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(canvas.shape[1], left + piece.shape[1]), min(canvas.shape[0], top + piece.shape[0])
    if x1 > x0 and y1 > y0:
        canvas[y0:y1, x0:x1] = piece[y0 - top : y1 - top, x0 - left : x1 - left]
