"""Which detection found which object: by hand on small cases, and against COCO's own counting on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.tasks.detection.coco_evaluation import evaluate_coco
from mlops_assets.tasks.detection.confusion import (
    NOBODY,
    best_threshold,
    class_curves,
    confusion_matrix,
    counts_at,
    image_pairs,
    matches,
    together,
)
from mlops_assets.tasks.detection.image_boxes import ImageBoxes

SQUARE = (0.0, 0.0, 10.0, 10.0)


def boxes(*rows: tuple[tuple[float, ...], int, float], crowd: tuple[bool, ...] | None = None) -> ImageBoxes:
    return ImageBoxes(
        np.array([row[0] for row in rows], np.float64).reshape(-1, 4), np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64), None if crowd is None else np.array(crowd, np.bool_),
    )  # fmt: skip


def at(left: float, kind: int = 0, score: float = 0.5) -> tuple[tuple[float, ...], int, float]:
    return ((left, 0.0, left + 10.0, 10.0), kind, score)


def test_the_surest_detection_takes_the_object_and_the_second_is_wrong() -> None:
    frame = image_pairs(boxes(at(0)), boxes(at(1, score=0.6), at(0, score=0.5)))
    assert matches(frame).tolist() == [0, NOBODY]
    assert confusion_matrix([frame], 0.1, 2) == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_another_class_is_confused_and_nothing_is_background() -> None:
    truth = boxes(at(0, 0), at(100, 1), at(200, 0))
    found = boxes(at(0, 1, 0.9), at(100, 1, 0.8), at(300, 1, 0.7))
    frame = image_pairs(truth, found)
    assert confusion_matrix([frame], 0.5, 2) == [[0, 1, 1], [0, 1, 0], [0, 1, 0]]
    # a detection of the right class has the object, however sure one of another class is
    rival = image_pairs(boxes(at(0, 0)), boxes(at(0, 1, 0.9), at(1, 0, 0.3)))
    assert confusion_matrix([rival], 0.2, 2) == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert confusion_matrix([rival], 0.5, 2) == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_regions_to_ignore_excuse_their_own_class_only() -> None:
    truth = boxes(at(0), ((0.0, 0.0, 40.0, 10.0), 0, 0.0), crowd=(False, True))
    found = boxes(at(0, 0, 0.9), at(20, 0, 0.8), at(20, 1, 0.7))
    frame = image_pairs(truth, found)
    assert frame.excused.tolist() == [True, True, False]
    assert confusion_matrix([frame], 0.1, 2) == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert together(counts_at([frame], 0.1, 2)).precision == pytest.approx(1 / 2)
    assert class_curves([frame], 2)[0].precision.tolist() == [1.0]


def test_the_threshold_is_where_f1_is_largest_half_way_to_the_next_score() -> None:
    frame = image_pairs(boxes(at(0), at(100)), boxes(at(0, 0, 0.9), at(100, 0, 0.6), at(200, 0, 0.4), at(300, 0, 0.3)))
    threshold, f1 = best_threshold([frame]) or (0, 0)
    assert (threshold, f1) == (pytest.approx(0.5), 1.0)
    assert counts_at([frame], threshold, 1)[0].recall == 1.0
    assert best_threshold([image_pairs(boxes(at(0)), boxes(at(300)))]) is None
    assert best_threshold([image_pairs(boxes(at(0)), boxes())]) is None


def test_nothing_gives_no_shares() -> None:
    counts = together(counts_at([image_pairs(boxes(), boxes())], 0.5, 2))
    assert (counts.precision, counts.recall) == (None, None)
    assert confusion_matrix([], 0.5, 1) == [[0, 0], [0, 0]]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[dict[str, ImageBoxes], dict[str, ImageBoxes]]:
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)

    def some(count: int, *, truth: bool) -> ImageBoxes:
        corner, sides = rng.integers(0, 30, (count, 2)).astype(float), rng.integers(8, 20, (count, 2)).astype(float)
        crowd = rng.random(count) < 0.2 if truth else None
        return ImageBoxes(
            np.hstack((corner, corner + sides)), rng.integers(0, 2, count), rng.permutation(count) / 50 + 0.1, crowd
        )

    names = [str(number) for number in range(draw(st.integers(1, 4)))]
    truths = {name: some(int(rng.integers(1, 8)), truth=True) for name in names}
    # one object of each class that is no crowd, else COCO has nothing to count
    truths["whole"] = boxes(at(0, 0), at(100, 1), crowd=(False, False))
    found = {name: some(int(rng.integers(0, 12)), truth=False) for name in truths}
    return truths, found


@settings(max_examples=40, deadline=None)
@given(scenes())
def test_curves_reach_the_recall_that_coco_counts_and_the_matrix_adds_up(
    scene: tuple[dict[str, ImageBoxes], dict[str, ImageBoxes]],
) -> None:
    truths, found = scene
    frames = [image_pairs(truths[name], found[name]) for name in truths]
    coco = evaluate_coco(truths, found, ("a", "b"))
    curves, counts = class_curves(frames, 2), counts_at(frames, 0.0, 2)
    matrix = np.array(confusion_matrix(frames, 0.0, 2))
    for number, entry in enumerate(coco.classes):
        assert curves[number].objects == entry.ground_truths
        reached = curves[number].recall[-1] if len(curves[number].recall) else 0.0
        assert reached == pytest.approx(entry.recall_50) == pytest.approx(counts[number].recall)
        best = np.maximum.accumulate(curves[number].precision[::-1])[::-1]
        at_recall = np.searchsorted(curves[number].recall, np.linspace(0, 1, 101), side="left")
        averaged = np.concatenate((best, [0.0]))[np.minimum(at_recall, len(best))].mean()
        assert averaged == pytest.approx(entry.ap_50, abs=1e-9)
        assert matrix[number].sum() == entry.ground_truths
        assert matrix[number, number] == counts[number].right
    excused = sum(int((frame.excused & (matches(frame) == NOBODY)).sum()) for frame in frames)
    assert matrix[:, :2].sum() == sum(len(one.boxes) for one in found.values()) - excused
