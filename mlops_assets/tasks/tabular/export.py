"""Exporting a model: one ONNX graph from raw inputs to predictions, proven against the native model on every test row.

The model's half comes from the model itself, the features' half from ``prepare``; joining and comparing them is here.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from mlops_assets.data.dataset import PreparedDataset
from mlops_assets.errors import IntegrityError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.serving.package import Examples
from mlops_assets.tasks.interface import ExportSummary, InputField, Signature
from mlops_assets.tasks.tabular.evaluation import check_belongs
from mlops_assets.tasks.tabular.feature_folder import FeatureFolder
from mlops_assets.tasks.tabular.graph import ML_DOMAIN, GraphBuilder
from mlops_assets.tasks.tabular.labels import add_label, labels_from_probabilities
from mlops_assets.tasks.tabular.native_model import NativeModel, read_model
from mlops_assets.whole_files import write_whole

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

#: Largest accepted difference: absolute for a probability, relative for a value.
TOLERANCE = 1e-5
EXAMPLES = 20
ROWS_AT_ONCE = 8_192
OLDEST_OPSET = 13
TREE_OPSETS = (3, 4)


def export(dataset: Path, features: Path, model: Path, request: TrainingRequest, out: Path) -> ExportSummary:
    """Write ``model.onnx``, ``signature.json`` and ``examples.json`` into ``out``.

    The graph is compared with the native model before anything is written: raw rows of ``dataset/test.parquet`` through the
    graph against the native model on the test features.

    Raises:
        IntegrityError: a row is predicted differently, or one of the folders is incomplete, damaged or of another training.
    """
    import pandas as pd

    from mlops_assets.tasks.tabular.raw_inputs import raw_inputs

    folder = FeatureFolder.read(features)
    native, card = read_model(model)
    check_belongs(folder, card, model)
    graph = build_graph(features / "features.onnx", native, card.classes)
    frame = pd.read_parquet(dataset / "test.parquet")
    x, _ = folder.split("test")
    if len(frame) != len(x):
        raise IntegrityError(f"{dataset / 'test.parquet'} has {len(frame)} rows, the test features have {len(x)}")
    raw = raw_inputs(frame, folder.inputs)
    expected = native.predict(x)
    content = graph.SerializeToString(deterministic=True)
    difference = compare(content, raw, expected, classes=len(card.classes))
    signature = Signature(
        task_type=request.task_type, inputs=folder.inputs, classes=card.classes, target=PreparedDataset.read(dataset).target
    )
    examples = make_examples(raw, expected, folder.inputs, card.classes)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "examples.json", examples.model_dump_json(indent=2))
    write_whole(out / "signature.json", signature.model_dump_json(indent=2))
    write_whole(out / "model.onnx", content)
    return ExportSummary(signature=signature, rows_compared=len(x), labels_equal=True, largest_difference=difference)


def build_graph(features: Path, native: NativeModel, classes: Sequence[str]) -> onnx.ModelProto:
    """``features`` (an ONNX file with the output ``features``) and ``native`` joined into one checked graph.

    Raises:
        IntegrityError: the features' graph is unreadable, has another output, or uses an operator set that the model cannot join.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import TensorProto, helper

    try:
        first = onnx.load_model(features)
    except (OSError, DecodeError) as error:
        raise IntegrityError(f"{features} is not an ONNX graph: {error}") from error
    if [output.name for output in first.graph.output] != ["features"]:
        raise IntegrityError(
            f"{features}: expected the one output 'features', found {[output.name for output in first.graph.output]}"
        )
    opsets = {entry.domain: entry.version for entry in first.opset_import}
    trees = opsets.setdefault(ML_DOMAIN, TREE_OPSETS[0])
    if opsets.get("", 0) < OLDEST_OPSET or trees not in TREE_OPSETS:
        raise IntegrityError(
            f"{features} uses operator sets {opsets}; needed: '' from {OLDEST_OPSET}, {ML_DOMAIN} in {TREE_OPSETS}"
        )
    outputs = (
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(classes)]),
        ]
        if classes
        else [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["N"])]
    )
    taken = _names(first.graph)
    if clash := taken & {output.name for output in outputs}:
        raise IntegrityError(f"{features} already uses the name of an output: {sorted(clash)}")
    builder = GraphBuilder(opset=opsets[""], taken=frozenset(taken))
    if classes:
        native.add_to(builder, "features", "probabilities")
        add_label(builder, "probabilities", "label")
    else:
        native.add_to(builder, "features", "value")
    joined = helper.make_graph(
        [*first.graph.node, *builder.nodes],
        "raw inputs to predictions",
        list(first.graph.input),
        outputs,
        initializer=[*first.graph.initializer, *builder.constants.values()],
        value_info=list(first.graph.value_info),
    )
    result = helper.make_model(
        joined,
        producer_name="issue-mlops",
        opset_imports=[helper.make_opsetid(domain, number) for domain, number in sorted(opsets.items())],
        ir_version=first.ir_version,
        functions=list(first.functions),
    )
    onnx.checker.check_model(result)
    return result


def _names(graph: onnx.GraphProto) -> set[str]:
    """Every tensor name in use."""
    used = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    for node in graph.node:
        used.update(node.input)
        used.update(node.output)
    return used


def compare(graph: bytes, raw: Mapping[str, NDArray[Any]], expected: NDArray[np.float32], *, classes: int) -> float:
    """Largest difference between ``graph`` on raw inputs and the native model's ``expected``, over every row.

    A value's difference is relative to its own size, or to the median size of all values where that is larger: next to
    zero a relative difference says nothing about a sum of float32 numbers.

    Raises:
        IntegrityError: a label differs, or a difference is above 1e-5; names the row and both sides.
    """
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    typical = float(np.nanmedian(np.abs(expected))) if len(expected) and not classes else 0.0
    largest = 0.0
    for start in range(0, len(expected), ROWS_AT_ONCE):
        native = expected[start : start + ROWS_AT_ONCE]
        feed = {name: column[start : start + ROWS_AT_ONCE] for name, column in raw.items()}
        if classes:
            labels, served = session.run(["label", "probabilities"], feed)
            native_labels = labels_from_probabilities(native)
            if (wrong := np.flatnonzero(labels != native_labels)).size:
                row = int(wrong[0])
                raise IntegrityError(
                    f"test row {start + row}: the graph says class {labels[row]} {served[row].tolist()}, "
                    f"the native model class {native_labels[row]} {native[row].tolist()}"
                )
            distance = np.abs(served.astype(np.float64) - native).max(axis=1)
        else:
            (served,) = session.run(["value"], feed)
            size = np.maximum(np.maximum(np.abs(native.astype(np.float64)), typical), np.finfo(np.float32).tiny)
            distance = np.abs(served.astype(np.float64) - native) / size
        # written so that a NaN counts as a difference
        if (wrong := np.flatnonzero(~(distance <= TOLERANCE))).size:
            row = int(wrong[0])
            raise IntegrityError(
                f"test row {start + row}: the graph gives {served[row].tolist()}, the native model {native[row].tolist()}; "
                f"they differ by {distance[row]:.3g}, allowed is {TOLERANCE:g}"
            )
        largest = max(largest, float(distance.max()))
    return largest


def make_examples(
    raw: Mapping[str, NDArray[Any]], expected: NDArray[np.float32], inputs: Sequence[InputField], classes: Sequence[str]
) -> Examples:
    """Up to twenty rows spread over the test split, as request objects, with what the native model says of them."""
    import numpy as np

    count = len(expected)
    chosen = (
        np.unique(np.linspace(0, count - 1, min(EXAMPLES, count)).round().astype(np.int64)) if count else np.zeros(0, np.int64)
    )
    rows = tuple({field.name: _json(raw[field.tensor_name][row, 0], field) for field in inputs} for row in chosen.tolist())
    shown = expected[chosen]
    if not classes:
        return Examples(rows=rows, values=tuple(_shortest(value) for value in shown))
    return Examples(
        rows=rows,
        labels=tuple(classes[index] for index in labels_from_probabilities(shown).tolist()) if count else (),
        probabilities=tuple(tuple(_shortest(value) for value in row) for row in shown),
    )


def _json(value: Any, field: InputField) -> JsonValue:
    """One graph input as a client would write it; missing is null."""
    import numpy as np

    if field.kind == "string":
        return str(value) if value else None
    if field.kind == "timestamp":
        if value == np.iinfo(np.int64).min:
            return None
        return (datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=int(value))).isoformat()
    return None if np.isnan(value) else _shortest(value)


def _shortest(value: np.float32) -> float:
    """The number with the fewest digits that reads back as the same float32."""
    return float(str(value))
