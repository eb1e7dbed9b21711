"""One model version in memory: verified, loaded, checked against its own examples, and answering.

Everything between a decoded request and the bytes of its answer. Which version is active is in
``rotation``, HTTP in ``application``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from mlops_assets.errors import IntegrityError, MlopsError
from mlops_assets.serving.documentation import documentation_page
from mlops_assets.serving.inputs import Feeds, InputReader, decode_csv, decode_json
from mlops_assets.serving.package import Examples, ModelMetadata, verify
from mlops_assets.serving.refusal import InputRefused
from mlops_assets.tasks.interface import Signature

#: Largest difference that the examples may show: absolute for a probability, relative for a value above 1.
TOLERANCE = 1e-5
_TENSOR_TYPES = {"number": "tensor(float)", "string": "tensor(string)", "timestamp": "tensor(int64)"}
_ONNX_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(onnxruntime_errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
)


class PredictionFailed(MlopsError):
    """The graph could not answer a request that the signature allows: a fault of the model, not of the client."""


@dataclass(frozen=True)
class Answer:
    """A finished answer: the JSON bytes, and what the metrics want to know of it."""

    body: bytes
    rows: int
    labels: npt.NDArray[np.int64] | None


class LoadedModel:
    """A package's graph, ready to answer. Safe to use from several threads at once."""

    def __init__(self, folder: Path) -> None:
        """Verify, load and check the package in ``folder``.

        Raises:
            IntegrityError: a file differs from the manifest, the graph from the signature, or a prediction from its example.
        """
        manifest = verify(folder)
        self.digest = manifest.digest
        try:
            self.metadata = ModelMetadata.model_validate_json((folder / "model_metadata.json").read_bytes())
            self.signature = Signature.model_validate_json((folder / "signature.json").read_bytes())
            examples = Examples.model_validate_json((folder / "examples.json").read_bytes())
            self.openapi = (folder / "openapi.json").read_bytes()
            self.documentation = documentation_page(msgspec.json.decode(self.openapi)).encode()
        except (OSError, ValueError) as error:
            raise IntegrityError(f"{folder} is not a model package: {error}") from error
        graph = (folder / "model.onnx").read_bytes()
        # The bytes that run are the bytes that were verified, also if the file is changed between the two reads.
        if hashlib.sha256(graph).hexdigest() != manifest.files["model.onnx"]:
            raise IntegrityError(f"{folder / 'model.onnx'} changed while it was being loaded")
        self.session = _session(graph, folder)
        self.reader = InputReader(self.signature)
        self.classes = self.signature.classes
        self._outputs = ["label", "probabilities"] if self.classes else ["value"]
        self._tail = b',"model_version":' + msgspec.json.encode(self.metadata.version) + b"}"
        self._check_graph()
        self._check_examples(examples)

    @property
    def version(self) -> str:
        """The semantic version of the model."""
        return self.metadata.version

    def answer_json(self, body: bytes) -> Answer:
        """Predictions for a JSON body.

        Raises:
            InputRefused: the body is not what the signature allows.
            PredictionFailed: the graph failed.
        """
        rows, strict = decode_json(body)
        return self._answer(self.reader.feeds(rows, strict=strict), len(rows))

    def answer_csv(self, body: bytes) -> Answer:
        """Predictions for a CSV body with a header line; raises as ``answer_json``."""
        rows = decode_csv(body, self.reader.fields)
        return self._answer(self.reader.feeds(rows), len(rows))

    def predict(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Predictions of ``rows`` as they stand in an answer; raises as ``answer_json``."""
        decoded: list[dict[str, Any]] = msgspec.json.decode(self._answer(self.reader.feeds(rows), len(rows)).body)["predictions"]
        return decoded

    def _run(self, feeds: Feeds) -> list[npt.NDArray[Any]]:
        try:
            outputs: list[npt.NDArray[Any]] = self.session.run(self._outputs, feeds)
        except _ONNX_ERRORS as error:
            raise PredictionFailed(f"the graph failed: {error}") from error
        if not np.isfinite(outputs[-1]).all():
            raise PredictionFailed("the graph answered with NaN or infinity")
        return outputs

    def _answer(self, feeds: Feeds, rows: int) -> Answer:
        outputs = self._run(feeds)
        if not self.classes:
            values = outputs[0].reshape(-1).tolist()
            predictions: list[dict[str, Any]] = [{"value": value} for value in values]
            return Answer(b'{"predictions":' + msgspec.json.encode(predictions) + self._tail, rows, None)
        classes = self.classes
        labels = outputs[0].reshape(-1)
        predictions = [
            {"label": classes[label], "probabilities": dict(zip(classes, row, strict=True))}
            for label, row in zip(labels.tolist(), outputs[1].tolist(), strict=True)
        ]
        return Answer(b'{"predictions":' + msgspec.json.encode(predictions) + self._tail, rows, labels)

    def _check_graph(self) -> None:
        wanted = {field.tensor_name: _TENSOR_TYPES[field.kind] for field in self.signature.inputs}
        found = {node.name: node.type for node in self.session.get_inputs()}
        if wanted != found:
            differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            raise IntegrityError(
                f"the graph's inputs are not those of the signature: {', '.join(differing[:5])} "
                f"(signature {wanted.get(differing[0])}, graph {found.get(differing[0])})"
            )
        missing = sorted(set(self._outputs) - {node.name for node in self.session.get_outputs()})
        if missing:
            raise IntegrityError(f"the graph has no output named {', '.join(missing)}")

    def _check_examples(self, examples: Examples) -> None:
        """The graph must say of the packaged rows what the native model said of them."""
        if not examples.rows:
            raise IntegrityError("the package has no examples to check the graph with")
        rows = examples.rows[:1000]
        try:
            outputs = self._run(self.reader.feeds(rows))
        except (InputRefused, PredictionFailed) as error:
            raise IntegrityError(f"the packaged examples cannot be predicted: {error}") from error
        if self.classes:
            expected = np.array(examples.probabilities[: len(rows)], dtype=np.float64)
            labels = [self.classes[label] for label in outputs[0].reshape(-1).tolist()]
            differing = [i for i, (own, native) in enumerate(zip(labels, examples.labels, strict=False)) if own != native]
            if len(examples.labels) < len(rows) or differing:
                raise IntegrityError(f"examples: the graph gives another label than the native model in rows {differing[:5]}")
        else:
            expected = np.array(examples.values[: len(rows)], dtype=np.float64)
        found = outputs[-1].astype(np.float64).reshape(-1 if not self.classes else outputs[-1].shape)
        if expected.shape != found.shape:
            raise IntegrityError(f"examples: {expected.shape} native predictions for {found.shape} of the graph")
        scale = 1.0 if self.classes else np.maximum(1.0, np.abs(expected))
        largest = float(np.max(np.abs(found - expected) / scale))
        if not largest <= TOLERANCE:
            raise IntegrityError(f"examples: the graph differs from the native model by {largest:.3g}, allowed {TOLERANCE:g}")


def _session(graph: bytes, folder: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One request, one thread: with many requests at once a second thread a request only costs switches.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except _ONNX_ERRORS as error:
        raise IntegrityError(f"{folder / 'model.onnx'} cannot be loaded: {error}") from error
