"""A package as a folder that MLflow knows as an ONNX model, so that its UI shows it and ``mlflow.onnx.load_model`` loads it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.errors import IntegrityError
from mlops_assets.tasks.interface import Signature

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_DTYPES = {"number": "float32", "string": "str", "timestamp": "int64"}


def save_model(package: Path, folder: Path, *, run_id: str, mlflow_model_id: str, metadata: Mapping[str, str]) -> None:
    """Write MLflow's form of ``package`` into the new ``folder``; ``model.onnx`` stays the package's own bytes.

    Raises:
        IntegrityError: the package lacks ``model.onnx``, ``signature.json`` or ``requirements.txt``, or they cannot be read.
    """
    import mlflow.onnx
    import onnx
    from google.protobuf.message import DecodeError
    from mlflow.models import Model

    graph_file, requirements = package / "model.onnx", package / "requirements.txt"
    try:
        signature = Signature.model_validate_json((package / "signature.json").read_bytes())
        graph = onnx.load(str(graph_file))
        lines = requirements.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, DecodeError) as error:
        raise IntegrityError(f"{package} is no package that can be registered: {error}") from error
    mlflow.onnx.save_model(
        graph,
        str(folder),
        mlflow_model=Model(run_id=run_id, model_id=mlflow_model_id),
        signature=_model_signature(signature),
        # Named, because MLflow would otherwise infer them by loading the model, for seconds.
        pip_requirements=[line for line in lines if line.strip() and not line.lstrip().startswith("#")],
        onnx_execution_providers=["CPUExecutionProvider"],
        metadata=dict(metadata),
    )
    # Saving serializes the graph anew; the digest was taken of these bytes.
    shutil.copyfile(graph_file, folder / "model.onnx")


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
