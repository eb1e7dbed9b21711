"""Figures of detectors: whole PNG files, the same each time, with words in the reader's language."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from mlops_assets.request.vocabulary import Language
from mlops_assets.tasks.detection.confusion import class_curves, image_pairs
from mlops_assets.tasks.detection.detection_figures import (
    WORDS,
    DrawnImage,
    draw_confidence,
    draw_confusion_matrix,
    draw_images,
    draw_precision_recall,
)
from mlops_assets.tasks.detection.image_boxes import ImageBoxes

TRUTH = ImageBoxes(np.array([[5.0, 5, 60, 40]]), np.array([0]))
FOUND = ImageBoxes(np.array([[6.0, 5, 60, 41], [80.0, 5, 118, 60]]), np.array([0, 1]), np.array([0.9, 0.4]))
PICTURE = np.full((64, 120, 3), 90, np.uint8)


def drawn(folder: Path, language: Any) -> dict[str, bytes]:
    folder.mkdir()
    curves = class_curves([image_pairs(TRUTH, FOUND)], 3)
    draw_precision_recall(folder / "pr.png", curves, [1.0, None, None], ("Car", "$x", "歩行者"), 0.5, language)
    draw_confusion_matrix(folder / "matrix.png", [[3, 1, 0], [0, 0, 0], [2, 0, 0]], ("Car", "人"), 0.25, language)
    draw_confidence(folder / "scores.png", np.array([0.9]), np.array([]), 0.5, language)
    draw_images(folder / "images.png", [DrawnImage(PICTURE, TRUTH, FOUND)] * 3, ("Car", "人"), language)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("language", get_args(Language))
def test_every_figure_is_a_whole_picture_on_white_and_the_same_again(tmp_path: Path, language: Any) -> None:
    first = drawn(tmp_path / "1", language)
    assert list(first) == ["images.png", "matrix.png", "pr.png", "scores.png"]
    assert drawn(tmp_path / "2", language) == first
    for name in first:
        with Image.open(tmp_path / "1" / name) as picture:
            picture.load()
            assert min(picture.size) > 300
            assert picture.convert("RGB").getpixel((1, 1)) == (255, 255, 255)


def test_an_image_without_boxes_and_a_class_never_detected_are_drawn(tmp_path: Path) -> None:
    nothing = ImageBoxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    draw_images(tmp_path / "a.png", [DrawnImage(PICTURE, nothing, nothing)], ("Car",), "en")
    draw_precision_recall(tmp_path / "b.png", class_curves([image_pairs(TRUTH, nothing)], 1), [0.0], ("Car",), 0.5, "en")
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("a.png", "b.png"))


def test_both_languages_say_the_same_things() -> None:
    assert WORDS["en"].keys() == WORDS["ja"].keys()
