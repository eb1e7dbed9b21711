"""Prepared dataset folders of generated streets, as the data step leaves them for a detection task."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops_assets.data.dataset import KITTI, OBJECTS, PreparedDataset
from mlops_assets.request.schema import DatasetRequest, Preprocessing, TrainingRequest
from sim.driving.config import WorldConfig
from sim.driving.world import World, write_world

SMALL = WorldConfig(beams=8, azimuth_step=1.0, image_width=256, image_height=96, label_points=2)
SPLIT = {"train": range(8), "validation": range(8, 10), "test": range(10, 13)}


def prepared_frames(root: Path, splits: Mapping[str, Sequence[int]] = SPLIT, *, seed: int = 3) -> Path:
    """A prepared dataset in ``root``: frames of one seed by split, in KITTI's object layout."""
    write_world(root, World(seed=seed, frames=1 + max(max(rows, default=0) for rows in splits.values()), config=SMALL))
    for split, rows in splits.items():
        text = "".join(f"{row:06d}\n" for row in rows)
        (root / "ImageSets" / f"{split}.txt").write_text(text, encoding="utf-8")
    prepared = PreparedDataset(
        dataset_id="streets", version="sha256-0000000000000000", form=KITTI, target=OBJECTS, positive_class=None, columns=(),
        ignored={}, sensitive=(), timestamp=None, entity=None, rows={split: len(rows) for split, rows in splits.items()},
        removed={}, split="listed", seed=0, target_counts={}, checks=(), digest="0" * 64,
    )  # fmt: skip
    (root / "dataset.json").write_text(prepared.model_dump_json(), encoding="utf-8")
    return root


def relisted(root: Path, copy: Path, **splits: Sequence[int]) -> Path:
    """The frames of ``root`` in ``copy``, linked, with other lists."""
    for path in sorted(root.rglob("*")):
        target = copy / path.relative_to(root)
        if path.is_file() and path.parent.name != "ImageSets":
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    (copy / "ImageSets").mkdir(parents=True, exist_ok=True)
    for split, rows in {**SPLIT, **splits}.items():
        (copy / "ImageSets" / f"{split}.txt").write_text("".join(f"{row:06d}\n" for row in rows), encoding="utf-8")
    return copy


def asked(
    knobs: Mapping[str, Any] | None = None,
    *,
    variant: str | None = "yolox-nano",
    size: tuple[int, ...] = (96, 256),
    augmentation: tuple[str, ...] = (),
    classes: tuple[str, ...] = (),
    seed: int = 1,
    language: Any = "en",
) -> TrainingRequest:
    """A request for YOLOX."""
    return TrainingRequest(
        model_id="streets", dataset=DatasetRequest(dataset_id="streets", classes=classes), learning_type="supervised",
        task_type="detection_2d", algorithm="yolox", variant=variant, hyperparameters=dict(knobs or {}),
        preprocessing=Preprocessing(input_size=size, augmentation=augmentation), seed=seed, language=language,
    )  # fmt: skip
