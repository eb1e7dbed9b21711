"""Labelled images to learn from: arrays in memory or files read when they are needed, with COCO-style boxes.

Mistakes that would silently train a useless detector (class numbers, boxes outside, unreadable files) are refused by name.
What is drawn on them is in ``augmentation``.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from mlops_assets.errors import DataRejected
from mlops_assets.tasks.detection2d.augmentation import IGNORED, Boxes, Pixels, Sample

#: Boxes may end so many pixels outside of their image: files of boxes are rounded.
_TOLERANCE = 1.0


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image and its boxes, not read yet.

    Attributes:
        name: how errors call it.
        source: the file, or the pixels ``(H, W, 3)`` uint8, RGB.
        boxes: ``(N, 4)`` float32, left, top, right, bottom [px].
        classes: ``(N,)`` int64, index of the class, or -1 (``IGNORED``): nothing is known about this region.
        size: height, width [px] that the labels state; None: not stated.
    """

    name: str
    source: Path | Pixels
    boxes: Boxes
    classes: NDArray[np.int64]
    size: tuple[int, int] | None = None


def labelled_image(
    name: str, source: Path | Pixels, boxes: ArrayLike, classes: ArrayLike, *, size: tuple[int, int] | None = None
) -> LabelledImage:
    """A labelled image with checked boxes ``(N, 4)`` left, top, right, bottom [px] and classes ``(N,)``; no rows: an empty image.

    Raises:
        DataRejected: shapes that do not belong together, numbers that are not finite, a box without area.
    """
    corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4) if np.size(boxes) else np.zeros((0, 4), np.float32)
    kinds = np.asarray(classes, dtype=np.int64).reshape(-1)
    if len(corners) != len(kinds):
        raise DataRejected(f"image {name} has {len(corners)} boxes and {len(kinds)} classes", field="boxes")
    wrong = ~(np.isfinite(corners).all(axis=1) & (corners[:, 2:] > corners[:, :2]).all(axis=1))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataRejected(
            f"box {row} of image {name} has no area",
            field="boxes",
            given=corners[row].tolist(),
            allowed=("left < right and top < bottom, in pixels",),
            next_step="boxes are left, top, right, bottom; COCO files hold left, top, width, height",
        )
    return LabelledImage(name, source, corners, kinds, size)


class DetectionDataset:
    """Images with boxes of ``class_names``.

    Args:
        images: what there is; may be empty, images may be without boxes.
        class_names: names in the order of the class numbers.
        cache_bytes: pixels read from files are kept up to so many bytes.

    Raises:
        DataRejected: a class number without a name.
    """

    def __init__(self, images: Sequence[LabelledImage], class_names: Sequence[str], *, cache_bytes: int = 0) -> None:
        self._images = tuple(images)
        self.class_names = tuple(class_names)
        for image in self._images:
            strange = image.classes[(image.classes < IGNORED) | (image.classes >= len(self.class_names))]
            if len(strange):
                raise DataRejected(
                    f"image {image.name} has a box of a class that has no name",
                    field="classes",
                    given=int(strange[0]),
                    allowed=[f"{number} ({name})" for number, name in enumerate(self.class_names)],
                    next_step="class numbers start at 0; -1 marks a region to ignore",
                )
        self._free = cache_bytes
        self._kept: dict[int, Pixels] = {}
        self._lock = threading.Lock()

    @classmethod
    def of_arrays(
        cls, images: Sequence[Pixels], boxes: Sequence[ArrayLike], classes: Sequence[ArrayLike], class_names: Sequence[str]
    ) -> Self:
        """A dataset in memory; see ``labelled_image`` for shapes and errors."""
        made = zip(images, boxes, classes, strict=True)
        return cls([labelled_image(str(n), image, box, kind) for n, (image, box, kind) in enumerate(made)], class_names)

    @classmethod
    def of_coco(cls, annotations: Path, folder: Path, class_names: Sequence[str] | None = None, *, cache_bytes: int = 0) -> Self:
        """The images of a COCO file; ``file_name`` is relative to ``folder``; boxes with ``iscrowd`` become ignored regions.

        ``class_names`` picks and orders the categories; boxes of others are left out. None: all, by category id.

        Raises:
            DataRejected: the file is not COCO's, names a file outside of ``folder``, an unknown image or category, a class of
            ``class_names`` that it does not have, or a box without area or outside of its image.
        """
        return cls(*_coco(annotations, folder, class_names), cache_bytes=cache_bytes)

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> LabelledImage:
        """Image ``index``, not read."""
        return self._images[index]

    def sample(self, index: int) -> Sample:
        """Image ``index`` with its pixels.

        Raises:
            DataRejected: the file cannot be read as an image, or its size is not the one that the labels state.
        """
        image = self._images[index]
        return Sample(self._pixels(index, image), image.boxes, image.classes)

    def with_objects(self) -> tuple[int, ...]:
        """Indices of images that hold at least one object."""
        return tuple(index for index, image in enumerate(self._images) if (image.classes != IGNORED).any())

    def counts(self) -> dict[str, int]:
        """Class name -> number of objects."""
        every = np.concatenate([image.classes for image in self._images]) if self._images else np.zeros(0, np.int64)
        return {name: int((every == number).sum()) for number, name in enumerate(self.class_names)}

    def digest(self) -> str:
        """SHA-256 over names, boxes, classes and the pixels held in memory; files are told by name only."""
        found = hashlib.sha256(json.dumps(self.class_names).encode())
        for image in self._images:
            found.update(json.dumps([image.name, len(image.boxes)]).encode())
            found.update(image.boxes.tobytes() + image.classes.tobytes())
            if isinstance(image.source, np.ndarray):
                found.update(str(image.source.shape).encode() + image.source.tobytes())
        return found.hexdigest()

    def _pixels(self, index: int, image: LabelledImage) -> Pixels:
        if isinstance(image.source, np.ndarray):
            return image.source
        with self._lock:
            kept = self._kept.get(index)
        if kept is not None:
            return kept
        pixels = read_image(image.source)
        if image.size is not None and pixels.shape[:2] != image.size:
            raise DataRejected(
                f"image {image.source} has another size than its labels say",
                given=f"{pixels.shape[0]} x {pixels.shape[1]}",
                allowed=(f"{image.size[0]} x {image.size[1]} (height x width)",),
                next_step="its boxes belong to another image: convert the labels again",
            )
        with self._lock:
            if index not in self._kept and pixels.nbytes <= self._free:
                self._free -= pixels.nbytes
                self._kept[index] = pixels
        return pixels


def read_image(path: Path) -> Pixels:
    """The pixels ``(H, W, 3)`` uint8, RGB, of an image file.

    Raises:
        DataRejected: the file is missing, damaged, or no image.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataRejected(
            f"image {path} cannot be read: {error}", field="file_name", next_step="restore the file or take it out of the labels"
        ) from error


def _coco(annotations: Path, folder: Path, class_names: Sequence[str] | None) -> tuple[list[LabelledImage], tuple[str, ...]]:
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
        categories = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        entries = {int(entry["id"]): entry for entry in content["images"]}
        rows: dict[int, list[dict[str, Any]]] = {number: [] for number in entries}
        for annotation in content["annotations"]:
            rows[int(annotation["image_id"])].append(annotation)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataRejected(
            f"{annotations} is not a COCO file of boxes: {type(error).__name__}: {error}",
            next_step="it needs images, annotations and categories, every annotation the image_id of one of the images",
        ) from error
    names = tuple(class_names) if class_names is not None else tuple(categories[number] for number in sorted(categories))
    if missing := [name for name in names if name not in categories.values()]:
        raise DataRejected(
            f"{annotations} has no such category", field="classes", given=missing[0], allowed=sorted(categories.values())
        )
    numbers = {number: names.index(name) for number, name in categories.items() if name in names}
    return [_coco_image(annotations, folder, entry, rows[n], categories, numbers) for n, entry in sorted(entries.items())], names


def _coco_image(
    annotations: Path,
    folder: Path,
    entry: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    categories: dict[int, str],
    numbers: dict[int, int],
) -> LabelledImage:
    name = str(entry.get("file_name", ""))
    path = folder / name
    if not name or not path.resolve().is_relative_to(folder.resolve()):
        raise DataRejected(f"{annotations} names an image outside of {folder}", field="file_name", given=name)
    boxes, classes = [], []
    regions: set[tuple[float, float, float, float]] = set()
    try:
        size = (int(entry["height"]), int(entry["width"]))
        for row in rows:
            category = int(row["category_id"])
            if category not in categories:
                raise DataRejected(
                    f"{annotations}: annotation {row.get('id')} of {name} has an unknown category",
                    field="category_id",
                    given=category,
                    allowed=[f"{number} ({known})" for number, known in sorted(categories.items())],
                )
            if category not in numbers:
                continue
            left, top, width, height = (float(value) for value in row["bbox"])
            corners, kind = (left, top, left + width, top + height), IGNORED if row.get("iscrowd") else numbers[category]
            if kind == IGNORED and corners in regions:
                continue  # one DontCare is a crowd region of every category
            regions.update([corners] if kind == IGNORED else [])
            boxes.append(corners)
            classes.append(kind)
    except (KeyError, TypeError, ValueError) as error:
        raise DataRejected(f"{annotations}: image {name} has a damaged entry: {type(error).__name__}: {error}") from error
    image = labelled_image(name, path, boxes, classes, size=size)
    limits = np.array((size[1], size[0], size[1], size[0]), np.float32)
    inside = np.clip(image.boxes, 0, limits)
    over = ((image.boxes < -_TOLERANCE) | (image.boxes > limits + _TOLERANCE)).any(axis=1)
    over |= (inside[:, 2:] <= inside[:, :2]).any(axis=1)
    if over.any():
        raise DataRejected(
            f"{annotations}: a box of {name} lies outside of the image of {size[1]} x {size[0]}",
            field="bbox",
            given=image.boxes[int(over.argmax())].tolist(),
            next_step="bbox is left, top, width, height in pixels of this image; cut boxes at its borders",
        )
    return LabelledImage(name, path, inside, image.classes, size)
