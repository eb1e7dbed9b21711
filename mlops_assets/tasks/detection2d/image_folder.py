"""The features folder of image detection: COCO annotations and images of every split. Making it is in ``preparation``.

::

    annotations/train.json  validation.json  test.json     COCO; file names are relative to the folder
    training/image_2/ID.png                                the images, hard-linked to the dataset's
    definition.md                                          what was made of the labels, for people
    summary.json                                           FeatureSummary, written last
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import ValidationError

from mlops_assets.data.dataset import Split
from mlops_assets.errors import IntegrityError
from mlops_assets.tasks.detection.coco_evaluation import ImageBoxes
from mlops_assets.tasks.detection2d.dataset import DetectionDataset
from mlops_assets.tasks.interface import FeatureSummary

ANNOTATIONS: Final = "annotations"
SUMMARY: Final = "summary.json"
DEFINITION: Final = "definition.md"
#: Decoded pixels of a split that are kept in memory.
CACHE_BYTES: Final = 1 << 30


@dataclass(frozen=True)
class ImageFolder:
    """One features folder."""

    path: Path
    summary: FeatureSummary

    @classmethod
    def read(cls, path: Path) -> ImageFolder:
        """Read ``summary.json``.

        Raises:
            IntegrityError: it is missing or not what it should be.
        """
        try:
            return cls(path, FeatureSummary.model_validate_json((path / SUMMARY).read_bytes()))
        except (OSError, ValidationError) as error:
            raise IntegrityError(f"{path} is not a complete features folder of images: {error}") from error

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the class numbers."""
        return self.summary.classes

    def annotations(self, split: Split) -> Path:
        """The COCO file of a split."""
        return self.path / ANNOTATIONS / f"{split}.json"

    def images(self, split: Split) -> DetectionDataset:
        """The labelled images of a split, read when they are needed. Raises as ``DetectionDataset.of_coco``."""
        return DetectionDataset.of_coco(self.annotations(split), self.path, self.classes, cache_bytes=CACHE_BYTES)

    def truths(self, split: Split) -> dict[str, ImageBoxes]:
        """Labels by image name, in the order of ``images``; regions to ignore are ``crowd`` and have a class.

        Raises:
            IntegrityError: the file is missing or not a COCO file of these classes.
        """
        try:
            content = json.loads(self.annotations(split).read_text(encoding="utf-8"))
            numbers = {int(entry["id"]): self.classes.index(entry["name"]) for entry in content["categories"]}
            images = sorted(content["images"], key=lambda entry: int(entry["id"]))
            rows: dict[int, list[tuple[list[float], int, bool]]] = {int(entry["id"]): [] for entry in images}
            for entry in content["annotations"]:
                left, top, width, height = entry["bbox"]
                kind = numbers[int(entry["category_id"])]
                corners = [left, top, left + width, top + height]
                rows[int(entry["image_id"])].append((corners, kind, bool(entry["iscrowd"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{self.annotations(split)} is not a COCO file of {self.classes}: {error!r}") from error
        return {str(entry["file_name"]): _boxes(rows[int(entry["id"])]) for entry in images}


def _boxes(rows: list[tuple[list[float], int, bool]]) -> ImageBoxes:
    return ImageBoxes(
        np.array([row[0] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int64),
        crowd=np.array([row[2] for row in rows], np.bool_),
    )
