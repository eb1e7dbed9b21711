"""Which detection found which object, and what follows: curves, an operating threshold, counts at it, a confusion matrix.

For boxes in images and in space alike: only overlaps come in. Average precision is counted by ``coco_evaluation`` and
``kitti_evaluation``; drawing is in ``detection_figures``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlops_assets.tasks.detection.coco_evaluation import ImageBoxes
from mlops_assets.tasks.detection.overlap import Floats, axis_aligned_iou, image_intersections, ratios

#: Last row and column of a confusion matrix: detections of nothing, and objects that nobody found.
BACKGROUND: Final = "background"
OVERLAP: Final = 0.5
NOBODY: Final = -1

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FramePairs:
    """One frame's objects and detections.

    Attributes:
        truths: ``(T,)`` class number of each object to find.
        classes: ``(D,)`` class number of each detection.
        scores: ``(D,)``, higher is surer.
        overlaps: ``(T, D)`` intersection over union, 0 … 1.
        excused: ``(D,)`` bool: where it finds nothing, the detection is not wrong either (a region to ignore).
    """

    truths: Rows
    classes: Rows
    scores: Floats
    overlaps: Floats
    excused: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ClassCurve:
    """One class over all frames, detections from the surest on.

    Attributes:
        objects: how many there are to find.
        scores, recall, precision: ``(K,)`` after each detection that counts.
    """

    objects: int
    scores: Floats
    recall: Floats
    precision: Floats


@dataclass(frozen=True)
class Counts:
    """Detections at a threshold that found an object, found none, and objects that nobody found."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float | None:
        """Share of the detections that are right; None without a detection."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else None

    @property
    def recall(self) -> float | None:
        """Share of the objects that are found; None without an object."""
        return self.right / (self.right + self.missed) if self.right + self.missed else None


def image_pairs(truth: ImageBoxes, found: ImageBoxes) -> FramePairs:
    """The pairs of one image. A detection is excused when half of it lies in a crowd region of its class, as COCO counts it."""
    crowd = np.zeros(len(truth.boxes), np.bool_) if truth.crowd is None else truth.crowd
    regions, kinds = truth.boxes[crowd], truth.classes[crowd]
    areas = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(axis=1)
    shares = ratios(image_intersections(regions[:, None], found.boxes[None]), np.broadcast_to(areas, (len(regions), len(areas))))
    excused = ((shares >= OVERLAP) & (kinds[:, None] == found.classes[None])).any(axis=0)
    scores = np.zeros(len(found.boxes)) if found.scores is None else found.scores
    return FramePairs(truth.classes[~crowd], found.classes, scores, axis_aligned_iou(truth.boxes[~crowd], found.boxes), excused)


def matches(frame: FramePairs, overlap: float = OVERLAP) -> Rows:
    """``(D,)`` the object of its own class that each detection found, or ``NOBODY``.

    The surest detection chooses first: of the objects that are left, the one that it overlaps most, if by ``overlap`` at least.
    What a detection finds does not depend on less sure ones, so a threshold on the score may be applied afterwards.
    """
    found = np.full(len(frame.classes), NOBODY, np.int64)
    left = frame.overlaps.copy()
    for row in np.argsort(-frame.scores, kind="stable"):
        mine = np.where(frame.truths == frame.classes[row], left[:, row], 0.0)
        if len(mine) and mine.max() >= overlap:
            found[row] = int(mine.argmax())
            left[found[row]] = 0.0
    return found


def class_curves(frames: Sequence[FramePairs], classes: int, overlap: float = OVERLAP) -> tuple[ClassCurve, ...]:
    """Precision and recall of each class over all frames."""
    kinds, scores, right = _ranked(frames, overlap)
    return tuple(
        _curve(sum(int((frame.truths == number).sum()) for frame in frames), scores[kinds == number], right[kinds == number])
        for number in range(classes)
    )


def best_threshold(frames: Sequence[FramePairs], overlap: float = OVERLAP) -> tuple[float, float] | None:
    """Score from which on detections are kept so that F1 over all classes together is largest, and that F1.

    Half way between the last score kept and the next; None where no detection is right. Of equal F1 the lowest threshold.
    """
    _, scores, right = _ranked(frames, overlap)
    objects = sum(len(frame.truths) for frame in frames)
    if not right.any():
        return None
    f1 = 2 * np.cumsum(right) / (np.arange(1, len(right) + 1) + objects)
    # equal scores are kept or dropped together
    ends = np.append(scores[1:] != scores[:-1], True)
    last = int(np.flatnonzero(ends & (f1 >= f1[ends].max()))[-1])
    following = float(scores[last + 1]) if last + 1 < len(scores) else 0.0
    return round((float(scores[last]) + following) / 2, 6), float(f1[last])


def counts_at(frames: Sequence[FramePairs], threshold: float, classes: int, overlap: float = OVERLAP) -> tuple[Counts, ...]:
    """Each class's counts at scores of ``threshold`` or more."""
    curves = class_curves(frames, classes, overlap)
    counted = []
    for curve in curves:
        kept = int((curve.scores >= threshold).sum())
        right = round(curve.precision[kept - 1] * kept) if kept else 0
        counted.append(Counts(right, kept - right, curve.objects - right))
    return tuple(counted)


def together(counts: Sequence[Counts]) -> Counts:
    """All classes' counts in one."""
    return Counts(sum(one.right for one in counts), sum(one.wrong for one in counts), sum(one.missed for one in counts))


def confusion_matrix(frames: Sequence[FramePairs], threshold: float, classes: int, overlap: float = OVERLAP) -> list[list[int]]:
    """``(classes + 1) x (classes + 1)``; rows: true class, columns: detected class, the last of both ``BACKGROUND``.

    First every detection finds an object of its own class (``matches``), so that the diagonal is what recall and precision count;
    then those left over, surest first, find an object of another class that is left over too. The rest is background: objects
    that nobody found, and detections of nothing that are not excused.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for frame in frames:
        found = matches(frame, overlap)
        found[frame.scores < threshold] = NOBODY
        free = frame.overlaps.copy()
        free[found[found != NOBODY]] = 0.0
        for row in np.argsort(-frame.scores, kind="stable"):
            if found[row] == NOBODY and frame.scores[row] >= threshold and not frame.excused[row]:
                if len(free) and free[:, row].max() >= overlap:
                    found[row] = int(free[:, row].argmax())
                    free[found[row]] = 0.0
                else:
                    matrix[classes, frame.classes[row]] += 1
        paired = found != NOBODY
        np.add.at(matrix, (frame.truths[found[paired]], frame.classes[paired]), 1)
        nobody = np.delete(frame.truths, found[paired])
        np.add.at(matrix, (nobody, np.full(len(nobody), classes)), 1)
    rows: list[list[int]] = matrix.tolist()
    return rows


def _ranked(frames: Sequence[FramePairs], overlap: float) -> tuple[Rows, Floats, NDArray[np.bool_]]:
    """Class, score and whether it is right, of every detection that counts, the surest first."""
    kinds, scores, right = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0, np.bool_)]
    for frame in frames:
        found = matches(frame, overlap) != NOBODY
        counts = found | ~frame.excused
        kinds.append(frame.classes[counts])
        scores.append(frame.scores[counts])
        right.append(found[counts])
    every = np.concatenate(scores)
    order = np.argsort(-every, kind="stable")
    return np.concatenate(kinds)[order], every[order], np.concatenate(right)[order]


def _curve(objects: int, scores: Floats, right: NDArray[np.bool_]) -> ClassCurve:
    found = np.cumsum(right)
    return ClassCurve(objects, scores, found / max(objects, 1), found / np.arange(1, len(right) + 1))
