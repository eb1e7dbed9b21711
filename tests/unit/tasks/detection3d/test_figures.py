"""Pictures of clouds and boxes are looked at through their pixels: where a colour is, on white, wide enough to read."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlops_assets.tasks.detection3d.figures import (
    CLASS_COLOURS,
    OTHER_COLOUR,
    DrawnBoxes,
    birds_eye_view,
    image_with_boxes,
    points_per_voxel,
)
from mlops_assets.tasks.detection3d.occupancy import VoxelOccupancy, occupancy_of
from mlops_assets.tasks.detection3d.voxels import VoxelGrid, voxelize
from tests.unit.tasks.detection3d.frames import street

ROOT = Path(__file__).resolve().parents[4]
CAR_AHEAD_LEFT = DrawnBoxes(np.array([[30.0, 20, -1, 4, 2, 1.5, 0.0]]), ["Car"])
NOTHING = np.zeros((0, 4), np.float32)


def pixels(png: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB")).astype(int)


def places_of(picture: np.ndarray, colour: str) -> np.ndarray:
    """Row and column ``(N, 2)`` of pixels of exactly this colour, as shares of the picture."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return np.argwhere((picture == wanted).all(axis=2)) / picture.shape[:2]


def pinhole(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A camera at the sensor that looks along x: 300 pixels a radian, centre 150, 50."""
    depth = points[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([150 - 300 * points[:, 1] / depth, 50 - 300 * points[:, 2] / depth], axis=1), depth


def test_from_above_ahead_is_up_and_left_is_left() -> None:
    picture = pixels(birds_eye_view(NOTHING, CAR_AHEAD_LEFT))
    drawn = places_of(picture, CLASS_COLOURS["Car"])
    box = drawn[drawn[:, 0] < 0.8]  # without the legend
    assert len(box) > 20
    assert 0.15 < box[:, 1].mean() < 0.35, "20 m to the left of 40"
    assert 0.35 < box[:, 0].mean() < 0.6, "30 m ahead of 70"
    assert np.ptp(box[:, 0]) > np.ptp(box[:, 1]), "it heads up"


def test_labels_and_detections_are_told_apart() -> None:
    only_labels = birds_eye_view(NOTHING, CAR_AHEAD_LEFT)
    only_detections = birds_eye_view(NOTHING, detections=CAR_AHEAD_LEFT)
    assert len(places_of(pixels(only_labels), CLASS_COLOURS["Car"]))
    assert not len(places_of(pixels(only_detections), CLASS_COLOURS["Car"]))
    assert only_labels != birds_eye_view(NOTHING, CAR_AHEAD_LEFT, CAR_AHEAD_LEFT) != only_detections


def test_pictures_are_white_wide_enough_and_the_same_every_time() -> None:
    frame = street(0)
    boxes = DrawnBoxes(frame.boxes, frame.names.tolist())
    image = np.full((100, 300, 3), 90, np.uint8)
    for draw in (lambda: birds_eye_view(frame.points, boxes), lambda: image_with_boxes(image, boxes, pinhole)):
        png = draw()
        picture = pixels(png)
        assert picture.shape[1] >= 640 and (picture[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
        assert png == draw()


def test_boxes_in_the_image_are_where_the_projection_puts_them() -> None:
    image = np.full((100, 300, 3), 90, np.uint8)
    left = DrawnBoxes(np.array([[20.0, 6, 0, 4, 2, 1.5, 0.0]]), ["Car"])
    drawn = places_of(pixels(image_with_boxes(image, left, pinhole)), CLASS_COLOURS["Car"])
    box = drawn[drawn[:, 0] < 0.8]
    assert len(box) > 20 and abs(box[:, 1].mean() - 60 / 300) < 0.06


@pytest.mark.parametrize(("x", "seen"), [(-10.0, False), (0.0, True), (1.9, True)])
def test_what_is_behind_the_camera_is_left_out_and_what_reaches_behind_it_is_cut(x: float, seen: bool) -> None:
    image = np.full((100, 300, 3), 90, np.uint8)
    around = DrawnBoxes(np.array([[x, 0.3, 0, 4, 1, 1, 0.4]]), ["Car"])
    picture = pixels(image_with_boxes(image, around, pinhole))
    assert bool(len(places_of(picture, CLASS_COLOURS["Car"]))) == seen


@pytest.mark.parametrize("name", ["", "$x^2$", "a" * 300, "\u0000\ufffe", "<b>@all</b>", "乗用車"])
def test_a_box_of_any_class_name_is_drawn_and_told_in_the_legend(name: str) -> None:
    odd = DrawnBoxes(np.array([[20.0, 6, 0, 4, 2, 1.5, 0.0]]), [name])
    above = birds_eye_view(NOTHING, odd, language="ja")
    ahead = image_with_boxes(np.zeros((100, 300, 3), np.uint8), odd, pinhole, odd)
    for png in (above, ahead):
        drawn = places_of(pixels(png), OTHER_COLOUR)[:, 0]
        assert (drawn < 0.8).sum() > 20 and (drawn > 0.8).any(), "the box, and below the picture its line in the legend"


def test_no_points_no_boxes_and_no_voxels_can_be_drawn() -> None:
    empty = VoxelOccupancy(
        frames=0, cells=1, points_in_range=0, points_kept=0, frames_at_voxel_limit=0, voxels_by_points=(0,)
    )  # fmt: skip
    for png in (
        birds_eye_view(NOTHING),
        image_with_boxes(np.zeros((5, 15, 3), np.uint8), DrawnBoxes(np.empty((0, 7)), []), pinhole),
        points_per_voxel(empty),
    ):
        assert pixels(png).shape[1] >= 640


def test_full_voxels_stand_out() -> None:
    grid = VoxelGrid(range_min=(0, -20, -3), range_max=(40, 20, 1), voxel_size=(0.5, 0.5, 4), max_points=8, max_voxels=5000)
    occupancy = occupancy_of(voxelize(street(0).points, grid), grid)
    assert occupancy.full_share > 0
    picture = pixels(points_per_voxel(occupancy))
    blue, orange = places_of(picture, "#2563eb"), places_of(picture, "#ea580c")
    assert len(blue) and len(orange) and orange[:, 1].min() > blue[:, 1].max()
    assert points_per_voxel(occupancy, language="ja") != points_per_voxel(occupancy)


def test_drawing_is_loaded_only_when_something_is_drawn() -> None:
    code = (
        "import sys\nimport mlops_assets.tasks.detection3d.figures, mlops_assets.tasks.detection3d.augmentation\n"
        "print({'matplotlib', 'numba', 'torch', 'PIL', 'dagster'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_an_edge_that_passes_the_camera_does_not_come_back_on_the_other_side() -> None:
    beside = DrawnBoxes(np.array([[0.0, 1.5, 0, 8, 1, 1, 0.0]]), ["Car"])
    picture = pixels(image_with_boxes(np.full((100, 300, 3), 90, np.uint8), beside, pinhole))
    drawn = places_of(picture, CLASS_COLOURS["Car"])
    box = drawn[drawn[:, 0] < 0.8]
    assert len(box) and box[:, 1].max() < 0.5, "it is on the left"
