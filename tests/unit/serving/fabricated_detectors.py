"""Small real detector packages for the serving tests: graphs whose boxes follow from the input in closed form; no training."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper
from PIL import Image

from mlops_assets.serving.package import Examples, ModelMetadata
from mlops_assets.serving.packaging import build_package
from mlops_assets.tasks.detection.drift import histogram_of
from mlops_assets.tasks.detection3d.pillar_settings import POINT_FEATURES, AnchorClass, PillarSettings
from mlops_assets.tasks.interface import Histogram, InputField, Signature

CLASSES = ("Car", "Pedestrian")
INPUT_SIZE = (64, 128)
#: Left, top, right, bottom in the letterboxed input; the third is the first again, a little moved, and is suppressed.
BOXES = ((8.0, 16.0, 40.0, 32.0), (64.0, 8.0, 72.0, 40.0), (9.0, 16.0, 41.0, 32.0))


def metadata(model_id: str, version: str, task_type: str) -> ModelMetadata:
    return ModelMetadata(
        model_id=model_id, version=version, training_id="train-20260131-090000-abcd", algorithm="fabricated",
        task_type=task_type, hyperparameters={}, metrics={"mAP@0.5": 0.5}, dataset_id="street",
        dataset_version="sha256-0123456789abcdef", plan_digest="0" * 64, code_version="0.1.0",
        created_at="2026-01-31T09:00:00+00:00",
    )  # fmt: skip


def _constant(name: str, values: Any, dtype: Any = np.float32) -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def _model(nodes: list[Any], constants: list[Any], inputs: list[Any], outputs: list[Any]) -> bytes:
    graph = h.make_graph(nodes, "fabricated", inputs, outputs, constants)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def image_graph(weight: float = 1.0) -> bytes:
    """``BOXES`` whatever is seen; the score of the Car is the mean level of the input, times ``weight``, of 255."""
    nodes = [
        h.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        h.make_node("Reshape", ["mean", "column"], ["level"]),
        h.make_node("Mul", ["level", "car"], ["seen"]),
        h.make_node("Add", ["seen", "fixed"], ["scores"]),
        h.make_node("Mul", ["level", "zero"], ["nothing"]),
        h.make_node("Add", ["nothing", "places"], ["boxes"]),
    ]
    constants = [
        _constant("column", (-1, 1, 1), np.int64),
        _constant("car", (((weight / 255, 0.0), (0.0, 0.0), (weight / 300, 0.0)),)),
        _constant("fixed", (((0.0, 0.0), (0.0, 0.75), (0.0, 0.0)),)),
        _constant("zero", np.zeros((1, 3, 4))),
        _constant("places", [BOXES]),
    ]
    inputs = [h.make_tensor_value_info("images", T.FLOAT, ["N", 3, *INPUT_SIZE])]
    outputs = [h.make_tensor_value_info("boxes", T.FLOAT, ["N", 3, 4]), h.make_tensor_value_info("scores", T.FLOAT, ["N", 3, 2])]
    return _model(nodes, constants, inputs, outputs)


def picture(level: int = 128, size: tuple[int, int] = (128, 256)) -> np.ndarray[Any, Any]:
    """An even image ``(H, W, 3)``, twice the input size by default, so that it fills it."""
    return np.full((*size, 3), level, np.uint8)


def street(seed: int, brightness: float = 110.0) -> np.ndarray[Any, Any]:
    """Noise that fills the input, of a brightness and contrast that vary a little."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(brightness + rng.normal(0, 12), 40 + rng.normal(0, 4), (64, 128, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def png(pixels: np.ndarray[Any, Any], **options: Any) -> bytes:
    return encoded(Image.fromarray(pixels), "PNG", **options)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def image_boxes(level: float, *, weight: float = 1.0, ratio: float = 0.5) -> list[dict[str, Any]]:
    """What the detector must say of an even image that fills the input at a scale of ``ratio``."""
    found = [(CLASSES[0], weight * level / 255, BOXES[0]), (CLASSES[1], 0.75, BOXES[1])]
    sure = sorted((one for one in found if one[1] >= 0.3), key=lambda one: -one[1])
    return [{"class": name, "score": score, "box": [side / ratio for side in box]} for name, score, box in sure]


def image_reference() -> dict[str, Histogram]:
    from mlops_assets.tasks.detection.drift import image_quantities

    measured = [image_quantities(street(seed)) for seed in range(1000, 1300)]
    known = {name: histogram_of([one[name] for one in measured]) for name in ("brightness", "contrast")}
    scores = [score for one in measured for score in (one["brightness"] / 255, 0.75)]
    return known | {"confidence": histogram_of(scores)}


def image_export(folder: Path, weight: float = 1.0, boxes: list[dict[str, Any]] | None = None) -> Path:
    folder.mkdir(parents=True)
    signature = Signature(
        task_type="detection_2d",
        inputs=(InputField(name="image", kind="image", required=True),),
        classes=CLASSES,
        target="objects",
        settings={"input_size": list(INPUT_SIZE), "score_threshold": 0.3, "nms_threshold": 0.5, "max_detections": 100},
        reference=image_reference(),
    )
    row = {"image": base64.b64encode(png(picture(128))).decode()}
    native = image_boxes(128, weight=weight) if boxes is None else boxes
    return _export(folder, {"model.onnx": image_graph(weight)}, signature, Examples(rows=(row,), boxes=(tuple(native),)))


def image_package(folder: Path, version: str = "v1.0.0", weight: float = 1.0, model_id: str = "street") -> Path:
    export = image_export(folder.with_name(folder.name + "-export"), weight)
    build_package(export, metadata(model_id, version, "detection_2d"), folder)
    return folder


def _export(folder: Path, graphs: dict[str, bytes], signature: Signature, examples: Examples) -> Path:
    for name, graph in graphs.items():
        (folder / name).write_bytes(graph)
    (folder / "signature.json").write_text(signature.model_dump_json(), encoding="utf-8")
    (folder / "examples.json").write_text(examples.model_dump_json(), encoding="utf-8")
    return folder


#: A grid of 4 x 4 pillars of 4 m and one class; a pillar with points is a car as its anchor has it.
PILLAR = PillarSettings(
    range_min=(0.0, -8.0, -3.0),
    range_max=(16.0, 8.0, 1.0),
    pillar_size=4.0,
    max_pillars=16,
    max_points=8,
    pillar_channels=2,
    block_strides=(1, 1, 1),
    classes=(AnchorClass(name="Car", length=3.9, width=1.6, height=1.56, z=-1.0, matched=0.6, unmatched=0.45),),
)


def pillar_graph() -> bytes:
    """Features of a pillar: the largest decorated number twice; it is above 0 wherever a point is."""
    nodes = [
        h.make_node("Abs", ["features"], ["size"]),
        h.make_node("ReduceMax", ["size"], ["most"], axes=[1, 2], keepdims=0),
        h.make_node("Unsqueeze", ["most", "axis"], ["one"]),
        h.make_node("Concat", ["one", "one"], ["pillars"], axis=1),
    ]
    inputs = [h.make_tensor_value_info("features", T.FLOAT, ["P", PILLAR.max_points, POINT_FEATURES])]
    outputs = [h.make_tensor_value_info("pillars", T.FLOAT, ["P", 2])]
    return _model(nodes, [_constant("axis", (1,), np.int64)], inputs, outputs)


def canvas_graph(logit: float = 1.0) -> bytes:
    """``logit`` for an anchor along x where a pillar has points, -9 elsewhere; residuals 0; direction: forwards."""
    rows, columns = PILLAR.canvas
    nodes = [
        h.make_node("Sign", ["canvas"], ["filled"]),
        h.make_node("Mul", ["filled", "gain"], ["raised"]),
        h.make_node("Add", ["raised", "floor"], ["class_logits"]),
        h.make_node("Concat", ["filled"] * 7, ["fourteen"], axis=1),
        h.make_node("Mul", ["fourteen", "zero"], ["box_residuals"]),
        h.make_node("Concat", ["filled", "filled"], ["four"], axis=1),
        h.make_node("Mul", ["four", "ways"], ["direction_logits"]),
    ]
    constants = [
        _constant("gain", np.array((logit + 9, 0)).reshape(1, 2, 1, 1)),
        _constant("floor", -9.0),
        _constant("zero", 0.0),
        _constant("ways", np.array((0, 1, 0, 1)).reshape(1, 4, 1, 1)),
    ]
    inputs = [h.make_tensor_value_info("canvas", T.FLOAT, [1, 2, rows, columns])]
    outputs = [
        h.make_tensor_value_info(name, T.FLOAT, [1, depth, rows, columns])
        for name, depth in (("class_logits", 2), ("box_residuals", 14), ("direction_logits", 4))
    ]
    return _model(nodes, constants, inputs, outputs)


def cloud(*places: tuple[float, float], repeat: int = 3) -> np.ndarray[Any, Any]:
    """Points ``(N, 4)`` float32 at some x, y [m]."""
    return np.array([(x, y, -1.0 + 0.1 * n, 0.25) for x, y in places for n in range(repeat)], dtype=np.float32)


def cloud_boxes(*centres: tuple[float, float], logit: float = 1.0) -> list[dict[str, Any]]:
    """Cars at the middles of pillars, as the detector must answer, in the order given."""
    score = 1 / (1 + np.exp(-logit))
    return [{"class": "Car", "score": score, "center": [x, y, -1.0], "size": [3.9, 1.6, 1.56]} for x, y in centres]


def cloud_export(folder: Path, logit: float = 1.0) -> Path:
    from mlops_assets.tasks.detection.drift import cloud_quantities

    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    clouds = [cloud(*rng.uniform((1, -7), (15, 7), (int(rng.integers(20, 60)), 2)).tolist()) for _ in range(100)]
    measured = [cloud_quantities(one, PILLAR.range_min, PILLAR.range_max) for one in clouds]
    signature = Signature(
        task_type="detection_3d",
        inputs=(InputField(name="points", kind="points", required=True),),
        classes=PILLAR.class_names,
        target="objects",
        settings={
            "pillar": PILLAR.model_dump(mode="json"),
            "files": {"pillars": "pillars.onnx", "canvas": "model.onnx", "settings": "pointpillars.json"},
        },
        reference={name: histogram_of([one[name] for one in measured]) for name in ("points", "density")},
    )
    row = {"points": base64.b64encode(cloud((6.0, 2.0)).tobytes()).decode()}
    native = [{**box, "yaw": yaw} for box, yaw in zip(cloud_boxes((6.0, 2.0), logit=logit), (0.0,), strict=True)]
    graphs = {"model.onnx": canvas_graph(logit), "pillars.onnx": pillar_graph()}
    return _export(folder, graphs, signature, Examples(rows=(row,), boxes=(tuple(native),)))


def cloud_package(folder: Path, version: str = "v1.0.0", model_id: str = "scan") -> Path:
    export = cloud_export(folder.with_name(folder.name + "-export"))
    build_package(export, metadata(model_id, version, "detection_3d"), folder)
    return folder


def changed(export: Path, name: str, **content: Any) -> None:
    """Change keys of one of an export's JSON files."""
    path = export / name
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **content}), encoding="utf-8")
