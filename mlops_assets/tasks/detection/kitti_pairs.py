"""Label and detection pairs of the same frame that overlap at all, for a whole data set at once.

Overlaps are counted here once; the evaluation of every class, difficulty and minimum overlap reads them from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.kitti.labels import KittiObjects
from mlops_assets.tasks.detection.overlap import Floats, bev_intersections, image_intersections, ratios

Integers = NDArray[np.intp]
_PAIRS_AT_ONCE = 1 << 18  # about 100 MB of intermediate arrays


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Pairs with an overlap above 0, by ground truth and then by detection, both in the order of the files.

    Attributes:
        truth, detection: ``(P,)`` row numbers in the data set.
        iou: ``(P,)`` intersection over union.
        of_detection: ``(P,)`` intersection over the detection's own area or volume.
    """

    truth: Integers
    detection: Integers
    iou: Floats
    of_detection: Floats


def joined(frames: Sequence[KittiObjects]) -> tuple[KittiObjects, Integers]:
    """The objects of all frames one after the other, and ``(frames + 1,)`` where each frame begins."""
    begins = np.concatenate([[0], np.cumsum([len(frame) for frame in frames])]).astype(np.intp)
    scored = all(frame.scores is not None for frame in frames)
    objects = KittiObjects(
        names=np.concatenate([frame.names for frame in frames]),
        truncation=np.concatenate([frame.truncation for frame in frames]),
        occlusion=np.concatenate([frame.occlusion for frame in frames]),
        alpha=np.concatenate([frame.alpha for frame in frames]),
        boxes_2d=np.concatenate([frame.boxes_2d for frame in frames]),
        dimensions=np.concatenate([frame.dimensions for frame in frames]),
        locations=np.concatenate([frame.locations for frame in frames]),
        rotation_y=np.concatenate([frame.rotation_y for frame in frames]),
        scores=np.concatenate([frame.scores for frame in frames if frame.scores is not None]) if scored else None,
    )
    return objects, begins


def overlaps_of(
    truths: KittiObjects, truth_begins: Integers, detections: KittiObjects, detection_begins: Integers
) -> tuple[Overlaps, Overlaps, Overlaps]:
    """Overlaps in the image, from above and in space.

    From above is the plane of x and z of rectified camera 0; boxes are upright, so space adds the overlap along y.
    Source: ``imageBoxOverlap``, ``groundBoxOverlap``, ``box3DOverlap`` of the KITTI object development kit.
    """
    found: tuple[list[Overlaps], list[Overlaps], list[Overlaps]] = ([], [], [])
    for truth, detection in _same_frame(truth_begins, detection_begins):
        found[0].append(_in_image(truths, detections, truth, detection))
        above, space = _in_space(truths, detections, truth, detection)
        found[1].append(above)
        found[2].append(space)
    image, above, space = (_concatenated(blocks) for blocks in found)
    return image, above, space


def _same_frame(truth_begins: Integers, detection_begins: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Row numbers of every label beside every detection of its frame, in blocks that fit into memory."""
    per_truth = np.repeat(np.diff(detection_begins), np.diff(truth_begins))
    first_detection = np.repeat(detection_begins[:-1], np.diff(truth_begins))
    ends = np.cumsum(per_truth)
    start = 0
    while start < len(per_truth):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _PAIRS_AT_ONCE, side="right")))
        counts = per_truth[start:stop]
        truth = np.repeat(np.arange(start, stop), counts)
        within = np.arange(len(truth)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield truth, within + first_detection[truth]
        start = stop


def _in_image(truths: KittiObjects, detections: KittiObjects, truth: Integers, detection: Integers) -> Overlaps:
    one, two = truths.boxes_2d[truth], detections.boxes_2d[detection]
    shared = image_intersections(one, two)
    own_one = (one[:, 2] - one[:, 0]) * (one[:, 3] - one[:, 1])
    own_two = (two[:, 2] - two[:, 0]) * (two[:, 3] - two[:, 1])
    return _kept(truth, detection, shared, own_one, own_two)


def _in_space(truths: KittiObjects, detections: KittiObjects, truth: Integers, detection: Integers) -> tuple[Overlaps, Overlaps]:
    flat_truths, flat_detections = _from_above(truths), _from_above(detections)
    reach_truths, reach_detections = (np.hypot(flat[:, 2], flat[:, 3]) / 2 for flat in (flat_truths, flat_detections))
    away = np.hypot(*(flat_truths[truth, :2] - flat_detections[detection, :2]).T)
    near = away < reach_truths[truth] + reach_detections[detection]
    truth, detection = truth[near], detection[near]
    one, two = flat_truths[truth], flat_detections[detection]
    shared = bev_intersections(one, two)
    area_one, area_two = one[:, 2] * one[:, 3], two[:, 2] * two[:, 3]
    above = _kept(truth, detection, shared, area_one, area_two)
    # y points down and the location is the bottom: a box reaches from y - height to y. Heights are taken relative to the
    # label's bottom, so that two equal boxes have exactly their own height in common.
    tall_one, tall_two = truths.dimensions[truth, 0], detections.dimensions[detection, 0]
    lower = detections.locations[detection, 1] - truths.locations[truth, 1]
    rise = np.maximum(np.minimum(lower, 0) - np.maximum(lower - tall_two, -tall_one), 0)
    return above, _kept(truth, detection, shared * rise, area_one * tall_one, area_two * tall_two)


def _from_above(objects: KittiObjects) -> Floats:
    """``(N, 5)`` x, z, length, width, yaw from x towards z: the plane seen from above, rectified camera 0."""
    return np.column_stack((objects.locations[:, [0, 2]], objects.dimensions[:, [2, 1]], -objects.rotation_y))


def _kept(truth: Integers, detection: Integers, shared: Floats, own_one: Floats, own_two: Floats) -> Overlaps:
    rows = np.flatnonzero(shared > 0)
    truth, detection, shared, own_one, own_two = truth[rows], detection[rows], shared[rows], own_one[rows], own_two[rows]
    return Overlaps(truth, detection, ratios(shared, own_one + own_two - shared), ratios(shared, own_two))


def _concatenated(blocks: Sequence[Overlaps]) -> Overlaps:
    rows, numbers = np.empty(0, dtype=np.intp), np.empty(0)
    return Overlaps(
        np.concatenate([rows, *(block.truth for block in blocks)]),
        np.concatenate([rows, *(block.detection for block in blocks)]),
        np.concatenate([numbers, *(block.iou for block in blocks)]),
        np.concatenate([numbers, *(block.of_detection for block in blocks)]),
    )
