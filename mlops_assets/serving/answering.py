"""What the server asks of a model whatever it predicts: the interface of the readers of rows, images and clouds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mlops_assets.errors import MlopsError
from mlops_assets.serving.package import Examples


class PredictionFailed(MlopsError):
    """The graph could not answer a request that the signature allows: a fault of the model, not of the client."""


#: Quantity -> what one frame showed of it; see ``tasks.detection.drift``.
Observation = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Answer:
    """A finished answer: the JSON bytes, and what metrics and drift want to know of it.

    Attributes:
        body: the JSON.
        rows: rows, images or clouds that were predicted.
        labels: index of the class of each row, or of each box; None where no classes are predicted.
        observed: one observation a frame; empty where nothing is watched.
    """

    body: bytes
    rows: int
    labels: npt.NDArray[np.int64] | None
    observed: tuple[Observation, ...] = ()


class Reader(Protocol):
    """From the body of a request to the body of its answer, for one kind of input. Safe to use from several threads at once.

    Attributes:
        media_types: content types that ``answer`` reads.
        body_limit: largest body [bytes].
        inline_limit: bodies up to this size [bytes] are answered so fast that they need no thread of their own.
        waiting_limit: requests that may wait for a thread; None: as many as come.
    """

    media_types: tuple[str, ...]
    body_limit: int
    inline_limit: int
    waiting_limit: int | None

    def answer(self, media_type: str, body: bytes) -> Answer:
        """The answer to a body of one of ``media_types``.

        Raises:
            InputRefused: the body is not what the signature allows.
            PredictionFailed: the graph failed.
        """
        ...

    def check(self, examples: Examples) -> None:
        """Hold the graph to what the native model said of the packaged examples.

        Raises:
            IntegrityError: they differ by more than the reader's tolerance.
        """
        ...
