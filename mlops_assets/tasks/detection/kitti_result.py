"""What a KITTI evaluation says: every number with the convention it was counted by.

Only the shapes are here; how the numbers come about is in ``kitti_evaluation``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from mlops_assets.errors import NotFound

Metric = Literal["bbox", "aos", "bev", "3d"]
Difficulty = Literal["easy", "moderate", "hard"]
RecallPositions = Literal["R40", "R11"]
METRICS: tuple[Metric, ...] = ("bbox", "aos", "bev", "3d")
#: As people write them in tables.
_METRIC_NAMES = {"bbox": "2D AP", "aos": "AOS", "bev": "BEV AP", "3d": "3D AP"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KittiNumber(_Frozen):
    """One average precision (or average orientation similarity), in percent.

    Attributes:
        class_name: the class as KITTI writes it, ``Car``.
        metric: ``bbox`` boxes in the image, ``aos`` their orientation, ``bev`` boxes from above, ``3d`` boxes in space.
        difficulty: which ground truth counts (height, occlusion, truncation), see ``kitti_evaluation.DIFFICULTIES``.
        overlaps: name of the table of minimum overlaps, ``strict`` is the official one.
        min_overlap: intersection over union that a match must exceed.
        recall_positions: ``R40`` mean over recall 1/40 … 40/40 (official since 2019-10-08), ``R11`` over 0, 0.1 … 1 (before).
        value: 0 … 100.
    """

    class_name: str
    metric: Metric
    difficulty: Difficulty
    overlaps: str
    min_overlap: float
    recall_positions: RecallPositions
    value: float

    @property
    def convention(self) -> str:
        """For people: ``Car 3D AP_R40@0.70 moderate``."""
        return f"{self.class_name} {_METRIC_NAMES[self.metric]}_{self.recall_positions}@{self.min_overlap:.2f} {self.difficulty}"


class KittiCurve(_Frozen):
    """One precision (or orientation similarity) curve at recall 0, 1/40 … 1: ``(41,)``, 0 … 1, never rising.

    ``ground_truths`` is how many objects counted. With fewer than 40 of them even perfect detections do not fill the curve:
    R40 is then at most ``ground_truths / 40 * 100``.
    """

    class_name: str
    metric: Metric
    difficulty: Difficulty
    overlaps: str
    min_overlap: float
    ground_truths: int
    values: tuple[float, ...]


class NotEvaluated(_Frozen):
    """A class and metric without a number, and why: ``no_detections``, ``no_box`` or ``no_orientation``."""

    class_name: str
    metric: Metric
    reason: Literal["no_detections", "no_box", "no_orientation"]


class KittiEvaluation(_Frozen):
    """A whole evaluation.

    Attributes:
        frames: how many were judged.
        numbers: one for every evaluated class, metric, difficulty, table of overlaps and set of recall positions.
        curves: what the numbers are means of.
        not_evaluated: the combinations that have none. They are not zero: the devkit leaves them out.
        other_detections: how many detections bear a name that is none of the evaluated classes; a wrong class list shows here.
    """

    frames: int
    numbers: tuple[KittiNumber, ...]
    curves: tuple[KittiCurve, ...]
    not_evaluated: tuple[NotEvaluated, ...]
    other_detections: dict[str, int]

    def number(
        self,
        class_name: str,
        metric: Metric,
        difficulty: Difficulty,
        *,
        overlaps: str = "strict",
        recall_positions: RecallPositions = "R40",
    ) -> KittiNumber:
        """The number of exactly this convention.

        Raises:
            NotFound: it was not evaluated.
        """
        wanted = (class_name, metric, difficulty, overlaps, recall_positions)
        for number in self.numbers:
            if (number.class_name, number.metric, number.difficulty, number.overlaps, number.recall_positions) == wanted:
                return number
        raise NotFound(
            f"no KITTI number for {' '.join(wanted)}",
            given=" ".join(wanted),
            allowed=sorted({f"{n.class_name} {n.metric} {n.difficulty} {n.overlaps} {n.recall_positions}" for n in self.numbers}),
            next_step="not_evaluated of the evaluation says why a class or metric is missing",
        )
