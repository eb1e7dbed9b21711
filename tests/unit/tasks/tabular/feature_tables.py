"""Small tables as a prepared dataset, and the feature folder made of them; what is in it is held by the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_assets.data.dataset import Column, PreparedDataset
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.interface import FeatureSummary
from mlops_assets.tasks.tabular.features import prepare_features

KINDS = {"f": "number", "O": "category", "M": "timestamp"}


def write_dataset(
    folder: Path, frames: dict[str, pd.DataFrame], target: str = "y", ignored: dict[str, str] | None = None, **named: Any
) -> Path:
    """A prepared dataset folder of these frames; float columns are numbers, object ones categories, datetimes timestamps."""
    folder.mkdir(parents=True, exist_ok=True)
    types = {"f": pa.float64(), "O": pa.string(), "M": pa.timestamp("us", tz="UTC"), "i": pa.int64()}
    first = next(iter(frames.values()))
    schema = pa.schema([(name, types[first[name].dtype.kind]) for name in first.columns])
    for split, frame in frames.items():
        pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), folder / f"{split}.parquet")
    ignored = ignored or {}
    columns = tuple(
        Column(name=name, kind=KINDS[first[name].dtype.kind], missing=0, distinct=1)
        for name in first.columns
        if name != target and name not in ignored
    )
    prepared = PreparedDataset(
        dataset_id="d", version="sha256-0", target=target, positive_class=None, columns=columns, ignored=ignored, sensitive=(),
        timestamp=named.get("timestamp"), entity=named.get("entity"), rows={s: len(f) for s, f in frames.items()}, removed={},
        split="random", seed=42, target_counts={}, checks=(), digest="0" * 64,
    )  # fmt: skip
    (folder / "dataset.json").write_text(prepared.model_dump_json())
    return folder


def request(task: str = "classification", language: str = "en", **preprocessing: Any) -> TrainingRequest:
    content = {
        "model_id": "line", "dataset": {"dataset_id": "d"}, "learning_type": "supervised", "task_type": task,
        "algorithm": "random_forest", "preprocessing": preprocessing, "language": language,
    }  # fmt: skip
    return TrainingRequest.model_validate(content)


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Numbers with gaps, Japanese categories with gaps, and a label."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "年齢 (歳)": rng.normal(40, 12, rows).round(1),
            "a": rng.exponential(1e3, rows),
            'a.b "c"': rng.integers(0, 4, rows).astype(float),
            "都市": rng.choice(["東京", "大阪", "札幌", "福岡"], rows).astype(object),
            "plan|x": rng.choice(["basic", "pro"], rows).astype(object),
            "y": rng.choice(["no", "yes"], rows).astype(object),
        }
    )
    for name in frame.columns[:-1]:
        frame.loc[rng.random(rows) < 0.1, name] = np.nan if frame[name].dtype.kind == "f" else None
    return frame


def splits(train: int = 200, other: int = 40) -> dict[str, pd.DataFrame]:
    return {"train": table(train, 1), "validation": table(other, 2), "test": table(other, 3)}


def prepare(folder: Path, frames: dict[str, pd.DataFrame], asked: TrainingRequest | None = None, **named: Any) -> FeatureSummary:
    return prepare_features(write_dataset(folder / "data", frames, **named), asked or request(), folder / "out")


def matrix(folder: Path, split: str = "train") -> np.ndarray:
    with np.load(folder / "out" / f"{split}.npz", allow_pickle=False) as arrays:
        return arrays["X"]


def feature(folder: Path, summary: FeatureSummary, name: str, split: str = "train") -> np.ndarray:
    return matrix(folder, split)[:, summary.feature_names.index(name)]


NUMBERS = ["年齢 (歳)", "a", 'a.b "c"']
CATEGORIES = ["都市", "plan|x"]
