"""A package as a folder that MLflow knows as an ONNX model, so that its UI shows it and ``mlflow.onnx.load_model`` loads it.

Of a detector MLflow's form is the graph alone, tensors in and tensors out: letterbox or voxels before it and suppression after it
are our server's, and a tag of the version says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.errors import IntegrityError
from mlops_assets.serving.package import graph_names, input_kind
from mlops_assets.tasks.interface import Signature

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from onnx import ModelProto, ValueInfoProto

#: Tag of a registered version that tells who can serve it.
SERVED_BY_TAG = "served_by"

_DTYPES = {"number": "float32", "string": "str", "timestamp": "int64"}


def save_model(package: Path, folder: Path, *, run_id: str, mlflow_model_id: str, metadata: Mapping[str, str]) -> None:
    """Write MLflow's form of ``package`` into the new ``folder``; every ``*.onnx`` stays the package's own bytes.

    Raises:
        IntegrityError: the package lacks ``model.onnx``, ``signature.json`` or ``requirements.txt``, or they cannot be read.
    """
    import mlflow.onnx
    import onnx
    from google.protobuf.message import DecodeError
    from mlflow.models import Model

    graph_file, requirements = package / "model.onnx", package / "requirements.txt"
    signature = _signature(package)
    try:
        graph = onnx.load(str(graph_file))
        lines = requirements.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, DecodeError) as error:
        raise IntegrityError(f"{package} is no package that can be registered: {error}") from error
    mlflow.onnx.save_model(
        graph,
        str(folder),
        mlflow_model=Model(run_id=run_id, model_id=mlflow_model_id),
        signature=_graph_signature(graph) if input_kind(signature) != "rows" else _model_signature(signature),
        # Named, because MLflow would otherwise infer them by loading the model, for seconds.
        pip_requirements=[line for line in lines if line.strip() and not line.lstrip().startswith("#")],
        onnx_execution_providers=["CPUExecutionProvider"],
        metadata=dict(metadata),
    )
    # Saving serializes the graph anew; the digest was taken of these bytes. A detector's further graphs lie beside it.
    for name in graph_names(package):
        shutil.copyfile(package / name, folder / name)


def _signature(package: Path) -> Signature:
    try:
        return Signature.model_validate_json((package / "signature.json").read_bytes())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{package} is no package that can be registered: {error}") from error


def served_by(package: Path) -> dict[str, str]:
    """Tags of a registered version that MLflow alone cannot serve: empty for a table.

    Raises:
        IntegrityError: the package has no ``signature.json`` that can be read.
    """
    kind = input_kind(_signature(package))
    if kind == "rows":
        return {}
    before, after = ("letterbox", "suppression") if kind == "image" else ("voxels", "a second graph, decoding and suppression")
    return {
        SERVED_BY_TAG: f"mlops_assets.serving: {kind} in, boxes out. MLflow's ONNX flavour runs model.onnx alone, "
        f"without {before} before it and {after} after it"
    }


def _graph_signature(graph: ModelProto) -> ModelSignature:
    """MLflow's signature of the tensors that a graph itself takes and gives; -1 stands for a free length."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec
    from onnx import helper

    def schema(values: Sequence[ValueInfoProto]) -> Schema:
        """Names, types and shapes in the graph's order, by which MLflow matches what it is given."""
        return Schema(
            [
                TensorSpec(
                    np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
                    tuple(d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim),
                    value.name,
                )
                for value in values
            ]
        )

    return ModelSignature(inputs=schema(graph.graph.input), outputs=schema(graph.graph.output))


def _model_signature(signature: Signature) -> ModelSignature:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    inputs = [TensorSpec(np.dtype(_DTYPES[field.kind]), (-1, 1), field.name) for field in signature.inputs]
    if signature.classes:
        outputs = [
            TensorSpec(np.dtype("int64"), (-1,), "label"),
            TensorSpec(np.dtype("float32"), (-1, len(signature.classes)), "probabilities"),
        ]
    else:
        outputs = [TensorSpec(np.dtype("float32"), (-1,), "value")]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
