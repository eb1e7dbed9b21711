"""Average precision of boxes in space by the numbers that a model is released by, without KITTI's limits of size in the image.

KITTI's own numbers (``detection.kitti_evaluation``) ask how high an object is in the image and count recall at 40 places, so that
a perfect detector of ten objects gets 0.25. What a model is released by must not depend on either; here

* an object counts if its label has a box with at least one LiDAR point in it, however small it is in the image;
* where a detection finds nothing, it is not wrong if it overlaps by half or more an object without a point or of a class too
  much like its own (Van for Car, Person_sitting for Pedestrian), or if more than half of its rectangle in the image is DontCare;
* detections that the image does not show were left out before, since KITTI labels only what its camera sees;
* overlap is intersection over union of upright boxes in the camera frame, as KITTI's; who finds whom: ``detection.confusion``;
* average precision is the mean of the interpolated precision at recall 0, 0.01 … 1 (COCO's 101 places).

Source: Lin et al., "Microsoft COCO", 2014, for the interpolation; Sun et al., "Waymo Open Dataset", 2020, for counting objects by
their points.
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
from mlops_assets.tasks.detection.confusion import OVERLAP, ClassCurve, FramePairs, class_curves
from mlops_assets.tasks.detection.kitti_evaluation import NEIGHBOURS
from mlops_assets.tasks.detection.kitti_pairs import Overlaps, joined, overlaps_of

OVERLAPS: Final = tuple(round(OVERLAP + 0.05 * step, 2) for step in range(10))
RECALLS: Final = np.linspace(0, 1, 101)
#: Recall is a ratio of whole numbers: one that equals a place must not miss it by rounding.
ROUNDING: Final = 1e-12


@dataclass(frozen=True, eq=False)
class LabelledObjects:
    """The labels of a frame, DontCare included, and ``points`` ``(N,)`` int64: LiDAR points in each box."""

    objects: KittiObjects
    points: NDArray[np.int64]


@dataclass(frozen=True)
class BoxEvaluation:
    """All classes over all frames; shares of 1.

    Attributes:
        classes: names, in the order of everything else.
        pairs: of every frame, for what else is counted of them.
        curves: of each class at overlap 0.5.
        average_precisions: of each class at each of ``OVERLAPS``; None where no object counts.
    """

    classes: tuple[str, ...]
    pairs: tuple[FramePairs, ...]
    curves: tuple[ClassCurve, ...]
    average_precisions: tuple[tuple[float, ...] | None, ...]

    @property
    def map_50(self) -> float | None:
        """Mean of average precision at overlap 0.5 over the classes with objects; None without any."""
        return self._mean(slice(0, 1))

    @property
    def map_50_95(self) -> float | None:
        """The same over 0.5, 0.55 … 0.95."""
        return self._mean(slice(None))

    def _mean(self, which: slice) -> float | None:
        values = [np.mean(entry[which]) for entry in self.average_precisions if entry is not None]
        return float(np.mean(values)) if values else None


def evaluate_boxes(
    labels: Mapping[str, LabelledObjects], detections: Mapping[str, KittiObjects], classes: Sequence[str]
) -> BoxEvaluation:
    """Judge detections of these classes against labels, both by frame name.

    Raises:
        DataRejected: no frame, or a frame on one side only.
    """
    if not labels or set(labels) != set(detections):
        raise DataRejected(
            "every frame needs labels and detections",
            field="detections",
            given=f"{len(labels)} frames with labels, {len(detections)} with detections",
            next_step="give every frame on both sides; one without objects is there and empty",
        )
    pairs = tuple(space_pairs(labels[name], detections[name], classes) for name in sorted(labels))
    by_overlap = [class_curves(pairs, len(classes), overlap) for overlap in OVERLAPS]
    averages = [
        tuple(average_precision(curves[number]) for curves in by_overlap) if by_overlap[0][number].objects else None
        for number in range(len(classes))
    ]
    return BoxEvaluation(tuple(classes), pairs, by_overlap[0], tuple(averages))


def space_pairs(labels: LabelledObjects, detections: KittiObjects, classes: Sequence[str]) -> FramePairs:
    """What counts of one frame; classes are numbered as in ``classes``, of which every detection is one."""
    number = {name: position for position, name in enumerate(classes)}
    truths, _ = joined([labels.objects])
    found, _ = joined([detections])
    image, _, space = overlaps_of(truths, _begins(truths), found, _begins(found))
    kinds = np.array([number.get(name, -1) for name in truths.names.tolist()], dtype=np.int64)
    filled = has_box(truths) & (labels.points > 0)
    counted = (kinds >= 0) & filled
    # Labels that are neither object nor background, by the class that they excuse.
    excuses = np.where(counted, -1, kinds)
    for name, neighbour in NEIGHBOURS.items():
        if name in number and neighbour not in number:
            excuses[truths.names == neighbour] = number[name]
    classes_found = np.array([number[name] for name in found.names.tolist()], dtype=np.int64)
    shared = _table(space, len(truths), len(found))
    excused = ((shared >= OVERLAP) & (excuses[:, None] >= 0) & (excuses[:, None] == classes_found[None, :])).any(axis=0)
    covered = (truths.names[image.truth] == DONT_CARE) & (image.of_detection > OVERLAP)
    excused[image.detection[covered]] = True
    scores = np.zeros(len(found)) if found.scores is None else found.scores
    return FramePairs(kinds[counted], classes_found, scores, shared[counted], excused)


def average_precision(curve: ClassCurve) -> float:
    """Mean of the best precision at each of ``RECALLS`` or beyond; 0 where a recall is never reached."""
    if not curve.objects or not len(curve.recall):
        return 0.0
    best = np.maximum.accumulate(curve.precision[::-1])[::-1]
    at = np.searchsorted(curve.recall, RECALLS - ROUNDING, side="left")
    return float(np.where(at < len(best), best[np.minimum(at, len(best) - 1)], 0.0).mean())


def _begins(objects: KittiObjects) -> NDArray[np.intp]:
    return np.array([0, len(objects)], dtype=np.intp)


def _table(pairs: Overlaps, truths: int, detections: int) -> NDArray[np.float64]:
    table = np.zeros((truths, detections))
    table[pairs.truth, pairs.detection] = pairs.iou
    return table
