"""Small real packages for the serving tests: ONNX graphs whose right answers are known in closed form; no training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h

from mlops_assets.serving.package import MANIFEST, Examples, Manifest, ModelMetadata, make_manifest
from mlops_assets.serving.packaging import build_package
from mlops_assets.tasks.interface import InputField, Signature

CITIES = {"東京": 0.5, "大阪": -0.5, "new, york": 1.0}
CLASSES = ("いいえ", "はい")
SIGNATURE = Signature(
    task_type="classification",
    inputs=(
        InputField(name="年齢", kind="number", required=True, minimum=18, maximum=90, example=42.0),
        InputField(name="income", kind="number", required=False, minimum=0, maximum=9e6, example=350.5),
        InputField(name="city", kind="string", required=False, categories=tuple(CITIES), example="東京"),
        InputField(name="joined", kind="timestamp", required=False, example="2026-01-31T09:00:00Z"),
    ),
    classes=CLASSES,
    target="解約",
)
ROWS: tuple[dict[str, Any], ...] = (
    {"年齢": 42, "income": 350.5, "city": "東京", "joined": "2026-01-31T09:00:00Z"},
    {"年齢": 20.5, "income": None, "city": "new, york", "joined": 1_700_000_000},
    {"年齢": -3},
    {"年齢": 77, "income": 0, "city": "unknown", "joined": None},
)


def probability(row: dict[str, Any], weight: float) -> float:
    """The second class's probability as the fabricated graph computes it."""
    from mlops_assets.serving.inputs import epoch_seconds

    income = row.get("income")
    joined = row.get("joined")
    logit = weight * row["年齢"] / 100 + (0.25 if income is None else income / 1000)
    logit += CITIES.get(row.get("city") or "", 0.0)
    logit += 0.0 if joined is None else epoch_seconds(joined) / 1e10
    return 1 / (1 + math.exp(-logit))


def classifier(weight: float) -> bytes:
    """The graph of ``probability``: NaN is imputed, cities are looked up, a missing timestamp counts nothing."""

    def const(name: str, value: float) -> Any:
        return h.make_node("Constant", [], [name], value=h.make_tensor(name, T.FLOAT, [1], [value]))

    ml = {"domain": "ai.onnx.ml"}
    nodes = [
        const("hundred", 100 / weight),
        const("thousand", 1000.0),
        const("quarter", 0.25),
        const("zero", 0.0),
        const("one", 1.0),
        const("big", 1e10),
        const("half", 0.5),
        h.make_node("Div", ["年齢", "hundred"], ["a"]),
        h.make_node("Div", ["income", "thousand"], ["b0"]),
        h.make_node("IsNaN", ["income"], ["b1"]),
        h.make_node("Where", ["b1", "quarter", "b0"], ["b"]),
        h.make_node(
            "LabelEncoder",
            ["city"],
            ["c"],
            keys_strings=list(CITIES),
            values_floats=list(CITIES.values()),
            default_float=0.0,
            **ml,
        ),
        h.make_node("Cast", ["joined"], ["d0"], to=T.FLOAT),
        h.make_node("Div", ["d0", "big"], ["d1"]),
        h.make_node("Abs", ["d1"], ["d2"]),
        h.make_node("Less", ["d2", "hundred_days"], ["d3"]),
        h.make_node("Where", ["d3", "d1", "zero"], ["d"]),
        h.make_node("Sum", ["a", "b", "c", "d"], ["logit"]),
        h.make_node("Sigmoid", ["logit"], ["p1"]),
        h.make_node("Sub", ["one", "p1"], ["p0"]),
        h.make_node("Concat", ["p0", "p1"], ["probabilities"], axis=1),
        h.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    nodes.insert(0, const("hundred_days", 1e6))
    inputs = [
        h.make_tensor_value_info("年齢", T.FLOAT, [None, 1]),
        h.make_tensor_value_info("income", T.FLOAT, [None, 1]),
        h.make_tensor_value_info("city", T.STRING, [None, 1]),
        h.make_tensor_value_info("joined", T.INT64, [None, 1]),
    ]
    outputs = [h.make_tensor_value_info("label", T.INT64, [None]), h.make_tensor_value_info("probabilities", T.FLOAT, [None, 2])]
    return _model(nodes, inputs, outputs)


def regressor() -> bytes:
    """value = 2 * x."""
    nodes = [
        h.make_node("Constant", [], ["two"], value=h.make_tensor("two", T.FLOAT, [1], [2.0])),
        h.make_node("Constant", [], ["flat"], value=h.make_tensor("flat", T.INT64, [1], [-1])),
        h.make_node("Mul", ["x", "two"], ["column"]),
        h.make_node("Reshape", ["column", "flat"], ["value"]),
    ]
    return _model(
        nodes, [h.make_tensor_value_info("x", T.FLOAT, [None, 1])], [h.make_tensor_value_info("value", T.FLOAT, [None])]
    )


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> bytes:
    graph = h.make_graph(nodes, "fabricated", inputs, outputs)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def metadata(version: str, model_id: str = "churn", task_type: str = "classification") -> ModelMetadata:
    return ModelMetadata(
        model_id=model_id,
        version=version,
        training_id="train-20260131-090000-abcd",
        algorithm="fabricated",
        task_type=task_type,
        hyperparameters={"weight": 1.0},
        metrics={"auc_roc": 0.91},
        dataset_id="people",
        dataset_version="sha256-0123456789abcdef",
        plan_digest="0" * 64,
        code_version="0.1.0",
        created_at="2026-01-31T09:00:00+00:00",
    )


def export_folder(folder: Path, weight: float = 1.0) -> Path:
    """An export of the classifier: graph, signature and examples."""
    folder.mkdir(parents=True)
    chances = [probability(row, weight) for row in ROWS]
    examples = Examples(
        rows=ROWS,
        labels=tuple(CLASSES[int(p > 0.5)] for p in chances),
        probabilities=tuple((1 - p, p) for p in chances),
    )
    (folder / "model.onnx").write_bytes(classifier(weight))
    (folder / "signature.json").write_text(SIGNATURE.model_dump_json(), encoding="utf-8")
    (folder / "examples.json").write_text(examples.model_dump_json(), encoding="utf-8")
    return folder


def package(folder: Path, version: str = "v1.0.0", weight: float = 1.0, model_id: str = "churn") -> Path:
    """A complete package of the classifier at ``folder``."""
    export = export_folder(folder.with_name(folder.name + "-export"), weight)
    build_package(export, metadata(version, model_id), folder)
    return folder


def regression_package(folder: Path, field: str = "x") -> Path:
    export = folder.with_name(folder.name + "-export")
    export.mkdir(parents=True)
    signature = Signature(
        task_type="regression", inputs=(InputField(name=field, kind="number", required=True, example=1.0),), target="y"
    )
    (export / "model.onnx").write_bytes(regressor())
    (export / "signature.json").write_text(signature.model_dump_json())
    (export / "examples.json").write_text(Examples(rows=({field: 1.5},), values=(3.0,)).model_dump_json())
    build_package(export, metadata("v1.0.0", "doubling", "regression"), folder)
    return folder


def with_wrong_example(package_folder: Path) -> Path:
    """Make the package consistent in itself, but with an example that the graph does not confirm."""
    path = package_folder / "examples.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["probabilities"][0] = [0.123, 0.877]
    path.write_text(json.dumps(content), encoding="utf-8")
    return resealed(package_folder)


def resealed(package_folder: Path) -> Path:
    """Write the manifest anew, as somebody would who altered the package on purpose."""
    manifest: Manifest = make_manifest(package_folder)
    (package_folder / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")
    return package_folder


def big_batch(rows: int) -> list[dict[str, Any]]:
    ages = np.linspace(18, 90, rows)
    return [{"年齢": float(age), "income": 100.0, "city": "大阪", "joined": "2026-01-31"} for age in ages]
