"""Which detection answers which label, at every score threshold at once: the matching of the KITTI development kit.

The devkit goes through frames, thresholds, labels and detections in four nested loops. Here one step takes the next label of
every frame at all thresholds; labels that share no candidate with another are taken in one step together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_assets.tasks.detection.kitti_pairs import Integers, Overlaps
from mlops_assets.tasks.detection.overlap import Floats

#: Part that a label or a detection plays for one class and difficulty.
COUNTS, IGNORED, ABSENT = 0, 1, -1
RECALL_STEPS = 41


@dataclass(frozen=True, eq=False)
class Roles:
    """Who counts for one class and difficulty.

    Attributes:
        truth: ``(G,)`` of ``COUNTS``, ``IGNORED`` (may take a detection, is neither hit nor miss) and ``ABSENT``.
        truth_frame: ``(G,)`` frame number of each label.
        detection: ``(D,)``; an ``IGNORED`` detection is too low in the image, whatever its class, and may still take a label.
        scores: ``(D,)``.
        dont_care: ``(G,)`` bool, labels that only excuse detections.
    """

    truth: NDArray[np.int8]
    truth_frame: Integers
    detection: NDArray[np.int8]
    scores: Floats
    dont_care: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Counts:
    """Hits, false alarms and summed orientation similarity of the hits at each of ``(T,)`` score thresholds."""

    hits: Floats
    false_alarms: Floats
    similarity: Floats


def interpolated_curves(
    overlaps: Overlaps, roles: Roles, min_overlap: float, similarity: Floats | None
) -> tuple[Floats, Floats | None]:
    """Precision and, where ``(P,)`` similarities of the pairs are given, orientation similarity: ``(41,)`` each, 0 … 1.

    Each value is the best at its recall or a higher one. Where no detection stands at a threshold at all the devkit divides
    0 by 0; here that is 0.

    Source: ``eval_class`` of the KITTI object development kit.
    """
    candidates = _Candidates(overlaps, roles, min_overlap)
    thresholds = _thresholds(candidates.recall_scores(), int(np.count_nonzero(roles.truth == COUNTS)))
    counts = candidates.count(thresholds, similarity)
    claimed = counts.hits + counts.false_alarms
    precision = _envelope(counts.hits, claimed)
    return precision, None if similarity is None else _envelope(counts.similarity, claimed)


def _envelope(part: Floats, whole: Floats) -> Floats:
    curve = np.zeros(RECALL_STEPS)
    curve[: len(part)] = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return np.maximum.accumulate(curve[::-1])[::-1]


def _thresholds(scores: Floats, truths: int) -> Floats:
    """At most 41 of the scores: those at which recall comes nearest to 0, 1/40 … 1.

    Source: ``getThresholds`` of the KITTI object development kit.
    """
    kept: list[float] = []
    recall = 0.0
    ordered = np.sort(scores)[::-1].tolist()
    for position, score in enumerate(ordered, start=1):
        last = position == len(ordered)
        if not last and (position + 1) / truths - recall < recall - position / truths:
            continue
        kept.append(score)
        recall += 1.0 / (RECALL_STEPS - 1.0)
    return np.array(kept[:RECALL_STEPS])


class _Candidates:
    """The pairs that may match: overlap above the minimum, both sides playing a part."""

    def __init__(self, overlaps: Overlaps, roles: Roles, min_overlap: float) -> None:
        self._roles = roles
        may = overlaps.iou > min_overlap
        may &= (roles.truth[overlaps.truth] != ABSENT) & (roles.detection[overlaps.detection] != ABSENT)
        self._rows = np.flatnonzero(may)
        self._truth, self._detection = overlaps.truth[self._rows], overlaps.detection[self._rows]
        self._iou = overlaps.iou[self._rows]
        excused = roles.dont_care[overlaps.truth] & (overlaps.of_detection > min_overlap)
        self._excused = np.zeros(len(roles.detection), dtype=np.bool_)
        self._excused[overlaps.detection[excused]] = True
        self._step = self._steps()

    def recall_scores(self) -> Floats:
        """Scores of the hits when every label takes its surest candidate: what recall can be reached at which score."""
        surest_first = np.lexsort((self._detection, -self._roles.scores[self._detection], self._truth))
        scores = []
        for pairs, found in self._matches(surest_first, np.ones((len(self._roles.detection), 1), dtype=np.bool_)):
            hit = pairs[found]
            scores.append(self._roles.scores[self._detection[hit[self._is_hit(hit)]]])
        return np.concatenate([np.empty(0), *scores])

    def count(self, thresholds: Floats, similarity: Floats | None) -> Counts:
        """Hits and false alarms among the detections of at least each threshold; every label takes its best overlap."""
        low = self._roles.detection[self._detection] == IGNORED
        # A detection of the class goes before any that is ignored; among ignored ones the first of the file is taken.
        best_first = np.lexsort((self._detection, np.where(low, 0, -self._iou), self._truth))
        free = self._roles.scores[:, None] >= thresholds
        hits, similar = np.zeros(len(thresholds)), np.zeros(len(thresholds))
        for pairs, found in self._matches(best_first, free):
            hit = np.zeros(pairs.shape, dtype=np.bool_)
            hit[found] = self._is_hit(pairs[found])
            hits += np.count_nonzero(hit, axis=0)
            if similarity is not None:
                similar += np.where(hit, similarity[self._rows[np.where(hit, pairs, 0)]], 0).sum(axis=0)
        alarms = free & ((self._roles.detection == COUNTS) & ~self._excused)[:, None]
        return Counts(hits, np.count_nonzero(alarms, axis=0).astype(np.float64), similar)

    def _is_hit(self, pairs: Integers) -> NDArray[np.bool_]:
        truth, detection = self._roles.truth[self._truth[pairs]], self._roles.detection[self._detection[pairs]]
        both: NDArray[np.bool_] = (truth == COUNTS) & (detection == COUNTS)
        return both

    def _matches(self, order: Integers, free: NDArray[np.bool_]) -> Iterator[tuple[Integers, NDArray[np.bool_]]]:
        """For the labels of each step: ``(labels, thresholds)`` the pair taken, and whether one was.

        ``order`` lists the pairs label by label, the preferred first. ``free`` ``(D, thresholds)`` says which detections are
        still to be had; what is taken is marked there.
        """
        step = self._step[order]
        for number in range(int(step.max()) + 1 if len(step) else 0):
            pairs = order[step == number]
            truth = self._truth[pairs]
            starts = np.flatnonzero(np.concatenate([[True], truth[1:] != truth[:-1]]))
            place = np.where(free[self._detection[pairs]], np.arange(len(pairs), dtype=np.int32)[:, None], np.int32(len(pairs)))
            first = np.minimum.reduceat(place, starts, axis=0)
            found = first < len(pairs)
            taken = pairs[np.where(found, first, 0)]
            labels, at = np.nonzero(found)
            free[self._detection[taken[labels, at]], at] = False
            yield taken, found

    def _steps(self) -> Integers:
        """``(pairs,)`` in which step the label of each pair has its turn.

        Labels of a frame have their turns in the order of the file, because one takes what the next would have liked. Only
        those that share a candidate need to wait for each other; all others go in step 0 together.
        """
        wanted = np.bincount(self._detection, minlength=len(self._roles.detection))
        contested = np.zeros(len(self._roles.truth), dtype=np.bool_)
        contested[self._truth[wanted[self._detection] > 1]] = True
        waiting = np.flatnonzero(contested)
        frame = self._roles.truth_frame[waiting]
        first_of_frame = np.searchsorted(frame, frame)  # labels lie frame by frame
        turn = np.zeros(len(self._roles.truth), dtype=np.intp)
        turn[waiting] = np.arange(len(waiting)) - first_of_frame
        return turn[self._truth]
