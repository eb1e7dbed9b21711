"""From a network's boxes and scores to detections in the pixels of the image."""

from __future__ import annotations

import numpy as np
import pytest

from mlops_assets.errors import IntegrityError
from mlops_assets.tasks.detection2d.decoding import detections_of, network_input
from mlops_assets.tasks.detection2d.settings import YoloxSettings

SETTINGS = YoloxSettings(input_size=(64, 64), score_threshold=0.3, nms_threshold=0.5)
BOXES = np.array([[8, 8, 24, 24], [9, 8, 25, 24], [8, 8, 24, 24], [40, 10, 60, 30]], np.float32)


def scores(*rows: tuple[float, float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_of_two_boxes_of_one_class_on_one_place_the_surer_stays_and_other_classes_are_left_alone() -> None:
    found = detections_of(BOXES, scores((0.7, 0), (0.9, 0), (0, 0.8), (0.5, 0)), (64, 64), SETTINGS)
    assert found.scores is not None
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.5])
    assert found.classes.tolist() == [0, 1, 0]
    assert found.boxes[0].tolist() == [9, 8, 25, 24]


def test_unsure_boxes_go_and_the_number_is_limited() -> None:
    some = scores((0.31, 0), (0.2, 0.1), (0, 0.29), (0.5, 0))
    assert len(detections_of(BOXES, some, (64, 64), SETTINGS).boxes) == 2
    assert len(detections_of(BOXES, some, (64, 64), SETTINGS.model_copy(update={"detections": 1})).boxes) == 1


def test_boxes_return_to_the_pixels_of_the_image_and_end_at_its_borders() -> None:
    wide = np.array([[0, 0, 32, 16], [50, 20, 90, 40], [0, 40, 20, 60]], np.float32)
    found = detections_of(wide, scores((0.9, 0), (0.8, 0), (0.7, 0)), (128, 256), SETTINGS)  # scaled by a quarter
    assert found.boxes.tolist() == [[0, 0, 128, 64], [200, 80, 256, 128]]  # the third lies in the padding


def test_an_image_without_detections_is_empty() -> None:
    found = detections_of(BOXES, np.zeros((4, 2), np.float32), (64, 64), SETTINGS)
    assert found.boxes.shape == (0, 4)
    assert found.classes.shape == (0,)


@pytest.mark.parametrize("where", ["boxes", "scores"])
def test_numbers_that_are_not_finite_are_not_served(where: str) -> None:
    boxes, sure = BOXES.copy(), scores((0.7, 0), (0.9, 0), (0, 0.8), (0.5, 0))
    (boxes if where == "boxes" else sure)[1, 0] = np.nan
    with pytest.raises(IntegrityError, match="finite"):
        detections_of(boxes, sure, (64, 64), SETTINGS)


def test_the_network_reads_letterboxed_colours_by_channel() -> None:
    image = np.zeros((32, 64, 3), np.uint8)
    image[..., 0] = 200
    made = network_input(image, (64, 64))
    assert made.shape == (3, 64, 64)
    assert made.dtype == np.float32
    assert made[0, 0, 0] == 200
    assert made[1, 0, 0] == 0
    assert made[:, 40, 5].tolist() == [114] * 3
