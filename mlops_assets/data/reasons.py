"""Why something is wrong with a file, a frame or a label, as a code with values: said in words where a person reads it.

The English line beside a reason is for the command line and the UI; threads and reports take the sentence ``reason.<code>`` of
their language instead. Only the codes are here: who finds what is in ``kitti``, ``frame_copying`` and ``frame_quality``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from mlops_assets.errors import DataRejected
from mlops_assets.request.schema import Frozen

ReasonCode = Literal[
    # of a file beside what was registered
    "missing", "no_access", "resized", "grown", "altered",
    # of what is in a file that is as it was registered; the last four say no more than what it is not
    "empty", "cut_off", "not_text", "columns", "value", "twice", "lacks", "not_finite", "detections",
    "image", "cloud", "calibration", "labels",
    # of one label
    "unknown_class", "misspelt_class", "box_outside_image", "box_without_area", "box_dimensions", "box_behind_camera",
    "box_disagrees",
    # of the dataset as a whole
    "class_without_objects", "class_not_in_splits", "more",
]  # fmt: skip


class Reason(Frozen):
    """One reason; ``values`` are the fields of its sentence, and may be a stranger's text."""

    code: ReasonCode
    values: dict[str, int | float | str] = Field(default_factory=dict)


def because(code: ReasonCode, **values: float | str) -> Reason:
    """The reason ``code`` with the fields of its sentence."""
    return Reason(code=code, values=values)


class FileRejected(DataRejected):
    """A file that cannot be read as what it should be; ``reason`` is None where its error line says it best."""

    def __init__(
        self,
        headline: str,
        *,
        reason: Reason | None = None,
        field: str | None = None,
        given: object = None,
        allowed: Sequence[str] = (),
        next_step: str | None = None,
    ) -> None:
        self.reason = reason
        super().__init__(headline, field=field, given=given, allowed=allowed, next_step=next_step)
