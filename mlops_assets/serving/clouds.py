"""Detectors of point clouds: x, y, z and reflectance of every point in, boxes in space out, both in the LiDAR frame.

Reading the request; pillars, graphs and decoding are those of ``tasks.detection3d``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.serving.answering import Observation
from mlops_assets.serving.detectors import FrameReader
from mlops_assets.serving.example_boxes import Comparison
from mlops_assets.serving.frames import JSON, base64_bytes, refused
from mlops_assets.serving.graphs import detector_threads
from mlops_assets.serving.limits import MAX_POINTS
from mlops_assets.serving.refusal import echo
from mlops_assets.tasks.detection.drift import CONFIDENCE, cloud_quantities
from mlops_assets.tasks.detection.overlap import BEV_COLUMNS, bev_iou
from mlops_assets.tasks.detection3d.pillar_decoding import LidarDetections
from mlops_assets.tasks.detection3d.pillar_inference import OnnxPillars
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from mlops_assets.tasks.interface import Signature

ALLOWED: Final = (
    f"1 to {MAX_POINTS:,} points of x, y, z [m] and reflectance: base64 of float32 little-endian, "
    "or a list of [x, y, z, reflectance]"
)
_POINT_BYTES: Final = 16
_AXES: Final = ("x", "y", "z", "reflectance")
#: A box of the examples may differ by this share of its longest side, at least by a centimetre, and by this angle.
BOX_TOLERANCE, METRE_TOLERANCE, RADIAN_TOLERANCE = 1e-3, 0.01, 0.01

Points = NDArray[np.float32]


class CloudFiles(BaseModel):
    """Which file of the export is which graph of PointPillars; its settings file is not served, ``CloudSettings`` has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pillars: str
    canvas: str
    settings: str | None = None


class CloudSettings(BaseModel):
    """``Signature.settings`` of a detector of clouds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pillar: PillarSettings
    files: CloudFiles


class CloudReader(FrameReader[Points, LidarDetections]):
    """The two graphs of PointPillars over a cloud; frames are points ``(N, 4)`` in the LiDAR frame, and so are the boxes."""

    media_types: tuple[str, ...] = (JSON, "application/octet-stream")

    def __init__(self, signature: Signature, graphs: Mapping[str, bytes], version: str) -> None:
        """Load both graphs and hold them to the signature.

        Raises:
            IntegrityError: the settings cannot be read, or a graph is missing or does not fit them.
        """
        try:
            settings = CloudSettings.model_validate(signature.settings)
        except (ValidationError, UserError) as error:
            raise IntegrityError(f"the signature's settings are not those of a detector of clouds: {error}") from error
        if settings.pillar.class_names != signature.classes:
            raise IntegrityError(f"the settings detect {settings.pillar.class_names}, the signature says {signature.classes}")
        missing = [name for name in (settings.files.pillars, settings.files.canvas) if name not in graphs]
        if missing:
            raise IntegrityError(f"the package has no {', '.join(missing)}")
        self.settings = settings.pillar
        comparison = Comparison(
            numbers=_numbers,
            tolerances=_tolerances,
            overlap=_overlap,
            score_threshold=self.settings.score_threshold,
            overlap_threshold=self.settings.suppression_overlap,
            limit=self.settings.max_detections,
            within_class=False,
        )
        super().__init__(signature, version, comparison)
        self._places = {name: number for number, name in enumerate(signature.classes)}
        pillars, canvas = graphs[settings.files.pillars], graphs[settings.files.canvas]
        try:
            self._detector = OnnxPillars(pillars, canvas, settings.pillar, threads=detector_threads())
        except UserError as error:
            raise IntegrityError(f"the settings make no detector: {error}") from error

    def decoded(self, frame: Any, row: int) -> Points:
        """The points of a file, of base64 of one, or of a list; see ``decode_cloud``."""
        return decode_cloud(frame, row, self._field)

    def _detected(self, frame: Points) -> LidarDetections:
        return self._detector.detect(frame)

    def objects(self, found: LidarDetections) -> list[dict[str, Any]]:
        """Boxes as an answer shows them: class, score, centre [m], length, width, height [m], yaw [rad]."""
        rows = zip(found.names, found.scores.tolist(), np.round(found.boxes, 4).tolist(), strict=True)
        return [
            {"class": name, "score": round(score, 6), "center": box[:3], "size": box[3:6], "yaw": box[6]}
            for name, score, box in rows
        ]

    def _labels(self, found: LidarDetections) -> NDArray[np.int64]:
        return np.array([self._places[name] for name in found.names], dtype=np.int64)

    def _observation(self, frame: Points, found: LidarDetections) -> Observation:
        measured = cloud_quantities(frame, self.settings.range_min, self.settings.range_max)
        return {**{name: (value,) for name, value in measured.items()}, CONFIDENCE: tuple(found.scores.tolist())}


def _numbers(box: Mapping[str, Any]) -> list[float]:
    return [*map(float, box["center"]), *map(float, box["size"]), float(box["yaw"])]


def _tolerances(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    metres = np.maximum(boxes[:, 3:6].max(axis=1) * BOX_TOLERANCE, METRE_TOLERANCE)
    return np.column_stack([np.repeat(metres[:, None], 6, axis=1), np.full(len(boxes), RADIAN_TOLERANCE)])


def _overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    return bev_iou(first[:, BEV_COLUMNS], second[:, BEV_COLUMNS])


def decode_cloud(frame: Any, row: int, field: str) -> Points:
    """A cloud ``(N, 4)`` float32 from the bytes of a ``.bin`` file, base64 of them, or a list of points.

    A cloud without points is refused: a scanner that sees nothing at all is broken, and "no objects" would be a wrong answer.

    Raises:
        InputRefused: 413 for too many points, 422 for anything else that is not such a cloud.
    """
    details: dict[str, Any] = {"field": field, "row": row, "allowed": ALLOWED}
    if isinstance(frame, list):
        _hold_to_most(len(frame), row, details)  # before millions of lists become as many numbers
        points = _listed(frame, row, details)
    elif isinstance(frame, str | bytes):
        content = frame if isinstance(frame, bytes) else base64_bytes(frame, row, field)
        if len(content) % _POINT_BYTES:
            text = f"the cloud of row {row} has {len(content):,} bytes, not a whole number of {_POINT_BYTES} byte points"
            raise refused(422, "cloud", text, given=f"{len(content):,} bytes", **details)
        points = np.frombuffer(content, dtype="<f4").reshape(-1, 4)
    else:
        raise refused(422, "type", f"field {field!r} of row {row} is no cloud", given=echo(frame), **details)
    if not len(points):
        raise refused(422, "empty", f"the cloud of row {row} has no points", given=0, **details)
    _hold_to_most(len(points), row, details)
    finite = np.isfinite(points)
    if not finite.all():
        point, axis = (int(place) for place in np.argwhere(~finite)[0])
        text = f"{_AXES[axis]} of point {point} in the cloud of row {row} is {points[point, axis]}, not a finite float32"
        raise refused(422, "not_finite", text, given=str(points[point, axis]), **details)
    return points


def _hold_to_most(points: int, row: int, details: Mapping[str, Any]) -> None:
    if points > MAX_POINTS:
        raise refused(413, "too_many_points", f"the cloud of row {row} has {points:,} points", given=points, **details)


def _listed(frame: list[Any], row: int, details: Mapping[str, Any]) -> Points:
    try:
        numbers = msgspec.convert(frame, list[tuple[float, float, float, float]], strict=True)
    except msgspec.ValidationError as error:
        text = f"the cloud of row {row} is not a list of [x, y, z, reflectance]: {error}"
        raise refused(422, "cloud", text, **details) from error
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which is refused by name
        return np.array(numbers, dtype=np.float64).reshape(-1, 4).astype(np.float32)
