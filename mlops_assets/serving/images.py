"""Detectors of images: a PNG or JPEG file in, boxes in pixels of that image out.

Reading the file and calling the graph; letterbox, thresholds and suppression are those of training (``tasks.detection2d``).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlops_assets.errors import IntegrityError
from mlops_assets.serving.answering import Observation
from mlops_assets.serving.detectors import FrameReader
from mlops_assets.serving.example_boxes import Comparison
from mlops_assets.serving.frames import JSON, base64_bytes, refused
from mlops_assets.serving.graphs import detector_threads, session_of
from mlops_assets.serving.limits import MAX_IMAGE_PIXELS, MAX_JPEG_SCANS
from mlops_assets.serving.package import GRAPH
from mlops_assets.serving.refusal import echo
from mlops_assets.tasks.detection.drift import CONFIDENCE, image_quantities
from mlops_assets.tasks.detection.image_boxes import ImageBoxes
from mlops_assets.tasks.detection.overlap import axis_aligned_iou
from mlops_assets.tasks.detection2d.decoding import detections_of, network_input
from mlops_assets.tasks.detection2d.letterbox import Pixels
from mlops_assets.tasks.interface import Signature

ALLOWED: Final = f"a PNG or JPEG file of at most {MAX_IMAGE_PIXELS:,} pixels"
_FORMATS: Final = ("PNG", "JPEG")
_INPUT, _OUTPUTS = "images", ["boxes", "scores"]
#: A box of the examples may differ by this share of its longest side, at least by half a pixel; a score by ``SCORE_TOLERANCE``.
BOX_TOLERANCE, PIXEL_TOLERANCE = 1e-3, 0.5
#: What a damaged or hostile file makes Pillow raise; ``Image.open`` itself already reads parts of it.
_UNREADABLE: Final = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error, zlib.error,
    MemoryError, Image.DecompressionBombError,
)  # fmt: skip


class ImageSettings(BaseModel):
    """``Signature.settings`` of a detector of images."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input_size: tuple[int, int] = Field(description="height, width [px] of the network's input")
    score_threshold: float = Field(ge=0, le=1)
    nms_threshold: float = Field(ge=0, le=1)
    max_detections: int = Field(ge=1, le=10_000)

    @property
    def detections(self) -> int:
        """Most boxes of one image."""
        return self.max_detections


class ImageReader(FrameReader[Pixels, ImageBoxes]):
    """One graph over an image; frames are ``(H, W, 3)`` uint8, RGB, and boxes in their pixels."""

    media_types: tuple[str, ...] = (JSON, "image/png", "image/jpeg")

    def __init__(self, signature: Signature, graphs: Mapping[str, bytes], version: str) -> None:
        """Load ``model.onnx`` and hold it to the signature.

        Raises:
            IntegrityError: the settings cannot be read, or the graph does not fit them.
        """
        try:
            self.settings = ImageSettings.model_validate(signature.settings)
        except ValidationError as error:
            raise IntegrityError(f"the signature's settings are not those of a detector of images: {error}") from error
        comparison = Comparison(
            numbers=_numbers,
            tolerances=_tolerances,
            overlap=axis_aligned_iou,
            score_threshold=self.settings.score_threshold,
            overlap_threshold=self.settings.nms_threshold,
            limit=self.settings.max_detections,
            within_class=True,
        )
        super().__init__(signature, version, comparison)
        self._classes = signature.classes
        self._session = session_of(graphs[GRAPH], GRAPH, threads=detector_threads())
        self._check_graph()

    def _check_graph(self) -> None:
        height, width = self.settings.input_size
        found = [(node.name, node.type, list(node.shape[1:])) for node in self._session.get_inputs()]
        if found != [(_INPUT, "tensor(float)", [3, height, width])]:
            raise IntegrityError(f"the graph takes {found}, the signature says {_INPUT} (N, 3, {height}, {width}) float32")
        shapes = {node.name: list(node.shape) for node in self._session.get_outputs()}
        columns = {name: shapes[name][-1] if shapes.get(name) else None for name in _OUTPUTS}
        if columns != {"boxes": 4, "scores": len(self._classes)}:
            raise IntegrityError(
                f"the graph gives {shapes}, the signature says boxes (N, A, 4) and scores (N, A, {len(self._classes)})"
            )

    def decoded(self, frame: Any, row: int) -> Pixels:
        """The pixels of a file, or of base64 of one; see ``decode_image``."""
        if isinstance(frame, bytes):
            return decode_image(frame, row, self._field)
        if not isinstance(frame, str):
            text = f"field {self._field!r} of row {row} is not a string"
            raise refused(422, "type", text, field=self._field, row=row, given=echo(frame), allowed=f"base64 of {ALLOWED}")
        return decode_image(base64_bytes(frame, row, self._field), row, self._field)

    def _detected(self, frame: Pixels) -> ImageBoxes:
        boxes, scores = self._session.run(_OUTPUTS, {_INPUT: network_input(frame, self.settings.input_size)[None]})
        return detections_of(boxes[0], scores[0], (frame.shape[0], frame.shape[1]), self.settings)

    def objects(self, found: ImageBoxes) -> list[dict[str, Any]]:
        """Boxes as an answer shows them: class, score, left, top, right, bottom [px]."""
        if found.scores is None:
            return []
        rows = zip(found.classes.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
        return [
            {"class": self._classes[kind], "score": round(score, 6), "box": [round(side, 3) for side in box]}
            for kind, score, box in rows
        ]

    def _labels(self, found: ImageBoxes) -> NDArray[np.int64]:
        return found.classes

    def _observation(self, frame: Pixels, found: ImageBoxes) -> Observation:
        measured = {name: (value,) for name, value in image_quantities(frame).items()}
        return {**measured, CONFIDENCE: () if found.scores is None else tuple(found.scores.tolist())}


def _numbers(box: Mapping[str, Any]) -> list[float]:
    """Left, top, right, bottom [px] of a box of an answer."""
    return [float(side) for side in box["box"]]


def _tolerances(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes ``(N, 4)`` [px] to the difference allowed for each of their sides ``(N, 4)`` [px]."""
    longest = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    return np.repeat(np.maximum(longest * BOX_TOLERANCE, PIXEL_TOLERANCE)[:, None], 4, axis=1)


def decode_image(content: bytes, row: int, field: str) -> Pixels:
    """The pixels ``(H, W, 3)`` uint8, RGB, of a PNG or JPEG file, as they are stored: EXIF's turning is not applied.

    Grey, palettes and CMYK become RGB, transparency is dropped, of 16 bits the higher 8 stay; of an animation the first picture.

    Raises:
        InputRefused: 413 for too many pixels, 422 for another format, a damaged file, or a JPEG that takes minutes to decode.
    """
    details: dict[str, Any] = {"field": field, "row": row, "allowed": ALLOWED}
    try:
        picture = Image.open(io.BytesIO(content), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        # Pillow's own words name another limit than ours.
        raise refused(413, "too_many_pixels", f"the image of row {row} has far too many pixels", **details) from error
    except _UNREADABLE as error:
        given = _looks_like(content)
        raise refused(422, "image", f"the image of row {row} is neither PNG nor JPEG", given=given, **details) from error
    width, height = picture.size
    if width * height > MAX_IMAGE_PIXELS:
        text = f"the image of row {row} has {width * height:,} pixels"
        raise refused(413, "too_many_pixels", text, given=f"{width} x {height}", **details)
    # Inside compressed data the marker cannot occur; by chance it does once in 64 KiB of metadata.
    scans = content.count(b"\xff\xda") - len(content) // 2**16 if picture.format != "PNG" else 0
    if scans > MAX_JPEG_SCANS:
        text = f"the image of row {row} has {scans:,} scans; at most {MAX_JPEG_SCANS} are decoded"
        raise refused(422, "too_many_scans", text, given=f"{scans:,} scans", **details)
    try:
        with picture:
            return _rgb(picture)
    except _UNREADABLE as error:
        given = f"{picture.format} of {width} x {height}, {len(content):,} bytes"
        raise refused(422, "image", f"the image of row {row} is damaged: {error}", given=given, **details) from error


def _rgb(picture: Image.Image) -> Pixels:
    if picture.mode.startswith("I"):
        # Pillow's own conversion would make every level above 255 white.
        levels = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(levels[:, :, None], 3, axis=2)
    return np.asarray(picture.convert("RGB"))


def _looks_like(content: bytes) -> str:
    known = {
        b"GIF8": "GIF",
        b"BM": "BMP",
        b"RIFF": "WebP or another RIFF file",
        b"II*\0": "TIFF",
        b"MM\0*": "TIFF",
        b"%PDF": "PDF",
    }
    name = next((name for start, name in known.items() if content.startswith(start)), None)
    return f"{len(content):,} bytes" + (f", looks like {name}" if name else f" beginning with {content[:8].hex(' ')}")
