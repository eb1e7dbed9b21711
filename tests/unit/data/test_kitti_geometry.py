"""Calibration and boxes: inverse to one another, and equal to what mmdetection3d wrote for a real frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlops_assets.data.kitti.boxes import (
    camera_boxes,
    camera_corners,
    camera_to_lidar_boxes,
    has_box,
    in_camera_boxes,
    in_lidar_boxes,
    lidar_corners,
    lidar_to_camera_boxes,
    observation_angle,
    project_boxes,
    wrapped,
)
from mlops_assets.data.kitti.calibration import Calibration, calibration_text, read_calibration, write_calibration
from mlops_assets.data.kitti.clouds import read_bin
from mlops_assets.data.kitti.labels import read_labels
from mlops_assets.errors import DataRejected
from sim.driving.config import WorldConfig
from sim.driving.rig import build_rig

CALIBRATION = build_rig(WorldConfig()).calibration
metres = st.floats(-80, 80, allow_nan=False)
sides = st.floats(0.2, 15)
boxes_strategy = st.lists(
    st.tuples(metres, metres, metres, sides, sides, sides, st.floats(-3.14, 3.14)), min_size=1, max_size=6
).map(np.array)


def untilted() -> Calibration:
    """A LiDAR that is level with the camera, so that both uprights are one."""
    motion = np.array([[0.0, -1, 0, 0.1], [0, 0, -1, -0.08], [1, 0, 0, -0.27]])
    return Calibration(*[getattr(CALIBRATION, f"P{n}") for n in range(4)], np.eye(3), motion)


@given(boxes_strategy)
@settings(max_examples=50, deadline=None)
def test_boxes_come_back_from_the_other_frame(boxes: np.ndarray) -> None:
    there = camera_to_lidar_boxes(boxes, CALIBRATION)
    assert np.allclose(lidar_to_camera_boxes(there, CALIBRATION), boxes, atol=1e-9)
    assert np.allclose(camera_to_lidar_boxes(lidar_to_camera_boxes(boxes, CALIBRATION), CALIBRATION), boxes, atol=1e-9)


@given(boxes_strategy)
@settings(max_examples=50, deadline=None)
def test_without_tilt_both_frames_have_the_same_corners_in_the_same_order(boxes: np.ndarray) -> None:
    level = untilted()
    corners = camera_corners(boxes)
    lidar = lidar_corners(camera_to_lidar_boxes(boxes, level))
    assert np.allclose(level.to_lidar(corners.reshape(-1, 3)), lidar.reshape(-1, 3), atol=1e-9)


@given(arrays.arrays(np.float64, (7, 3), elements=metres))
@settings(max_examples=50, deadline=None)
def test_points_come_back_from_the_camera_and_from_the_image(points: np.ndarray) -> None:
    seen = CALIBRATION.to_camera(points)
    assert np.allclose(CALIBRATION.to_lidar(seen), points, atol=1e-9)
    seen[:, 2] = np.abs(seen[:, 2]) + 0.5
    pixels, depth = CALIBRATION.to_image(seen)
    assert np.allclose(CALIBRATION.from_image(pixels, depth), seen, atol=1e-8)


def test_one_matrix_goes_from_the_lidar_to_pixels_as_both_steps_do() -> None:
    points = np.random.default_rng(3).uniform((5, -10, -2), (60, 10, 2), (40, 3))
    u, v, depth, one = CALIBRATION.lidar_to_image @ np.column_stack([points, np.ones(len(points))]).T
    pixels, expected = CALIBRATION.to_image(CALIBRATION.to_camera(points))
    assert np.allclose(np.stack([u, v], axis=1) / depth[:, None], pixels, atol=1e-6)
    assert np.allclose(depth, expected, atol=1e-6) and np.allclose(one, 1)


@given(boxes_strategy, st.floats(0.01, 0.99))
@settings(max_examples=30, deadline=None)
def test_a_box_holds_the_points_between_its_corners_and_none_beyond(boxes: np.ndarray, share: float) -> None:
    for corners, inside in (
        (CALIBRATION.to_lidar(camera_corners(boxes)[0]), lambda p: in_camera_boxes(p, boxes[:1], CALIBRATION)[0]),
        (lidar_corners(boxes)[0], lambda p: in_lidar_boxes(p, boxes[:1])[0]),
    ):
        middle = corners.mean(axis=0)
        assert inside(middle + share * (corners - middle)).all()
        assert not inside(middle + 1.001 * (corners - middle)).any()


def test_the_first_two_corners_are_the_front_left_and_front_right() -> None:
    ahead = np.array([[10.0, 0, 0, 4.0, 2.0, 1.5, 0.0]])
    assert lidar_corners(ahead)[0, 0].tolist() == [12.0, 1.0, -0.75]
    assert lidar_corners(ahead)[0, 1].tolist() == [12.0, -1.0, -0.75]


@given(st.floats(-1e4, 1e4))
def test_wrapped_angles_point_the_same_way_and_lie_in_one_turn(angle: float) -> None:
    turned = float(wrapped(angle))
    assert -np.pi <= turned <= np.pi
    assert np.cos(turned) == pytest.approx(np.cos(angle), abs=1e-9)


def test_a_box_around_the_camera_is_cut_before_it_is_projected() -> None:
    beside = np.array([[2.0, 1.65, 0.0, 1.5, 1.6, 4.0, -np.pi / 2]])  # reaches from 2 m behind to 2 m ahead of the camera
    boxes, visible = project_boxes(beside, CALIBRATION, (1242, 375))
    assert visible.tolist() == [True]
    assert boxes[0, 2] == 1241 and 0 < boxes[0, 0] < 1241 and boxes[0, 1] >= 0
    behind, seen = project_boxes(beside - [0, 0, 10, 0, 0, 0, 0], CALIBRATION, (1242, 375))
    assert not seen.any() and not behind.any()


@given(boxes_strategy)
@settings(max_examples=50, deadline=None)
def test_projected_boxes_stay_in_the_image_and_hold_every_corner_ahead(boxes: np.ndarray) -> None:
    clipped, _ = project_boxes(boxes, CALIBRATION, (1242, 375))
    assert np.isfinite(clipped).all()
    assert (clipped >= 0).all() and (clipped <= [1241, 374, 1241, 374]).all()
    whole, _ = project_boxes(boxes, CALIBRATION)
    pixels, depth = CALIBRATION.to_image(camera_corners(boxes).reshape(-1, 3))
    for row in range(len(boxes)):
        ahead = depth.reshape(-1, 8)[row] > 0.1
        corners = pixels.reshape(-1, 8, 2)[row][ahead]
        assert (corners >= whole[row, :2] - 1e-6).all() and (corners <= whole[row, 2:] + 1e-6).all()


def test_no_boxes_are_no_problem() -> None:
    none = np.empty((0, 7))
    assert camera_to_lidar_boxes(none, CALIBRATION).shape == (0, 7)
    assert camera_corners(none).shape == (0, 8, 3)
    assert in_camera_boxes(np.zeros((3, 4)), none, CALIBRATION).shape == (0, 3)
    assert project_boxes(none, CALIBRATION, (100, 100))[0].shape == (0, 4)
    assert camera_boxes(read_labels("")).shape == (0, 7)


# --- the text of a calibration -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tracking", [False, True])
def test_a_calibration_survives_being_written(tmp_path: Path, tracking: bool) -> None:
    write_calibration(tmp_path / "c.txt", CALIBRATION, tracking=tracking)
    again = read_calibration(tmp_path / "c.txt")
    for name in ("P0", "P1", "P2", "P3", "R0_rect", "Tr_velo_to_cam", "Tr_imu_to_velo"):
        assert np.array_equal(getattr(again, name), getattr(CALIBRATION, name)), name
    assert [path.name for path in tmp_path.iterdir()] == ["c.txt"]


def test_the_matrices_cannot_be_changed_behind_a_frames_back() -> None:
    with pytest.raises(ValueError, match="read-only"):
        CALIBRATION.P2[0, 0] = 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("P2: ", "P9: ", "lacks P2"),
        ("R0_rect: ", "R0_rect: 1 ", "10 numbers; 3 x 3"),
        ("P1: ", "P0: ", "P0 a second time"),
        ("e+02", "e+0x", "not a finite number"),
        ("e+02", "e+999", "not a finite number"),
    ],
)
def test_a_damaged_calibration_is_refused_by_line_and_name(old: str, new: str, told: str) -> None:
    with pytest.raises(DataRejected, match=told):
        read_calibration(calibration_text(CALIBRATION).replace(old, new, 1))


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_a_calibration_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("c") / "c.txt"
    path.write_bytes(content)
    with pytest.raises(DataRejected, match=r"c\.txt"):
        read_calibration(path)


def test_implausible_matrices_are_told_in_words() -> None:
    assert CALIBRATION.problems() == ()
    projections = [getattr(CALIBRATION, f"P{n}") for n in range(4)]
    inverted = np.linalg.inv(CALIBRATION.lidar_to_camera)[:3]
    assert "inverted" in Calibration(*projections, np.eye(3), inverted).problems()[0]
    assert "not a rotation" in Calibration(*projections, 2 * np.eye(3), CALIBRATION.Tr_velo_to_cam).problems()[0]
    assert "mirrors" in Calibration(*projections, np.diag([1, 1, -1]), CALIBRATION.Tr_velo_to_cam).problems()[0]
    nothing = Calibration(*[np.zeros((3, 4))] * 4, CALIBRATION.R0_rect, CALIBRATION.Tr_velo_to_cam)
    assert "focal lengths" in nothing.problems()[0]


# --- a real frame beside mmdetection3d -----------------------------------------------------------------------------------


def test_a_real_frame_has_the_matrices_angles_and_points_in_boxes_of_mmdetection3d(shared: Path) -> None:
    reference = json.loads((shared / "data/kitti/geometry_reference/mmdet3d_000008.json").read_text())
    training = shared / "data/kitti/object/training"
    calibration = read_calibration(training / "calib/000008.txt")
    assert np.abs(calibration.lidar_to_image - reference["lidar2img_P2"]).max() < 5e-5  # theirs is float32
    assert np.abs(calibration.lidar_to_camera - reference["lidar2cam"]).max() < 1e-6
    labels = read_labels(training / "label_2/000008.txt")
    labels = labels.select(has_box(labels))
    boxes = camera_boxes(labels)
    instances = reference["instances"]
    # Theirs is x, y, z, length, height, width, rotation_y.
    assert np.allclose(boxes[:, [0, 1, 2, 5, 3, 4, 6]], [instance["bbox_3d"] for instance in instances])
    centres, depth = calibration.to_image(boxes[:, :3] - [0, 0.5, 0] * boxes[:, 3:4])
    assert np.allclose(centres, [instance["center_2d"] for instance in instances], atol=1e-3)
    assert np.allclose(depth, [instance["depth"] for instance in instances], atol=1e-5)
    cloud = read_bin(training / "velodyne/000008.bin")
    in_lidar = in_lidar_boxes(cloud, camera_to_lidar_boxes(boxes, calibration)).sum(axis=1)
    assert in_lidar.tolist() == [instance["num_lidar_pts"] for instance in instances]
    assert in_camera_boxes(cloud, boxes, calibration).sum(axis=1).tolist()[:3] == [1424, 1940, 878]  # the tilt shows


def test_labels_of_all_real_frames_agree_with_their_calibration(shared: Path) -> None:
    training = shared / "data/kitti/object/training"
    for path in sorted((training / "label_2").glob("*.txt")):
        labels = read_labels(path)
        labels = labels.select(has_box(labels) & (labels.truncation == 0))
        calibration = read_calibration(training / "calib" / path.name)
        assert calibration.problems() == ()
        boxes = camera_boxes(labels)
        projected, visible = project_boxes(boxes, calibration, (1242, 376))
        assert visible.all(), path.name
        assert np.abs(projected - labels.boxes_2d).max(initial=0) < 25, path.name
        assert np.abs(wrapped(observation_angle(boxes) - labels.alpha)).max(initial=0) < 0.06, path.name
