"""Overlaps of boxes: the laws they must keep, and an independent judge of turned ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection.overlap import BEV_COLUMNS, axis_aligned_iou, bev_iou, iou_3d

number = st.floats(-50, 50)
size = st.floats(0.01, 20)
angle = st.floats(-7, 7)
flat_box = st.tuples(number, number, size, size, angle)
solid_box = st.tuples(number, number, number, size, size, size, angle)


def near(box: tuple[float, ...], moves: tuple[float, float, float]) -> list[float]:
    """The box moved by shares of its own size, so that pairs overlap more often than not."""
    x, y, length, width, yaw = box
    return [x + moves[0] * length, y + moves[1] * width, length * (1.1 + moves[2]), width, yaw + moves[2]]


def polygon(box: Any) -> shapely.Polygon:
    x, y, length, width, yaw = map(float, box)
    cosine, sine = math.cos(yaw), math.sin(yaw)
    corners = [(length / 2, width / 2), (-length / 2, width / 2), (-length / 2, -width / 2), (length / 2, -width / 2)]
    return shapely.Polygon([(x + cosine * a - sine * b, y + sine * a + cosine * b) for a, b in corners])


@settings(max_examples=200, deadline=None)
@given(box=flat_box, moves=st.tuples(*[st.floats(-1, 1)] * 3), scale=st.sampled_from([1e-4, 1, 1e4]))
def test_turned_overlaps_are_those_of_shapely(box: tuple[float, ...], moves: tuple[float, float, float], scale: float) -> None:
    first, second = np.array(box), np.array(near(box, moves))
    first[:4] *= scale
    second[:4] *= scale
    one, two = polygon(first), polygon(second)
    expected = one.intersection(two).area / (one.area + two.area - one.intersection(two).area)
    assert bev_iou([first], [second])[0, 0] == pytest.approx(expected, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(box=solid_box, moves=st.tuples(*[st.floats(-0.5, 0.5)] * 3))
def test_overlap_is_the_same_from_both_sides_and_between_0_and_1(
    box: tuple[float, ...], moves: tuple[float, float, float]
) -> None:
    other = np.array(box)
    other[BEV_COLUMNS] = near(tuple(other[BEV_COLUMNS]), moves)
    other[2] += moves[2] * other[5]
    for found, back in ((iou_3d([box], [other]), iou_3d([other], [box])),):
        assert found[0, 0] == pytest.approx(back[0, 0], abs=1e-12)
        assert 0 <= found[0, 0] <= 1
    flat, flat_other = np.array(box)[BEV_COLUMNS], other[BEV_COLUMNS]
    assert bev_iou([flat], [flat_other])[0, 0] == pytest.approx(bev_iou([flat_other], [flat])[0, 0], abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(box=solid_box, scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_a_box_overlaps_its_exact_copy_by_exactly_1(box: tuple[float, ...], scale: float) -> None:
    solid = np.array(box)
    solid[:6] *= scale
    assert iou_3d([solid], [solid.copy()])[0, 0] == 1.0
    assert bev_iou([solid[BEV_COLUMNS]], [solid[BEV_COLUMNS].copy()])[0, 0] == 1.0


@settings(max_examples=100, deadline=None)
@given(box=solid_box, turns=st.integers(-3, 3))
def test_half_turns_change_nothing(box: tuple[float, ...], turns: int) -> None:
    turned = np.array(box)
    turned[6] += turns * math.pi
    assert iou_3d([box], [turned])[0, 0] == pytest.approx(1, abs=1e-9)
    square = np.array(box)
    square[4] = square[3]
    quarter = square.copy()
    quarter[6] += math.pi / 2
    assert iou_3d([square], [quarter])[0, 0] == pytest.approx(1, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(box=solid_box, share=st.floats(0.05, 0.7), yaw=angle)
def test_a_box_inside_another_overlaps_by_its_share(box: tuple[float, ...], share: float, yaw: float) -> None:
    outer = np.array(box)
    inner = outer.copy()
    inner[3:5] = share * min(outer[3], outer[4])  # its circle fits whatever the turn
    inner[5] *= share
    inner[6] = yaw
    expected = inner[3] * inner[4] * inner[5] / (outer[3] * outer[4] * outer[5])
    assert iou_3d([outer], [inner])[0, 0] == pytest.approx(expected, rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(box=flat_box, moves=st.tuples(*[st.floats(-1, 1)] * 3), away=st.tuples(number, number), turn=angle)
def test_moving_and_turning_both_boxes_together_changes_nothing(
    box: tuple[float, ...], moves: tuple[float, float, float], away: tuple[float, float], turn: float
) -> None:
    pair = np.array([box, near(box, moves)])
    cosine, sine = math.cos(turn), math.sin(turn)
    moved = pair.copy()
    moved[:, 0] = cosine * pair[:, 0] - sine * pair[:, 1] + away[0]
    moved[:, 1] = sine * pair[:, 0] + cosine * pair[:, 1] + away[1]
    moved[:, 4] += turn
    assert bev_iou(moved[:1], moved[1:])[0, 0] == pytest.approx(bev_iou(pair[:1], pair[1:])[0, 0], abs=1e-9)


def test_a_copy_shaken_by_rounding_still_overlaps_almost_fully() -> None:
    random = np.random.default_rng(0)
    boxes = np.column_stack((random.uniform(-40, 40, (500, 2)), random.uniform(0.3, 6, (500, 2)), random.uniform(-4, 4, 500)))
    for shake in (0, 1e-16, 1e-15, 1e-12, 1e-9):
        other = boxes * (1 + random.choice([-1, 0, 1], boxes.shape) * shake)
        assert np.diag(bev_iou(boxes, other)).min() > 1 - 1e-6
    # Through float32, as a network's output is.
    assert np.diag(bev_iou(boxes, boxes.astype(np.float32))).min() > 1 - 1e-4


def test_boxes_that_touch_or_stand_on_each_other_do_not_overlap() -> None:
    assert bev_iou([[0, 0, 2, 2, 0]], [[2, 0, 2, 2, 0], [2, 2, 2, 2, 0], [5, 0, 2, 2, 1]]).tolist() == [[0, 0, 0]]
    assert iou_3d([[0, 0, 0, 2, 2, 2, 0]], [[0, 0, 2, 2, 2, 2, 0], [0, 0, 9, 2, 2, 2, 0]]).tolist() == [[0, 0]]


def test_known_overlaps() -> None:
    assert iou_3d([[0, 0, 0, 4, 2, 2, 0]], [[0, 0, 1, 4, 2, 2, 0]])[0, 0] == pytest.approx(1 / 3)
    # Two crossing bars share the square in the middle; a square turned by 45 degrees an octagon.
    assert bev_iou([[5, 5, 4, 1, 0.3]], [[5, 5, 4, 1, 0.3 + math.pi / 2]])[0, 0] == pytest.approx(1 / 7)
    octagon = 2 * (math.sqrt(2) - 1)
    assert bev_iou([[0, 0, 1, 1, 0]], [[0, 0, 1, 1, math.pi / 4]])[0, 0] == pytest.approx(octagon / (2 - octagon))
    assert axis_aligned_iou([[0, 0, 10, 10]], [[5, 0, 15, 10], [10, 0, 20, 10], [0, 0, 10, 10]]).tolist() == [[1 / 3, 0, 1]]


@pytest.mark.parametrize("size", [(0.0, 2.0), (2.0, 0.0), (-1.0, 2.0), (2.0, -1.0), (-1.0, -1.0)])
def test_a_box_without_area_overlaps_nothing(size: tuple[float, float]) -> None:
    box = [0.0, 0.0, *size, 0.4]
    assert bev_iou([box], [[0, 0, 2, 2, 0.4], box]).tolist() == [[0, 0]]
    assert bev_iou([[0, 0, 2, 2, 0.4]], [box]).tolist() == [[0]]
    solid = [0.0, 0.0, 0.0, box[2], box[3], 1.0, 0.4]
    assert iou_3d([solid], [solid, [0, 0, 0, 2, 2, -1, 0]]).tolist() == [[0, 0]]


def test_a_rectangle_turned_inside_out_overlaps_nothing() -> None:
    assert axis_aligned_iou([[10, 10, 0, 0], [0, 0, 0, 5]], [[0, 0, 10, 10], [10, 10, 0, 0]]).tolist() == [[0, 0], [0, 0]]


def test_huge_and_tiny_boxes_have_finite_overlaps() -> None:
    boxes = [[0, 0, 1e90, 1e90, 0.3], [0, 0, 1e-90, 1e-90, 0.3], [0, 0, 1e90, 1e-90, 1], [1e90, 0, 1, 1, 0], [0, 0, 1e-320, 1, 0]]
    found = bev_iou(boxes, boxes)
    assert np.isfinite(found).all()
    assert np.diag(found)[:4].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(("one", "two"), [(0, 3), (3, 0), (0, 0)])
def test_no_boxes_have_no_overlaps(one: int, two: int) -> None:
    for function, columns in ((axis_aligned_iou, 4), (bev_iou, 5), (iou_3d, 7)):
        assert function(np.ones((one, columns)), np.ones((two, columns))).shape == (one, two)
    assert bev_iou([], np.ones((2, 5))).shape == (0, 2)


def test_many_boxes_are_counted_in_blocks_with_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    boxes = np.column_stack((random.uniform(0, 20, (60, 2)), random.uniform(1, 5, (60, 2)), random.uniform(-3, 3, 60)))
    whole = bev_iou(boxes, boxes[:50])
    monkeypatch.setattr("mlops_assets.tasks.detection.overlap._PAIRS_AT_ONCE", 70)
    assert np.array_equal(bev_iou(boxes, boxes[:50]), whole)


@pytest.mark.parametrize("boxes", [[[0, 0, 1, 1]], [0, 0, 1, 1, 0], np.ones((2, 3, 5))])
def test_boxes_of_another_shape_are_refused(boxes: Any) -> None:
    with pytest.raises(UserError, match=r"\(N, 5\)"):
        bev_iou(boxes, np.ones((1, 5)))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e200])
def test_a_value_that_is_not_finite_is_refused_with_its_row(value: float) -> None:
    with pytest.raises(UserError, match="box 1 of second"):
        bev_iou(np.ones((1, 5)), [[1, 1, 1, 1, 1], [1, value, 1, 1, 1]])
