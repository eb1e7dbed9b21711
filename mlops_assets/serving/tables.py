"""Models of tables: rows of fields in, a class or a value out. What a row may hold is in ``inputs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from mlops_assets.errors import IntegrityError
from mlops_assets.serving.answering import Answer, PredictionFailed
from mlops_assets.serving.graphs import ONNX_ERRORS, session_of
from mlops_assets.serving.inputs import Feeds, InputReader, decode_csv, decode_json
from mlops_assets.serving.limits import MAX_BODY_BYTES
from mlops_assets.serving.package import GRAPH, Examples
from mlops_assets.serving.refusal import InputRefused
from mlops_assets.tasks.interface import Signature

#: Largest difference that the examples may show: absolute for a probability, relative for a value above 1.
TOLERANCE = 1e-5
_TENSOR_TYPES = {"number": "tensor(float)", "string": "tensor(string)", "timestamp": "tensor(int64)"}


class TableReader:
    """One graph over the fields of a row; see ``answering.Reader``."""

    media_types: tuple[str, ...] = ("application/json", "text/csv")
    body_limit = MAX_BODY_BYTES
    #: A larger body is decoded and predicted in a thread, so that it does not hold up the small ones.
    inline_limit = 32 * 1024
    waiting_limit: int | None = None

    def __init__(self, signature: Signature, graphs: Mapping[str, bytes], version: str) -> None:
        """Load ``model.onnx`` and hold its inputs and outputs to the signature.

        Raises:
            IntegrityError: they do not fit.
        """
        self._signature = signature
        self._session = session_of(graphs[GRAPH], GRAPH)
        self._inputs = InputReader(signature)
        self._classes = signature.classes
        self._outputs = ["label", "probabilities"] if signature.classes else ["value"]
        self._tail = b',"model_version":' + msgspec.json.encode(version) + b"}"
        self._check_graph()

    def answer(self, media_type: str, body: bytes) -> Answer:
        """Predictions for a JSON body, or a CSV body with a header line; see ``answering.Reader``."""
        if media_type == "application/json":
            rows, strict = decode_json(body)
            return self._answer(self._inputs.feeds(rows, strict=strict), len(rows))
        rows = decode_csv(body, self._inputs.fields)
        return self._answer(self._inputs.feeds(rows), len(rows))

    def _run(self, feeds: Feeds) -> list[npt.NDArray[Any]]:
        try:
            outputs: list[npt.NDArray[Any]] = self._session.run(self._outputs, feeds)
        except ONNX_ERRORS as error:
            raise PredictionFailed(f"the graph failed: {error}") from error
        if not np.isfinite(outputs[-1]).all():
            raise PredictionFailed("the graph answered with NaN or infinity")
        return outputs

    def _answer(self, feeds: Feeds, rows: int) -> Answer:
        outputs = self._run(feeds)
        if not self._classes:
            values = outputs[0].reshape(-1).tolist()
            predictions: list[dict[str, Any]] = [{"value": value} for value in values]
            return Answer(b'{"predictions":' + msgspec.json.encode(predictions) + self._tail, rows, None)
        classes = self._classes
        labels = outputs[0].reshape(-1)
        predictions = [
            {"label": classes[label], "probabilities": dict(zip(classes, row, strict=True))}
            for label, row in zip(labels.tolist(), outputs[1].tolist(), strict=True)
        ]
        return Answer(b'{"predictions":' + msgspec.json.encode(predictions) + self._tail, rows, labels)

    def _check_graph(self) -> None:
        wanted = {field.tensor_name: _TENSOR_TYPES[field.kind] for field in self._signature.inputs}
        found = {node.name: node.type for node in self._session.get_inputs()}
        if wanted != found:
            differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            raise IntegrityError(
                f"the graph's inputs are not those of the signature: {', '.join(differing[:5])} "
                f"(signature {wanted.get(differing[0])}, graph {found.get(differing[0])})"
            )
        missing = sorted(set(self._outputs) - {node.name for node in self._session.get_outputs()})
        if missing:
            raise IntegrityError(f"the graph has no output named {', '.join(missing)}")

    def check(self, examples: Examples) -> None:
        """The graph must say of the packaged rows what the native model said of them; see ``answering.Reader``."""
        rows: Sequence[Any] = examples.rows[:1000]
        try:
            outputs = self._run(self._inputs.feeds(rows))
        except (InputRefused, PredictionFailed) as error:
            raise IntegrityError(f"the packaged examples cannot be predicted: {error}") from error
        if self._classes:
            expected = np.array(examples.probabilities[: len(rows)], dtype=np.float64)
            labels = [self._classes[label] for label in outputs[0].reshape(-1).tolist()]
            differing = [i for i, (own, native) in enumerate(zip(labels, examples.labels, strict=False)) if own != native]
            if len(examples.labels) < len(rows) or differing:
                raise IntegrityError(f"examples: the graph gives another label than the native model in rows {differing[:5]}")
        else:
            expected = np.array(examples.values[: len(rows)], dtype=np.float64)
        found = outputs[-1].astype(np.float64).reshape(-1 if not self._classes else outputs[-1].shape)
        if expected.shape != found.shape:
            raise IntegrityError(f"examples: {expected.shape} native predictions for {found.shape} of the graph")
        scale = 1.0 if self._classes else np.maximum(1.0, np.abs(expected))
        largest = float(np.max(np.abs(found - expected) / scale))
        if not largest <= TOLERANCE:
            raise IntegrityError(f"examples: the graph differs from the native model by {largest:.3g}, allowed {TOLERANCE:g}")
