"""Prepared datasets of generated streets and requests for them, small enough to train on in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from mlops_assets.data.dataset import PreparedDataset
from mlops_assets.request.schema import DatasetRequest, Preprocessing, TrainingRequest
from sim.driving.config import WorldConfig
from sim.driving.world import World, write_world

CONFIG = WorldConfig(beams=24, azimuth_step=0.6, image_width=414, image_height=125, label_distance=20)


def silent(fraction: float, text: str, metrics: Mapping[str, float]) -> None:
    """No report."""


def write_dataset(folder: Path, train: int = 6, validation: int = 2, test: int = 3, *, seed: int = 5) -> Path:
    """A prepared dataset folder of the form kitti."""
    write_world(folder, World(seed=seed, frames=train + validation + test, config=CONFIG))
    rows = {"train": train, "validation": validation, "test": test}
    begin = 0
    for split, count in rows.items():
        (folder / "ImageSets" / f"{split}.txt").write_text("".join(f"{row:06d}\n" for row in range(begin, begin + count)))
        begin += count
    prepared = PreparedDataset(
        dataset_id="streets", version="sha256-0000000000000000", form="kitti", target="objects", positive_class=None, columns=(),
        ignored={}, sensitive=(), timestamp=None, entity=None, rows=rows, removed={}, split="listed", seed=seed,
        target_counts={}, checks=(), digest=f"{seed:064x}",
    )  # fmt: skip
    (folder / "dataset.json").write_text(prepared.model_dump_json())
    return folder


def request(
    hyperparameters: Mapping[str, JsonValue] | None = None,
    *,
    classes: tuple[str, ...] = (),
    augmentation: tuple[str, ...] = (),
    **fields: Any,
) -> TrainingRequest:
    """A request for the slim variant on a range of 17.92 x 10.24 m."""
    small = {"epochs": 3, "batch_size": 2, "forward_range": 17.92, "side_range": 5.12}
    return TrainingRequest(
        model_id="street-detector",
        dataset=DatasetRequest(dataset_id="streets", classes=classes),
        learning_type="supervised",
        task_type="detection_3d",
        hyperparameters={**small, **(hyperparameters or {})},
        preprocessing=Preprocessing(augmentation=augmentation),
        **{"algorithm": "pointpillars", "variant": "slim", **fields},
    )
