"""From raw outputs to boxes: what was encoded is found again, the surest stays, damage is not taken for an empty road."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import IntegrityError
from mlops_assets.tasks.detection.kitti_evaluation import evaluate_kitti
from mlops_assets.tasks.detection3d.anchors import anchor_grid, assign_targets, direction_of, encode_boxes
from mlops_assets.tasks.detection3d.kitti_clouds import kitti_detections, training_frame
from mlops_assets.tasks.detection3d.pillar_decoding import LidarDetections, decode_detections
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from sim.driving.config import WorldConfig
from sim.driving.world import generate_frame
from tests.unit.tasks.detection3d.pillar_worlds import TINY, box

Outputs = tuple[np.ndarray, np.ndarray, np.ndarray]


def background(of: PillarSettings) -> Outputs:
    rows, columns = of.head_cells
    kinds = of.anchors_per_cell
    return (
        np.full((kinds * len(of.classes), rows, columns), -10, dtype=np.float32),
        np.zeros((kinds * 7, rows, columns), dtype=np.float32),
        np.zeros((kinds * 2, rows, columns), dtype=np.float32),
    )


def put(outputs: Outputs, of: PillarSettings, anchor: int, class_number: int, logit: float, row: list[float]) -> None:
    """Let one anchor say one box."""
    grid = anchor_grid(of)
    kind, *place = np.unravel_index(anchor, (of.anchors_per_cell, *of.head_cells))
    at = (slice(None), *place)
    outputs[0].reshape(of.anchors_per_cell, -1, *of.head_cells)[kind][at][class_number] = logit
    outputs[1].reshape(of.anchors_per_cell, 7, *of.head_cells)[kind][at][:] = encode_boxes([row], grid.boxes([anchor]))[0]
    outputs[2].reshape(of.anchors_per_cell, 2, *of.head_cells)[kind][at][direction_of([row[6]])[0]] = 3.0


def perfect(of: PillarSettings, rows: np.ndarray, names: list[str]) -> Outputs:
    """What a network that knows the truth says: every anchor that shall find a box finds it."""
    grid = anchor_grid(of)
    targets = assign_targets(grid, rows, names)
    outputs = background(of)
    logits, residuals, halves = (output.reshape(of.anchors_per_cell, -1, grid.count // of.anchors_per_cell) for output in outputs)
    kind, place = np.divmod(targets.positive, grid.count // of.anchors_per_cell)
    logits[kind, targets.classes, place] = 5.0
    residuals[kind, :, place] = targets.residuals
    # The regressed yaw is right up to half a turn only: the sine in the loss cannot tell more.
    residuals[kind, 6, place] += math.pi * (np.arange(len(kind)) % 2)
    halves[kind, targets.directions, place] = 3.0
    return outputs


def decoded(outputs: Outputs, of: PillarSettings = TINY) -> LidarDetections:
    return decode_detections(*outputs, anchor_grid(of), of)


def sorted_by_x(found: LidarDetections) -> tuple[np.ndarray, list[str]]:
    order = np.argsort(found.boxes[:, 0])
    return found.boxes[order], [found.names[row] for row in order]


cells = st.lists(
    st.tuples(st.integers(0, 3), st.floats(-3.5, 3.5), st.floats(-3.1, 3.1), st.sampled_from(["Car", "Pedestrian", "Cyclist"])),
    min_size=0,
    max_size=4,
    unique_by=lambda cell: cell[0],
)


@settings(max_examples=60, deadline=None)
@given(cells)
def test_ground_truth_written_as_predictions_comes_back_as_the_same_boxes(places: list[tuple[int, float, float, str]]) -> None:
    rows = np.array([box(3.0 + 6 * cell, y, yaw, like=name) for cell, y, yaw, name in places]).reshape(-1, 7)
    names = [name for *_, name in places]
    found, kinds = sorted_by_x(decoded(perfect(TINY, rows, names)))
    order = np.argsort(rows[:, 0])
    assert kinds == [names[row] for row in order]
    apart = found - rows[order]
    near_border = np.abs(np.mod(rows[order, 6] - math.pi / 4 + math.pi / 2, math.pi) - math.pi / 2) < 1e-4
    apart[:, 6] = np.where(near_border, 0, np.mod(apart[:, 6] + math.pi, 2 * math.pi) - math.pi)
    assert np.abs(apart).max(initial=0) < 1e-4


def test_a_generated_frame_written_as_predictions_is_judged_perfect_by_the_kitti_evaluation() -> None:
    made = generate_frame(4, 1, WorldConfig(azimuth_step=1.0))
    frame = training_frame(made.cloud, made.objects, made.calibration)
    whole = PillarSettings(pillar_size=0.32, suppression_overlap=0.3)
    found = decoded(perfect(whole, frame.boxes, frame.names.tolist()), whole)
    height, width = made.image.shape[:2]
    labels = {"4": made.objects}
    result = evaluate_kitti(labels, {"4": kitti_detections(found, made.calibration, (width, height))}, classes=("Car",))
    for metric in ("3d", "bev"):
        curve = next(c for c in result.curves if c.metric == metric and c.difficulty == "hard" and c.overlaps == "strict")
        assert curve.ground_truths >= 3
        # The surer half of all recall positions that so few labels can reach.
        assert curve.values[: curve.ground_truths] == (1.0,) * curve.ground_truths


def test_the_surest_of_boxes_in_one_place_stays_whatever_their_classes() -> None:
    outputs = background(TINY)
    put(outputs, TINY, 1000, 0, 2.0, box(10, 0))
    put(outputs, TINY, 1001, 0, 3.0, box(10.2, 0.1))
    put(outputs, TINY, 9000, 1, 1.0, box(10, 0, like="Pedestrian"))
    put(outputs, TINY, 9500, 1, 1.5, box(20, 2, like="Pedestrian"))
    found = decoded(outputs)
    assert found.names == ("Car", "Pedestrian")
    assert found.scores.tolist() == pytest.approx([1 / (1 + math.exp(-3)), 1 / (1 + math.exp(-1.5))])
    assert found.boxes[0, :2].tolist() == pytest.approx([10.2, 0.1], abs=1e-4)


def test_scores_below_the_threshold_are_no_detections_and_at_most_so_many_are_given() -> None:
    outputs = background(TINY)
    for number in range(4):
        put(outputs, TINY, 1000 + number, 0, -2.3 + 0.2 * number, box(3 + 6 * number, 0))
    assert len(decoded(outputs)) == 3  # the threshold 0.1 is a logit of -2.197
    few = TINY.model_copy(update={"max_detections": 2})
    assert decoded(outputs, few).boxes[:, 0].tolist() == pytest.approx([21, 15], abs=1e-4)
    narrow = TINY.model_copy(update={"candidates": 1})
    assert decoded(outputs, narrow).boxes[:, 0].tolist() == pytest.approx([21], abs=1e-4)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_outputs_that_are_not_finite_are_not_an_empty_road(which: int) -> None:
    outputs = background(TINY)
    put(outputs, TINY, 1000, 0, 2.0, box(10, 0))
    outputs[which][:] = np.nan
    with pytest.raises(IntegrityError, match="not finite"):
        decoded(outputs)


def test_what_the_image_does_not_show_is_left_out_of_a_kitti_result() -> None:
    made = generate_frame(4, 1, WorldConfig(azimuth_step=4.0))
    height, width = made.image.shape[:2]
    found = LidarDetections(np.array([box(15, 0), box(-15, 0), box(3, 30)]), np.array([0.9, 0.8, 0.7]), ("Car", "Car", "Car"))
    rows = kitti_detections(found, made.calibration, (width, height))
    assert rows.scores is not None and rows.scores.tolist() == [0.9]
    assert 0 <= rows.boxes_2d[0, 0] < rows.boxes_2d[0, 2] <= width - 1
    assert len(kitti_detections(LidarDetections(np.empty((0, 7)), np.empty(0), ()), made.calibration, (width, height))) == 0
