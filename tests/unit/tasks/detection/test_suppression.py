"""Non-maximum suppression beside the plain greedy loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection.overlap import axis_aligned_iou, bev_iou
from mlops_assets.tasks.detection.suppression import suppress, suppress_rotated


def greedy(ious: Any, scores: Any, threshold: float, classes: Any, limit: int | None) -> list[int]:
    kept: list[int] = []
    for row in sorted(range(len(scores)), key=lambda row: -scores[row]):
        if all(classes[row] != classes[other] or ious[other, row] <= threshold for other in kept):
            kept.append(row)
    return kept[:limit]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 150),
    threshold=st.sampled_from([0, 0.01, 0.3, 0.65, 1]),
    limit=st.sampled_from([None, 0, 1, 5, 70, 1000]),
    kinds=st.integers(1, 3),
)
def test_what_stays_is_what_the_greedy_loop_keeps(seed: int, count: int, threshold: float, limit: int | None, kinds: int) -> None:
    random = np.random.default_rng(seed)
    centres = random.integers(0, 12, (count, 2)) + random.normal(0, 0.2, (count, 2))
    sizes = random.uniform(1, 4, (count, 2))
    scores, classes = random.integers(0, 20, count) / 20, random.integers(0, kinds, count)
    straight = np.column_stack((centres - sizes / 2, centres + sizes / 2))
    turned = np.column_stack((centres, sizes, random.uniform(-4, 4, count)))
    for function, boxes, ious in (
        (suppress, straight, axis_aligned_iou(straight, straight)),
        (suppress_rotated, turned, bev_iou(turned, turned)),
    ):
        kept = function(boxes, scores, iou_threshold=threshold, classes=classes, limit=limit)
        assert kept.tolist() == greedy(ious, scores, threshold, classes, limit)
        alone = function(boxes, scores, iou_threshold=threshold, limit=limit)
        assert alone.tolist() == greedy(ious, scores, threshold, np.zeros(count), limit)


def test_an_overlap_of_exactly_the_threshold_stays() -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 10, 5]]
    assert suppress(boxes, [0.9, 0.8], iou_threshold=0.5).tolist() == [0, 1]
    assert suppress(boxes, [0.9, 0.8], iou_threshold=0.49).tolist() == [0]


def test_a_suppressed_box_suppresses_no_other() -> None:
    row = [[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]  # each overlaps the next by 0.43, the first and last by 0.11
    assert suppress(row, [0.9, 0.8, 0.7], iou_threshold=0.3).tolist() == [0, 2]


def test_exact_copies_of_turned_boxes_are_suppressed() -> None:
    boxes = np.repeat([[10, 3, 4, 1.6, 0.7]], 200, axis=0)
    assert suppress_rotated(boxes, np.linspace(0, 1, 200), iou_threshold=0.99).tolist() == [199]


def test_boxes_of_different_classes_leave_each_other_alone_wherever_they_are() -> None:
    # Shifting each class by an offset, as is often done, would lose these coordinates to rounding or let classes meet.
    boxes = np.array([[0, 0, 1e-3, 1e-3], [0, 0, 1e-3, 1e-3], [1e9, 1e9, 1e9 + 10, 1e9 + 10], [1e9, 1e9, 1e9 + 10, 1e9 + 10]])
    assert suppress(boxes, [4, 3, 2, 1], iou_threshold=0.5, classes=[0, 1, 0, 0]).tolist() == [0, 1, 2]
    assert suppress(boxes, [4, 3, 2, 1], iou_threshold=0.5, classes=["Car", "Car", "Car", "Van"]).tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores": [1.0]}, "scores must be one for each of 2"),
        ({"scores": [1.0, float("nan")]}, "score is not finite"),
        ({"classes": [1, 2, 3]}, "classes must be one for each of 2"),
        ({"iou_threshold": 1.5}, "0 … 1"),
        ({"iou_threshold": float("nan")}, "0 … 1"),
        ({"limit": -1}, "0 or more"),
        ({"boxes": [[0, 0, 1]]}, r"boxes must be boxes of"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], said: str) -> None:
    for function, columns in ((suppress, 4), (suppress_rotated, 5)):
        given = {"boxes": np.ones((2, columns)), "scores": [1.0, 0.5], "iou_threshold": 0.5, **change}
        with pytest.raises(UserError, match=said):
            function(**given)
