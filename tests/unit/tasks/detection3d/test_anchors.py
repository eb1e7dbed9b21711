"""Anchors: where they are, which of them shall find what, and boxes relative to them and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.tasks.detection.overlap import BEV_COLUMNS, bev_iou
from mlops_assets.tasks.detection3d.anchors import (
    AnchorGrid,
    Targets,
    anchor_grid,
    assign_targets,
    decode_boxes,
    direction_of,
    encode_boxes,
    headed,
)
from mlops_assets.tasks.detection3d.pillar_settings import STANDARD, PillarSettings
from tests.unit.tasks.detection3d.pillar_worlds import TINY, box

GRID = anchor_grid(TINY)
sizes = st.floats(0.4, 20)
boxes = st.tuples(
    st.floats(-80, 80), st.floats(-80, 80), st.floats(-5, 5), sizes, sizes, sizes, st.floats(-math.pi, math.pi)
)  # fmt: skip


def assign(rows: list[list[float]], names: list[str], **more: object) -> Targets:
    return assign_targets(GRID, np.array(rows).reshape(-1, 7), names, **more)  # type: ignore[arg-type]


def overlaps(grid: AnchorGrid, row: list[float]) -> np.ndarray:
    return bev_iou(grid.boxes()[:, BEV_COLUMNS], np.array([row])[:, BEV_COLUMNS])[:, 0]


def test_the_standard_setting_has_two_anchors_of_each_class_in_the_middle_of_each_of_248_x_216_cells() -> None:
    grid = anchor_grid(STANDARD)
    anchors = grid.boxes()
    assert anchors.shape == (6 * 248 * 216, 7) == (grid.count, 7)
    assert anchors[0].tolist() == pytest.approx([0.16, -39.52, -1.0, 3.9, 1.6, 1.56, 0.0], abs=1e-5)
    assert anchors[1].tolist() == pytest.approx([0.48, -39.52, -1.0, 3.9, 1.6, 1.56, 0.0], abs=1e-5)
    assert anchors[216].tolist() == pytest.approx([0.16, -39.20, -1.0, 3.9, 1.6, 1.56, 0.0], abs=1e-5)
    assert anchors[248 * 216].tolist() == pytest.approx([0.16, -39.52, -1.0, 3.9, 1.6, 1.56, math.pi / 2], abs=1e-5)
    assert anchors[-1].tolist() == pytest.approx([68.96, 39.52, -0.6, 1.76, 0.6, 1.73, math.pi / 2], abs=1e-5)


def test_a_few_numbers_give_the_same_boxes_as_all_of_them() -> None:
    numbers = np.array([0, 5, 2559, 2560, GRID.count - 1])
    assert np.array_equal(GRID.boxes(numbers), GRID.boxes()[numbers])


@settings(max_examples=80, deadline=None)
@given(boxes, boxes)
def test_a_box_comes_back_from_its_residuals(target: tuple[float, ...], anchor: tuple[float, ...]) -> None:
    wanted, reference = np.array([target]), np.array([anchor])
    back = decode_boxes(encode_boxes(wanted, reference), reference)
    scale = 1 + np.abs(wanted).max() + np.hypot(reference[0, 3], reference[0, 4]) * np.abs(encode_boxes(wanted, reference)).max()
    assert np.abs(back - wanted).max() < 1e-6 * scale


def test_absurd_residuals_of_an_untrained_network_give_finite_boxes() -> None:
    back = decode_boxes(np.full((1, 7), 1e4), np.array([box(10, 0)]))
    assert np.isfinite(back).all()


@settings(max_examples=200, deadline=None)
@given(st.floats(-10, 10))
def test_a_yaw_known_up_to_half_a_turn_and_its_half_of_the_circle_give_the_yaw(yaw: float) -> None:
    for turned in (yaw, yaw + math.pi, yaw - math.pi):
        found = float(headed(np.array([turned]), direction_of(np.array([yaw])))[0])
        assert -math.pi - 1e-9 <= found <= math.pi + 1e-9
        # At the border between the halves, half a rounding error decides; everywhere else there is one answer.
        if abs(math.remainder(yaw - math.pi / 4, math.pi)) > 1e-6:
            assert abs(math.remainder(found - yaw, 2 * math.pi)) < 1e-6


def test_a_car_on_an_anchor_is_found_by_it_and_by_neighbours_that_overlap_it_by_the_threshold() -> None:
    car = [10.08, 0.16, -1.0, 3.9, 1.6, 1.56, 0.0]
    targets = assign([car], ["Car"])
    shared = overlaps(GRID, car)
    cars = np.arange(GRID.count) < GRID.count // 3
    assert targets.positive.tolist() == np.flatnonzero((shared >= 0.6) & cars).tolist()
    assert targets.ignored.tolist() == np.flatnonzero((shared >= 0.45) & (shared < 0.6) & cars).tolist()
    exact = targets.positive[np.abs(targets.residuals).max(axis=1) < 1e-6]
    assert len(exact) == 1 and shared[exact[0]] > 0.9999
    assert set(targets.classes.tolist()) == {0}


def test_a_box_across_the_road_is_found_by_anchors_along_y() -> None:
    targets = assign([box(10, 0, math.pi / 2 + 0.1)], ["Car"])
    assert len(targets.positive)
    assert np.allclose(GRID.boxes(targets.positive)[:, 6], math.pi / 2)
    assert np.allclose(targets.residuals[:, 6], 0.1, atol=1e-6)


def test_a_box_too_small_for_the_threshold_is_found_by_its_best_anchor() -> None:
    small = [10.0, 0.0, -1.0, 1.2, 0.7, 1.0, 0.0]
    shared = overlaps(GRID, small)[: GRID.count // 3]
    assert shared.max() < 0.45
    targets = assign([small], ["Car"])
    assert len(targets.positive) >= 1
    assert np.allclose(shared[targets.positive], shared.max(), atol=1e-6)


def test_every_one_of_two_boxes_side_by_side_is_found_and_each_by_its_own_anchors() -> None:
    rows = [box(10, -1.1), box(10, 1.1)]
    targets = assign(rows, ["Car", "Car"])
    found = decode_boxes(targets.residuals, GRID.boxes(targets.positive))
    sides = np.sign(found[:, 1])
    assert set(sides.tolist()) == {-1.0, 1.0}
    assert np.array_equal(sides, np.sign(GRID.boxes(targets.positive)[:, 1]))


def test_classes_have_their_own_anchors_and_the_residuals_lead_back_to_the_boxes() -> None:
    rows = [box(8, 0, 0.2), box(14, 3, like="Pedestrian"), box(18, -3, -1.4, like="Cyclist")]
    targets = assign(rows, ["Car", "Pedestrian", "Cyclist"])
    assert set(targets.classes.tolist()) == {0, 1, 2}
    found = decode_boxes(targets.residuals, GRID.boxes(targets.positive))
    assert np.abs(found - np.array(rows)[targets.classes]).max() < 1e-5
    assert np.array_equal(targets.classes, targets.positive // (GRID.count // 3))
    assert np.array_equal(targets.directions, direction_of(np.array(rows)[targets.classes, 6]))


def test_a_van_is_neither_a_car_nor_background_and_other_classes_do_not_count() -> None:
    van = assign([box(10, 0)], ["Van"])
    assert len(van.positive) == 0 and len(van.ignored) > 0
    other = assign([box(10, 0)], ["Tram"])
    assert len(other.positive) == 0 and len(other.ignored) == 0


def test_a_marked_box_is_left_out_and_does_not_cover_its_neighbour() -> None:
    rows = [box(10, 0), box(16, 0)]
    targets = assign(rows, ["Car", "Car"], ignored=[True, False])
    found = decode_boxes(targets.residuals, GRID.boxes(targets.positive))
    assert np.allclose(found[:, 0], 16, atol=1e-4)
    assert len(targets.ignored) > len(assign(rows[1:], ["Car"]).ignored)


def test_a_frame_without_boxes_and_a_box_out_of_reach_have_no_targets() -> None:
    for targets in (assign([], []), assign([box(500, 500)], ["Car"])):
        assert len(targets.positive) == len(targets.ignored) == 0
        assert targets.residuals.shape == (0, 7)


def test_boxes_and_names_of_different_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="1 boxes, 2 class names"):
        assign([box(10, 0)], ["Car", "Car"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 25.5), st.floats(-5, 5), st.floats(-4, 4)), min_size=1, max_size=6))
def test_nothing_is_both_positive_and_left_out_and_numbers_rise(places: list[tuple[float, float, float]]) -> None:
    targets = assign([box(*place) for place in places], ["Car"] * len(places))
    assert not set(targets.positive.tolist()) & set(targets.ignored.tolist())
    assert (np.diff(targets.positive) > 0).all() and (np.diff(targets.ignored) > 0).all()
    assert np.isfinite(targets.residuals).all() and len(targets.positive)


def test_a_grid_of_a_coarser_head_has_its_anchors_further_apart() -> None:
    coarse = anchor_grid(PillarSettings(pillar_size=0.32))
    assert float(coarse.xs[1] - coarse.xs[0]) == pytest.approx(0.64, abs=1e-5)
