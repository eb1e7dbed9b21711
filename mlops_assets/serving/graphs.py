"""ONNX Runtime sessions of a packaged model's graphs; which one belongs to what is the readers' business."""

from __future__ import annotations

import os

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from mlops_assets.errors import IntegrityError

THREADS_VARIABLE = "MLOPS_SERVING_THREADS"
MOST_THREADS = 256
ONNX_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(onnxruntime_errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
)


def detector_threads() -> int:
    """Threads of the arithmetic inside a detector's graph: 1, or what ``MLOPS_SERVING_THREADS`` says.

    Raises:
        IntegrityError: that is no number of threads.
    """
    given = os.environ.get(THREADS_VARIABLE, "1")
    if not given.isdecimal() or not 1 <= int(given) <= MOST_THREADS:
        raise IntegrityError(f"{THREADS_VARIABLE} is {given[:40]!r}, allowed are 1 to {MOST_THREADS}")
    return int(given)


def session_of(graph: bytes, name: str, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """The graph ready to run.

    One request, one thread, unless it is a large graph and few requests come: with many requests at once a second thread a
    request only costs switches.

    Raises:
        IntegrityError: it cannot be loaded; ``name`` says which.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Waiting threads that spin take the processor from the next request.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except ONNX_ERRORS as error:
        raise IntegrityError(f"{name} cannot be loaded: {error}") from error
