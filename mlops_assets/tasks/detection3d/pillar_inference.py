"""PointPillars in service: a cloud in, boxes out, with ONNX Runtime and numpy and without torch.

The two graphs and what they mean come from ``pillar_export``.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.tasks.detection3d.pillar_decoding import LidarDetections, decode_detections
from mlops_assets.tasks.detection3d.pillar_samples import PillarMaker, Pillars
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings

PILLAR_GRAPH, CANVAS_GRAPH, SETTINGS = "pillars.onnx", "model.onnx", "pointpillars.json"
#: Outputs of the second graph, in this order: (1, A * classes, H, W), (1, A * 7, H, W), (1, A * 2, H, W).
OUTPUTS = ("class_logits", "box_residuals", "direction_logits")

Floats = NDArray[np.float32]


class RawOutputs(NamedTuple):
    """The head's outputs of one frame, without the batch axis; see ``pointpillars.HeadOutputs``."""

    class_logits: Floats
    residuals: Floats
    direction_logits: Floats


class OnnxPillars:
    """A detector that is loaded once and asked many times; threads may share it, and then wait for each other."""

    def __init__(self, pillar_graph: bytes, canvas_graph: bytes, settings: PillarSettings, *, threads: int = 1) -> None:
        """Load both graphs; ``threads`` is for the arithmetic inside a graph.

        Raises:
            IntegrityError: a graph cannot be loaded, or does not belong to the settings.
        """
        self.settings = settings
        self._pillar_session = _session(pillar_graph, threads, PILLAR_GRAPH)
        self._canvas_session = _session(canvas_graph, threads, CANVAS_GRAPH)
        rows, columns = settings.canvas
        expected = [settings.pillar_channels, rows, columns]
        given = self._canvas_session.get_inputs()[0].shape[1:]
        if given != expected:
            raise IntegrityError(
                f"{CANVAS_GRAPH} takes a canvas of {given}, the settings say {expected}: they belong to two models"
            )
        self._maker = PillarMaker(settings)
        self._canvas = np.zeros((settings.pillar_channels, rows * columns), dtype=np.float32)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> OnnxPillars:
        """The detector of a folder that ``export_pointpillars`` wrote.

        Raises:
            IntegrityError: a file is damaged, or the three do not belong together.
            OSError: a file cannot be read.
        """
        try:
            settings = PillarSettings.model_validate_json((folder / SETTINGS).read_bytes())
        except (ValidationError, UserError) as error:
            raise IntegrityError(f"{folder / SETTINGS} does not hold settings: {str(error).splitlines()[0]}") from error
        return cls((folder / PILLAR_GRAPH).read_bytes(), (folder / CANVAS_GRAPH).read_bytes(), settings, threads=threads)

    def detect(self, points: ArrayLike) -> LidarDetections:
        """The objects in a cloud ``(N, 4)``: x, y, z [m] in the LiDAR frame, reflectance 0 … 1. An empty cloud is allowed.

        Raises:
            UserError: not an array of real numbers of that shape.
            IntegrityError: the network's outputs are not finite.
        """
        with self._lock:
            return self.decode(self.outputs(self.pillars(points)))

    def pillars(self, points: ArrayLike) -> Pillars:
        """First step of ``detect``: the decorated pillars."""
        return self._maker.pillars(points)

    def outputs(self, pillars: Pillars) -> RawOutputs:
        """Second step of ``detect``: both graphs, with the scatter between them."""
        return self.canvas_outputs(self.pillar_features(pillars), pillars.places)

    def pillar_features(self, pillars: Pillars) -> Floats:
        """First half of ``outputs``: features ``(P, C)`` of the pillars."""
        if not len(pillars.places):
            return np.empty((0, self.settings.pillar_channels), dtype=np.float32)
        features: Floats = self._pillar_session.run(None, {"features": pillars.features})[0]
        return features

    def canvas_outputs(self, features: Floats, places: NDArray[np.int64]) -> RawOutputs:
        """Second half of ``outputs``: features ``(P, C)`` at their places ``(P,)``, then the backbone and the head."""
        self._canvas.fill(0)
        self._canvas[:, places] = features.T
        image = self._canvas.reshape(1, -1, *self.settings.canvas)
        return RawOutputs(*(output[0] for output in self._canvas_session.run(list(OUTPUTS), {"canvas": image})))

    def decode(self, outputs: RawOutputs) -> LidarDetections:
        """Last step of ``detect``: boxes after suppression."""
        return decode_detections(*outputs, self._maker.anchors, self.settings)


def _session(graph: bytes, threads: int, name: str) -> onnxruntime.InferenceSession:  # type: ignore[name-defined]  # noqa: F821
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Waiting threads that spin take the processor from the next request, and from everything else on the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    errors = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf, errors.NotImplemented) as error:
        raise IntegrityError(f"{name} cannot be loaded: {str(error).splitlines()[0][:200]}") from error
