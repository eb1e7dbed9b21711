"""COCO mean average precision: known numbers, and mistakes that are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlops_assets.errors import DataRejected, UserError
from mlops_assets.tasks.detection.coco_evaluation import CocoEvaluation, ImageBoxes, evaluate_coco

NAMES = ("car", "person", "tram")


def image(boxes: Sequence[Sequence[float]], classes: Sequence[int], scores: Sequence[float] | None = None) -> ImageBoxes:
    return ImageBoxes(
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        classes=np.array(classes, dtype=np.int64),
        scores=None if scores is None else np.array(scores, dtype=np.float64),
    )


TRUTHS = {"a": image([[0, 0, 10, 10], [20, 20, 40, 40]], [0, 1]), "b": image([[0, 0, 10, 10]], [0])}
FOUND = {"a": image([[0, 0, 10, 10], [20, 20, 40, 40]], [0, 1], [0.9, 0.8]), "b": image([[0, 0, 10, 5.6]], [0], [0.5])}


def codes(evaluation: CocoEvaluation) -> list[tuple[str, str | None]]:
    return [(remark.code, remark.class_name) for remark in evaluation.remarks]


def test_numbers_are_those_that_can_be_counted_by_hand() -> None:
    found = evaluate_coco(TRUTHS, FOUND, NAMES)
    car, person, tram = found.classes
    # The second car overlaps by 0.56: it is a hit at 0.5 and 0.55; from 0.6 on one of two is found, precision 1 up to recall 0.5.
    assert car.ap_50 == pytest.approx(1)
    assert car.ap_50_95 == pytest.approx((2 * 1 + 8 * 51 / 101) / 10)
    assert (car.recall_50, car.recall_50_95) == (1, pytest.approx((2 * 1 + 8 * 0.5) / 10))
    assert (person.ap_50, person.ap_50_95) == (pytest.approx(1), pytest.approx(1))
    assert (tram.ap_50, tram.ap_50_95, tram.recall_50, tram.recall_50_95) == (None, None, None, None)
    # A class without ground truth takes no part in the means.
    assert found.map_50_95 == pytest.approx((car.ap_50_95 + 1) / 2)
    assert found.recall_50_95 == pytest.approx((0.6 + 1) / 2)
    assert [(one.ground_truths, one.detections) for one in found.classes] == [(2, 2), (1, 1), (0, 0)]
    assert (found.images, found.remarks) == (2, ())


def test_the_first_box_counts_like_any_other() -> None:
    # In a COCO file an annotation with id 0 counts as never matched.
    found = evaluate_coco({"a": image([[0, 0, 10, 10]], [0])}, {"a": image([[0, 0, 10, 10]], [0], [0.5])}, ["car"])
    assert (found.map_50, found.map_50_95, found.recall_50) == (pytest.approx(1), pytest.approx(1), 1)


def test_a_false_alarm_surer_than_the_hit_halves_precision() -> None:
    found = evaluate_coco(
        {"a": image([[0, 0, 10, 10]], [0])}, {"a": image([[0, 0, 10, 10], [50, 50, 60, 60]], [0, 0], [0.5, 0.9])}, ["car"]
    )
    assert found.map_50 == pytest.approx(0.5)
    assert found.recall_50 == 1


def test_a_crowd_excuses_detections_of_its_class_and_is_no_ground_truth() -> None:
    truth = replace(image([[0, 0, 10, 10], [50, 50, 90, 90]], [0, 0]), crowd=np.array([False, True]))
    detection = image([[0, 0, 10, 10], [55, 55, 65, 65]], [0, 0], [0.5, 0.9])
    found = evaluate_coco({"a": truth}, {"a": detection}, ["car"])
    assert found.map_50 == pytest.approx(1)
    assert found.classes[0].ground_truths == 1
    assert evaluate_coco({"a": replace(truth, crowd=None)}, {"a": detection}, ["car"]).map_50 < 0.5


def test_no_detection_at_all_is_a_zero_that_is_told() -> None:
    found = evaluate_coco(TRUTHS, {"a": image([], [], []), "b": image([], [], [])}, NAMES)
    assert (found.map_50, found.map_50_95, found.recall_50) == (0, 0, 0)
    assert codes(found) == [("no_detections", None)]


def test_no_ground_truth_at_all_is_refused() -> None:
    for crowd in (None, np.array([True])):
        empty = replace(image([[0, 0, 5, 5]], [0]), crowd=crowd) if crowd is not None else image([], [])
        with pytest.raises(DataRejected, match="none of 1 images has a ground truth box"):
            evaluate_coco({"a": empty}, {"a": image([[0, 0, 5, 5]], [0], [0.5])}, NAMES)


def test_mixed_up_classes_are_told() -> None:
    swapped = {key: replace(one, classes=1 - one.classes) for key, one in FOUND.items()}
    found = evaluate_coco(TRUTHS, swapped, NAMES)
    assert found.map_50 == 0
    assert codes(found) == [("classes_mixed_up", None)]
    # Poor boxes are not mixed up classes.
    poor = {key: replace(one, boxes=one.boxes + 300, classes=1 - one.classes) for key, one in FOUND.items()}
    assert codes(evaluate_coco(TRUTHS, poor, NAMES)) == []


def test_classes_on_one_side_only_are_told() -> None:
    shifted = {key: replace(one, classes=one.classes + 1) for key, one in FOUND.items()}
    assert codes(evaluate_coco(TRUTHS, shifted, NAMES)) == [
        ("classes_mixed_up", None), ("class_never_detected", "car"), ("class_without_ground_truth", "tram"),
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [-1, 3, 80])
def test_a_class_that_is_no_position_in_the_list_is_refused(wrong: int) -> None:
    for truths, found, place in (
        ({"a": image([[0, 0, 5, 5]], [wrong])}, {"a": image([], [], [])}, r"truths\[a\]"),
        ({"a": image([[0, 0, 5, 5]], [0])}, {"a": image([[0, 0, 5, 5]], [wrong], [0.5])}, r"detections\[a\]"),
    ):
        with pytest.raises(DataRejected, match=rf"(?s){place} has a class.*given: \[{wrong}\].*0 \(car\)"):
            evaluate_coco(truths, found, NAMES)


@pytest.mark.parametrize(
    ("truths", "found", "names", "said"),
    [
        ({}, {}, NAMES, "no image"),
        (TRUTHS, {"a": FOUND["a"]}, NAMES, "1 image.*only: b"),
        (TRUTHS, FOUND, ("car", "car"), "each once"),
        (TRUTHS, FOUND, (), "each once"),
        (TRUTHS, {**FOUND, "b": replace(FOUND["b"], scores=None)}, NAMES, r"detections\[b\] lacks a finite score"),
        (TRUTHS, {**FOUND, "b": replace(FOUND["b"], scores=np.array([np.nan]))}, NAMES, "lacks a finite score"),
        (TRUTHS, {**FOUND, "b": replace(FOUND["b"], classes=np.array([0, 1]))}, NAMES, "classes must be one for each box"),
        (TRUTHS, {**FOUND, "b": replace(FOUND["b"], classes=np.array([0.0]))}, NAMES, "float64"),
        ({**TRUTHS, "b": image([[50, 50, 20, 20]], [0])}, FOUND, NAMES, r"truths\[b\] has a box without area"),
        (TRUTHS, {**FOUND, "b": image([[50, 50, 20, 20]], [0], [0.5])}, NAMES, "turned inside out"),
        (TRUTHS, {**FOUND, "b": image([[50, np.inf, 20, 20]], [0], [0.5])}, NAMES, "not finite"),
    ],
)
def test_what_cannot_be_counted_is_refused(truths: Any, found: Any, names: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        evaluate_coco(truths, found, names)


def test_a_detection_cut_to_nothing_at_the_edge_matches_nothing() -> None:
    found = {**FOUND, "b": image([[0, 0, 10, 10], [30, 0, 30, 10]], [0, 0], [0.5, 0.1])}
    assert evaluate_coco(TRUTHS, found, NAMES).map_50 == pytest.approx(1)


def test_the_result_survives_being_stored() -> None:
    found = evaluate_coco(TRUTHS, FOUND, NAMES)
    assert CocoEvaluation.model_validate_json(found.model_dump_json()) == found
