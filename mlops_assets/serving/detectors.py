"""What the readers of images and of clouds have in common: frame by frame from a request to its boxes, and the start-up check.

How a frame is read, and what a box is, are in ``images`` and ``clouds``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.serving.answering import Answer, Observation, PredictionFailed
from mlops_assets.serving.example_boxes import Comparison, hold_to_examples
from mlops_assets.serving.frames import frames_of
from mlops_assets.serving.graphs import ONNX_ERRORS
from mlops_assets.serving.limits import MAX_FRAME_BODY_BYTES, MAX_WAITING
from mlops_assets.serving.package import Examples
from mlops_assets.serving.refusal import InputRefused
from mlops_assets.tasks.interface import Signature

Frame = TypeVar("Frame")
Found = TypeVar("Found")


class FrameReader(ABC, Generic[Frame, Found]):
    """A reader of frames, see ``answering.Reader``: a ``Frame`` is a decoded image or cloud, ``Found`` what was detected in it.

    Attributes:
        comparison: how boxes are held to those of the native model.
    """

    media_types: tuple[str, ...]
    body_limit = MAX_FRAME_BODY_BYTES
    #: Every detection takes milliseconds of arithmetic: none may hold up the event loop.
    inline_limit = 0
    waiting_limit: int | None = MAX_WAITING

    def __init__(self, signature: Signature, version: str, comparison: Comparison) -> None:
        self.comparison = comparison
        self._field = signature.inputs[0].name
        self._tail = b',"model_version":' + msgspec.json.encode(version) + b"}"

    @abstractmethod
    def decoded(self, frame: Any, row: int) -> Frame:
        """The frame of what ``frames.frames_of`` gives for it.

        Raises:
            InputRefused: it is none, or too large.
        """

    @abstractmethod
    def _detected(self, frame: Frame) -> Found:
        """What the graphs find; any error of theirs is a fault of the model, because the frame has been checked."""

    @abstractmethod
    def objects(self, found: Found) -> list[dict[str, Any]]:
        """Boxes as an answer shows them."""

    @abstractmethod
    def _labels(self, found: Found) -> npt.NDArray[np.int64]:
        """Index of the class of each box ``(N,)``."""

    @abstractmethod
    def _observation(self, frame: Frame, found: Found) -> Observation:
        """What drift watches of a frame."""

    def detect(self, frame: Frame) -> Found:
        """What is in a frame.

        Raises:
            PredictionFailed: a graph failed, or gave no numbers.
        """
        try:
            return self._detected(frame)
        except ONNX_ERRORS as error:
            raise PredictionFailed(f"the graph failed: {error}") from error
        except (IntegrityError, UserError) as error:
            raise PredictionFailed(str(error)) from error

    def answer(self, media_type: str, body: bytes) -> Answer:
        """Boxes of every frame of the body, frame by frame; see ``answering.Reader``."""
        predictions, labels, observed = [], [], []
        for row, given in enumerate(frames_of(media_type, body, self._field)):
            frame = self.decoded(given, row)
            found = self.detect(frame)
            predictions.append({"boxes": self.objects(found)})
            labels.append(self._labels(found))
            observed.append(self._observation(frame, found))
        content = b'{"predictions":' + msgspec.json.encode(predictions) + self._tail
        return Answer(content, len(predictions), np.concatenate(labels), tuple(observed))

    def check(self, examples: Examples) -> None:
        """The graphs must find in the packaged frames what the native model found; see ``answering.Reader``."""

        def found(row: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
            return self.objects(self.detect(self.decoded(row[self._field], number)))

        try:
            hold_to_examples(examples, found, self.comparison)
        except (InputRefused, PredictionFailed, KeyError) as error:
            raise IntegrityError(f"the packaged examples cannot be predicted: {error}") from error
