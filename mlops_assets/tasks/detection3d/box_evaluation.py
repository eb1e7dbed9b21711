"""Average precision, recall, precision and confusion of boxes in space, without KITTI's limits of size in the image.

KITTI's own numbers (``detection.kitti_evaluation``) ask how high an object is in the image and count recall at 40 places, so that
a perfect detector of ten objects gets 0.25. What a model is released by must not depend on either; here

* an object counts if its label has a box with at least one LiDAR point in it, however small it is in the image;
* an object without a point, and one of a class too much like it (Van for Car, Person_sitting for Pedestrian), is neither right
  nor wrong;
* a detection that the image does not show was left out before; one whose rectangle lies by more than half in a DontCare region
  is not counted where it finds nothing;
* detections take, the surest first, the free object of their class that they overlap most, by the minimum overlap or more;
  overlap is intersection over union of upright boxes in the camera frame, as KITTI's;
* average precision is the mean of the interpolated precision at recall 0, 0.01 … 1 (COCO's 101 places).

Source: Lin et al., "Microsoft COCO", 2014, for matching and interpolation; Sun et al., "Waymo Open Dataset", 2020, for counting
objects by their points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.kitti.boxes import has_box
from mlops_assets.data.kitti.labels import DONT_CARE, KittiObjects
from mlops_assets.errors import DataRejected
from mlops_assets.tasks.detection.kitti_evaluation import NEIGHBOURS
from mlops_assets.tasks.detection.kitti_pairs import Overlaps, joined, overlaps_of
from mlops_assets.tasks.detection.overlap import Floats

OVERLAPS: Final = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
RECALLS: Final = np.linspace(0, 1, 101)
#: A detection lies in a DontCare region from this share of its own rectangle on.
EXCUSED_SHARE: Final = 0.5
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class LabelledObjects:
    """The labels of a frame, DontCare included, and ``points`` ``(N,)`` int64: LiDAR points in each box."""

    objects: KittiObjects
    points: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClassCurve:
    """One class; shares of 1.

    Attributes:
        objects: how many count.
        detections: how many are right or wrong at overlap 0.5.
        average_precision: by minimum overlap, in the order of ``OVERLAPS``; None where no object counts.
        scores: ``(D,)`` of the detections that are right or wrong at overlap 0.5, falling.
        right: ``(D,)`` whether each is right.
    """

    name: str
    objects: int
    detections: int
    average_precision: tuple[float, ...] | None
    scores: Floats
    right: NDArray[np.bool_]

    def at(self, score: float) -> tuple[int, int]:
        """How many detections of this score or more are right, and how many there are."""
        chosen = self.scores >= score
        return int(self.right[chosen].sum()), int(chosen.sum())

    def precision_recall(self) -> tuple[Floats, Floats]:
        """Precision and recall ``(D,)`` after each detection, the surest first."""
        hits = np.cumsum(self.right)
        return hits / np.arange(1, len(hits) + 1), hits / max(self.objects, 1)


@dataclass(frozen=True)
class BoxEvaluation:
    """All classes; means are over those of which an object counts, None where there is none."""

    frames: int
    classes: tuple[ClassCurve, ...]

    @property
    def map_50(self) -> float | None:
        """Mean of the classes' average precision at overlap 0.5."""
        return self._mean(slice(0, 1))

    @property
    def map_50_95(self) -> float | None:
        """The same over 0.5, 0.55 … 0.95."""
        return self._mean(slice(None))

    def _mean(self, which: slice) -> float | None:
        values = [np.mean(entry.average_precision[which]) for entry in self.classes if entry.average_precision is not None]
        return float(np.mean(values)) if values else None

    def recall(self, score: float) -> float | None:
        """Share of all objects that a detection of this score or more finds; None without objects."""
        objects = sum(entry.objects for entry in self.classes)
        return sum(entry.at(score)[0] for entry in self.classes) / objects if objects else None

    def precision(self, score: float) -> float | None:
        """Share of all detections of this score or more that are right; None without detections."""
        counts = [entry.at(score) for entry in self.classes]
        detections = sum(count for _, count in counts)
        return sum(right for right, _ in counts) / detections if detections else None


def evaluate_boxes(
    labels: Mapping[str, LabelledObjects], detections: Mapping[str, KittiObjects], classes: Sequence[str]
) -> BoxEvaluation:
    """Judge detections against labels, both by frame name.

    Raises:
        DataRejected: no frame, or a frame on one side only.
    """
    pairs = _Pairs.of(labels, detections)
    return BoxEvaluation(len(labels), tuple(_curve(pairs, name) for name in classes))


def confusion(
    labels: Mapping[str, LabelledObjects], detections: Mapping[str, KittiObjects], classes: Sequence[str], *, score: float
) -> list[list[int]]:
    """Counts of detections of this score or more; rows are true classes, columns detected ones, the last of both background.

    Objects and detections meet whatever their classes, the surest first, from an overlap of 0.5 on. The last row holds
    detections that meet nothing, the last column objects that nothing meets. Neither right nor wrong is as above, for each class.

    Raises:
        DataRejected: no frame, or a frame on one side only.
    """
    pairs = _Pairs.of(labels, detections)
    number = {name: position for position, name in enumerate(classes)}
    background = len(classes)
    truth_class = np.array([number.get(name, -1) for name in pairs.truths.names.tolist()], dtype=np.int64)
    found_class = np.array([number.get(name, -1) for name in pairs.found.names.tolist()], dtype=np.int64)
    counted = (truth_class >= 0) & (pairs.points > 0)
    near = np.isin(pairs.truths.names, [other for name, other in NEIGHBOURS.items() if name in number])
    ignored = near | ((truth_class >= 0) & (pairs.points == 0))
    matrix = np.zeros((background + 1, background + 1), dtype=np.int64)
    considered = (found_class >= 0) & (pairs.scores >= score)
    took = _matches(pairs, considered, counted, ignored, OVERLAPS[0])
    for row in np.flatnonzero(considered).tolist():
        truth = int(took[row])
        if truth >= 0:
            matrix[truth_class[truth], found_class[row]] += 1
        elif truth == _NOTHING and not pairs.excused[row]:
            matrix[background, found_class[row]] += 1
    missed = counted.copy()
    missed[took[took >= 0]] = False
    for kind in truth_class[missed].tolist():
        matrix[kind, background] += 1
    counts: list[list[int]] = matrix.tolist()
    return counts


_NOTHING, _IGNORED = -1, -2


@dataclass(frozen=True, eq=False)
class _Pairs:
    """All frames as one: labels, detections, and which of them overlap in space."""

    truths: KittiObjects
    points: NDArray[np.int64]
    found: KittiObjects
    scores: Floats
    space: Overlaps
    excused: NDArray[np.bool_]

    @classmethod
    def of(cls, labels: Mapping[str, LabelledObjects], detections: Mapping[str, KittiObjects]) -> _Pairs:
        if not labels or set(labels) != set(detections):
            raise DataRejected(
                "every frame needs labels and detections",
                field="detections",
                given=f"{len(labels)} frames with labels, {len(detections)} with detections",
                next_step="give every frame on both sides; one without objects is there and empty",
            )
        names = sorted(labels)
        truths, truth_begins = joined([labels[name].objects for name in names])
        found, begins = joined([detections[name] for name in names])
        image, _, space = overlaps_of(truths, truth_begins, found, begins)
        covering = (truths.names[image.truth] == DONT_CARE) & (image.of_detection > EXCUSED_SHARE)
        excused = np.zeros(len(found), dtype=np.bool_)
        excused[image.detection[covering]] = True
        points = np.concatenate([np.where(has_box(labels[name].objects), labels[name].points, 0) for name in names])
        scores = np.zeros(0) if found.scores is None else found.scores
        return cls(truths, points, found, scores, space, excused)


def _curve(pairs: _Pairs, name: str) -> ClassCurve:
    mine = pairs.truths.names == name
    counted = mine & (pairs.points > 0)
    ignored = (pairs.truths.names == NEIGHBOURS.get(name, "")) | (mine & ~counted)
    considered = pairs.found.names == name
    objects = int(counted.sum())
    order = _surest(pairs.scores, considered)
    values: list[float] = []
    scores, right = np.empty(0), np.empty(0, dtype=np.bool_)
    for minimum in OVERLAPS:
        took = _matches(pairs, considered, counted, ignored, minimum)[order]
        judged = (took >= 0) | ((took == _NOTHING) & ~pairs.excused[order])
        hits = (took >= 0)[judged]
        values.append(_average_precision(hits, objects))
        if minimum == OVERLAPS[0]:
            scores, right = pairs.scores[order][judged], hits
    return ClassCurve(name, objects, len(right), tuple(values) if objects else None, scores, right)


def _surest(scores: Floats, considered: NDArray[np.bool_]) -> Rows:
    rows = np.flatnonzero(considered)
    return rows[np.argsort(-scores[rows], kind="stable")]


def _matches(
    pairs: _Pairs, considered: NDArray[np.bool_], counted: NDArray[np.bool_], ignored: NDArray[np.bool_], minimum: float
) -> Rows:
    """``(D,)`` the label that each considered detection takes; ``_IGNORED`` where that is neither right nor wrong."""
    space = pairs.space
    usable = considered[space.detection] & (space.iou >= minimum) & (counted | ignored)[space.truth]
    order = np.flatnonzero(usable)
    order = order[np.argsort(space.detection[order], kind="stable")]
    begins = np.searchsorted(space.detection[order], np.arange(len(pairs.found) + 1))
    took = np.full(len(pairs.found), _NOTHING, dtype=np.intp)
    free = counted.copy()
    for row in _surest(pairs.scores, considered).tolist():
        candidates = order[begins[row] : begins[row + 1]]
        if not len(candidates):
            continue
        labels = space.truth[candidates]
        open_ones = free[labels]
        if open_ones.any():
            best = labels[open_ones][int(space.iou[candidates][open_ones].argmax())]
            took[row], free[best] = best, False
        elif ignored[labels].any():
            took[row] = _IGNORED
    return took


def _average_precision(hits: NDArray[np.bool_], objects: int) -> float:
    if not objects or not len(hits):
        return 0.0
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(found / objects, RECALLS - 1e-12, side="left")
    return float(np.where(at < len(envelope), envelope[np.minimum(at, len(envelope) - 1)], 0.0).mean())
