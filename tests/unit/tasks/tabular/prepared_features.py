"""Tiny real features folders: a feature graph that joins the inputs, its matrices, and the dataset folder that they came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlops_assets.request.schema import DatasetRequest, TrainingRequest
from mlops_assets.tasks.interface import FeatureSummary, InputField


@dataclass(frozen=True)
class Prepared:
    """What the caller of the three verbs has at hand."""

    dataset: Path
    features: Path
    classes: tuple[str, ...]

    def request(self, algorithm: str, **changes: Any) -> TrainingRequest:
        """A valid request for this data."""
        content: dict[str, Any] = {
            "model_id": "tiny",
            "dataset": DatasetRequest(dataset_id="tiny"),
            "learning_type": "supervised",
            "task_type": "classification" if self.classes else "regression",
            "algorithm": algorithm,
        }
        return TrainingRequest.model_validate(content | changes)


def silent(fraction: float, line: str, metrics: Mapping[str, float]) -> None:
    """A progress reporter for tests that do not look at progress."""


def concatenation(names: Sequence[str]) -> bytes:
    """The simplest feature graph: every raw number is a feature."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Concat", list(names), ["features"], axis=1)],
        "features",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in names],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", len(names)])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString(deterministic=True))


def write_prepared(
    folder: Path,
    x: np.ndarray,
    y: np.ndarray,
    *,
    classes: Sequence[str] = (),
    names: Sequence[str] = (),
    sizes: tuple[float, float] = (0.7, 0.15),
    shuffle: bool = True,
    positive_class: str | None = None,
) -> Prepared:
    """Write dataset and features folder of ``x`` (N, F) and ``y`` (N,): class index, or value where ``classes`` is empty."""
    import pandas as pd

    names = tuple(names) or tuple(f"column_{index}" for index in range(x.shape[1]))
    order = np.random.default_rng(0).permutation(len(y)) if shuffle else np.arange(len(y))
    first, second = int(len(y) * sizes[0]), int(len(y) * (sizes[0] + sizes[1]))
    rows = {"train": order[:first], "validation": order[first:second], "test": order[second:]}
    dataset, features = folder / "dataset", folder / "features"
    dataset.mkdir(parents=True)
    features.mkdir()
    (features / "features.onnx").write_bytes(concatenation(names))
    for split, chosen in rows.items():
        part = x[chosen].astype(np.float32)
        np.savez(features / f"{split}.npz", X=part, y=y[chosen])
        frame = pd.DataFrame(part, columns=list(names))
        frame["target"] = [classes[int(value)] for value in y[chosen]] if classes else y[chosen]
        frame.to_parquet(dataset / f"{split}.parquet")
    counts = {split: len(chosen) for split, chosen in rows.items()}
    inputs = [InputField(name=name, kind="number", required=False) for name in names]
    (features / "inputs.json").write_text(json.dumps([field.model_dump(mode="json") for field in inputs]))
    summary = FeatureSummary(
        feature_names=tuple(names), rows=counts, classes=tuple(classes), positive_class=positive_class, digest="0" * 64
    )
    (features / "summary.json").write_text(summary.model_dump_json())
    description = {
        "dataset_id": "tiny",
        "version": "sha256-0",
        "target": "target",
        "positive_class": None,
        "columns": [],
        "ignored": {},
        "sensitive": [],
        "timestamp": None,
        "entity": None,
        "rows": counts,
        "removed": {},
        "split": "random",
        "seed": 0,
        "target_counts": {},
        "checks": [],
        "digest": "0" * 64,
    }
    (dataset / "dataset.json").write_text(json.dumps(description))
    return Prepared(dataset, features, tuple(classes))
