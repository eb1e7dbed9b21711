"""KITTI object evaluation: 2D, bird's-eye and 3D average precision, and orientation similarity, as the C++ devkit counts them.

Needs neither CUDA nor compilation. Matching is in ``kitti_matching``, overlaps in ``kitti_pairs``, shapes in ``kitti_result``.

Where Python evaluators in use differ from the devkit, this one follows the devkit: boxes that are exact copies overlap fully;
a label lower than 25 or 40 pixels is ignored, one of exactly that height counts; one detection with alpha = -10 drops the
orientation similarity of all; a small detection of any class may take a label.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.kitti.labels import DONT_CARE, KittiObjects
from mlops_assets.errors import DataRejected, UserError
from mlops_assets.tasks.detection.kitti_matching import ABSENT, COUNTS, IGNORED, Roles, interpolated_curves
from mlops_assets.tasks.detection.kitti_pairs import Overlaps, joined, overlaps_of
from mlops_assets.tasks.detection.kitti_result import (
    METRICS,
    Difficulty,
    KittiCurve,
    KittiEvaluation,
    KittiNumber,
    Metric,
    NotEvaluated,
    RecallPositions,
)
from mlops_assets.tasks.detection.overlap import Floats

CLASSES = ("Car", "Pedestrian", "Cyclist")
#: Classes so near to the key that taking one for the other is neither right nor wrong.
NEIGHBOURS = {"Car": "Van", "Pedestrian": "Person_sitting"}
_NO_ALPHA, _NO_LOCATION = -10.0, -1000.0
_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class DifficultyLimits:
    """Which labels count: at least so high in the image [px], at most so occluded and truncated."""

    name: Difficulty
    min_height: float
    max_occlusion: int
    max_truncation: float


#: Source: MIN_HEIGHT, MAX_OCCLUSION, MAX_TRUNCATION of the KITTI object development kit.
DIFFICULTIES = (
    DifficultyLimits("easy", 40, 0, 0.15),
    DifficultyLimits("moderate", 25, 1, 0.3),
    DifficultyLimits("hard", 25, 2, 0.5),
)


@dataclass(frozen=True)
class MinOverlaps:
    """Intersection over union that a match must exceed, by class: in the image, and from above and in space."""

    name: str
    image: Mapping[str, float]
    space: Mapping[str, float]

    def of(self, class_name: str, metric: Metric) -> float:
        """The minimum of this class and metric; orientation is that of boxes matched in the image."""
        return (self.image if metric in ("bbox", "aos") else self.space)[class_name]


_OFFICIAL = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}
#: The official minimum overlaps.
STRICT = MinOverlaps("strict", _OFFICIAL, _OFFICIAL)
#: The second table of OpenPCDet and mmdetection3d.
LOOSE = MinOverlaps("loose", _OFFICIAL, {"Car": 0.5, "Pedestrian": 0.25, "Cyclist": 0.25})


def evaluate_kitti(
    labels: Mapping[str, KittiObjects],
    detections: Mapping[str, KittiObjects],
    *,
    classes: Sequence[str] = CLASSES,
    overlaps: Sequence[MinOverlaps] = (STRICT, LOOSE),
) -> KittiEvaluation:
    """Judge detections against labels, both by frame name; a frame without objects is there and empty.

    A class that was never detected has no number, as with the devkit: ``not_evaluated`` says so.

    Raises:
        UserError: a class that KITTI does not evaluate, or none.
        DataRejected: no frame; a frame on one side only; detections without finite scores.

    Source: ``evaluate_object_3d_offline.cpp`` of the KITTI object development kit; R40 as of 2019-10-08.
    """
    _refuse(labels, detections, classes)
    frames = sorted(labels)
    truths, truth_begins = joined([labels[frame] for frame in frames])
    found, found_begins = joined([detections[frame] for frame in frames])
    image, above, space = overlaps_of(truths, truth_begins, found, found_begins)
    similarity = (1 + np.cos(truths.alpha[image.truth] - found.alpha[image.detection])) / 2
    parts = _Parts(truths, found, np.repeat(np.arange(len(frames)), np.diff(truth_begins)))
    missing = _not_evaluated(parts, found, classes)
    skipped = {(entry.class_name, entry.metric) for entry in missing}
    curves: list[KittiCurve] = []
    for name in classes:
        for limits in DIFFICULTIES:
            roles = parts.of(name, limits)
            if (name, "bbox") not in skipped:
                wanted = None if (name, "aos") in skipped else similarity
                curves += _curves(name, limits, "bbox", overlaps, roles, image, wanted)
            if (name, "bev") not in skipped:
                curves += _curves(name, limits, "bev", overlaps, roles, above, None)
            if (name, "3d") not in skipped:
                curves += _curves(name, limits, "3d", overlaps, roles, space, None)
    names = Counter(name for name, part in zip(found.names.tolist(), parts.detection_classes, strict=True) if part not in classes)
    return KittiEvaluation(
        frames=len(frames),
        numbers=tuple(number for curve in curves for number in _numbers(curve)),
        curves=tuple(curves),
        not_evaluated=missing,
        other_detections=dict(sorted(names.items())),
    )


def _curves(
    name: str,
    limits: DifficultyLimits,
    metric: Metric,
    overlaps: Sequence[MinOverlaps],
    roles: Roles,
    pairs: Overlaps,
    similarity: Floats | None,
) -> list[KittiCurve]:
    """One curve for each table of minimum overlaps, two where orientation is judged; equal minima are counted once."""
    known: dict[float, tuple[Floats, Floats | None]] = {}
    curves = []
    for table in overlaps:
        least = table.of(name, metric)
        if least not in known:
            known[least] = interpolated_curves(pairs, roles, least, similarity)
        named: tuple[tuple[Metric, Floats | None], ...] = ((metric, known[least][0]), ("aos", known[least][1]))
        for of, values in named:
            if values is not None:
                curve = KittiCurve(
                    class_name=name,
                    metric=of,
                    difficulty=limits.name,
                    overlaps=table.name,
                    min_overlap=least,
                    ground_truths=int(np.count_nonzero(roles.truth == COUNTS)),
                    values=tuple(values.tolist()),
                )
                curves.append(curve)
    return curves


def _numbers(curve: KittiCurve) -> tuple[KittiNumber, KittiNumber]:
    def number(positions: RecallPositions, values: Sequence[float]) -> KittiNumber:
        """In percent, summed exactly, so that the order of the positions changes no digit."""
        return KittiNumber(
            class_name=curve.class_name,
            metric=curve.metric,
            difficulty=curve.difficulty,
            overlaps=curve.overlaps,
            min_overlap=curve.min_overlap,
            recall_positions=positions,
            value=math.fsum(values) / len(values) * 100,
        )

    return number("R40", curve.values[1:]), number("R11", curve.values[::4])


class _Parts:
    """The parts that labels and detections play, by class and difficulty."""

    def __init__(self, truths: KittiObjects, found: KittiObjects, truth_frame: NDArray[np.intp]) -> None:
        self._truths, self._truth_frame = truths, truth_frame
        self.detection_classes = _canonical(found.names)
        self._truth_classes = _canonical(truths.names)
        self._scores = np.empty(0) if found.scores is None else found.scores
        self._detection_heights = np.abs(found.boxes_2d[:, 1] - found.boxes_2d[:, 3])

    def of(self, class_name: str, limits: DifficultyLimits) -> Roles:
        """Source: ``cleanData`` of the KITTI object development kit."""
        truths = self._truths
        height = truths.boxes_2d[:, 3] - truths.boxes_2d[:, 1]
        beyond = (truths.occlusion > limits.max_occlusion) | (truths.truncation > limits.max_truncation)
        beyond |= height < limits.min_height
        same = self._truth_classes == class_name
        near = self._truth_classes == NEIGHBOURS.get(class_name, "")
        truth = np.where(same & ~beyond, COUNTS, np.where(near | same, IGNORED, ABSENT)).astype(np.int8)
        low = self._detection_heights < limits.min_height
        detection = np.where(low, IGNORED, np.where(self.detection_classes == class_name, COUNTS, ABSENT)).astype(np.int8)
        return Roles(truth, self._truth_frame, detection, self._scores, self._truth_classes == DONT_CARE)


def _canonical(names: NDArray[np.str_]) -> NDArray[np.str_]:
    """The names as KITTI writes them: the devkit compares without regard to case. Unknown names stay as they are."""
    known = {name.lower(): name for name in (*CLASSES, *NEIGHBOURS.values(), DONT_CARE)}
    return np.array([known.get(name.lower(), name) for name in names.tolist()], dtype=np.str_)


def _not_evaluated(parts: _Parts, found: KittiObjects, classes: Sequence[str]) -> tuple[NotEvaluated, ...]:
    """What the devkit leaves out: its ``loadDetections`` asks these columns whether a detector gave such boxes at all."""
    no_alpha = bool((found.alpha == _NO_ALPHA).any())
    missing = []
    for name in classes:
        mine = parts.detection_classes == name
        given: dict[Metric, bool] = {
            "bbox": bool((found.boxes_2d[mine, 0] >= 0).any()),
            "bev": bool((found.locations[mine, 0] != _NO_LOCATION).any()),
            "3d": bool((found.locations[mine, 1] != _NO_LOCATION).any()),
        }
        given["aos"] = given["bbox"] and not no_alpha
        for metric in METRICS:
            if not mine.any():
                missing.append(NotEvaluated(class_name=name, metric=metric, reason="no_detections"))
            elif metric == "aos" and given["bbox"] and no_alpha:
                missing.append(NotEvaluated(class_name=name, metric=metric, reason="no_orientation"))
            elif not given[metric]:
                missing.append(NotEvaluated(class_name=name, metric=metric, reason="no_box"))
    return tuple(missing)


def _refuse(labels: Mapping[str, KittiObjects], detections: Mapping[str, KittiObjects], classes: Sequence[str]) -> None:
    unknown = [name for name in classes if name not in CLASSES]
    if unknown or not classes:
        raise UserError(
            f"KITTI does not evaluate {', '.join(unknown)}" if unknown else "no class to evaluate",
            field="classes",
            given=", ".join(classes),
            allowed=CLASSES,
            next_step="for other classes use mean average precision as COCO counts it (coco_evaluation)",
        )
    if not labels:
        raise DataRejected("there is no frame to evaluate", field="labels", next_step="name a split that has labelled frames")
    alone = sorted(set(labels) ^ set(detections))
    if alone:
        shown = ", ".join(alone[:_NAMED_AT_MOST]) + (", …" if len(alone) > _NAMED_AT_MOST else "")
        raise DataRejected(
            f"{len(alone)} frame(s) have labels only or detections only: {shown}",
            field="detections",
            given=f"{len(detections)} frames with detections, {len(labels)} with labels",
            next_step="give every frame on both sides; a frame in which nothing was found has an empty file",
        )
    for frame, objects in detections.items():
        if objects.scores is None or not np.isfinite(objects.scores).all():
            raise DataRejected(
                f"detections of frame {frame} lack a finite score",
                field=f"detections[{frame}].scores",
                given="none"
                if objects.scores is None
                else objects.scores[~np.isfinite(objects.scores)].tolist()[:_NAMED_AT_MOST],
                next_step="write the score as column 16 of every detection",
            )
