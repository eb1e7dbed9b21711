"""Average precision in space: perfect is 1 however few there are, what cannot be judged is neither right nor wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.data.kitti.labels import KittiObjects, read_labels
from mlops_assets.errors import DataRejected
from mlops_assets.tasks.detection.confusion import ClassCurve, confusion_matrix, counts_at
from mlops_assets.tasks.detection3d.box_evaluation import LabelledObjects, average_precision, evaluate_boxes

CLASSES = ("Car", "Pedestrian", "Cyclist")


def line(name: str, x: float, z: float, *, height_px: float = 60, score: float | None = None) -> str:
    """A car-sized object at x [m] right and z [m] ahead; its rectangle is 100 px wide about 600 + 10 x."""
    left = 600 + 10 * x
    text = f"{name} 0.00 0 0.00 {left:.2f} 150.00 {left + 100:.2f} {150 + height_px:.2f} 1.50 1.60 3.90 {x:.2f} 1.60 {z:.2f} 0.00"
    return text if score is None else f"{text} {score}"


def labels(*lines: str, points: int = 20) -> LabelledObjects:
    objects = read_labels("\n".join(lines), scores=False)
    return LabelledObjects(objects, np.full(len(objects), points, dtype=np.int64))


def found(*lines: str) -> KittiObjects:
    return read_labels("\n".join(lines), scores=True)


def test_finding_the_only_object_is_perfect_however_small_it_is_in_the_image() -> None:
    result = evaluate_boxes(
        {"a": labels(line("Car", 0, 50, height_px=9))}, {"a": found(line("Car", 0, 50, height_px=9, score=0.8))}, CLASSES
    )
    assert result.average_precisions == ((1.0,) * 10, None, None)
    assert (result.map_50, result.map_50_95) == (1.0, 1.0)


def test_a_box_beside_its_object_is_found_up_to_its_overlap_only() -> None:
    # 3.9 m long along x, moved by 0.6 m: 3.3 m are shared of 4.5 m, an overlap of 0.733
    result = evaluate_boxes({"a": labels(line("Car", 0, 20))}, {"a": found(line("Car", 0.6, 20, score=0.8))}, ("Car",))
    assert result.average_precisions == ((1.0,) * 5 + (0.0,) * 5,)
    assert result.map_50_95 == pytest.approx(0.5)


def test_a_surer_false_alarm_costs_precision_everywhere_and_a_less_sure_one_nothing() -> None:
    truth = {"a": labels(line("Car", 0, 20))}
    below = evaluate_boxes(truth, {"a": found(line("Car", 0, 20, score=0.8), line("Car", 9, 20, score=0.3))}, ("Car",))
    above = evaluate_boxes(truth, {"a": found(line("Car", 0, 20, score=0.8), line("Car", 9, 20, score=0.9))}, ("Car",))
    assert (below.map_50, above.map_50) == (1.0, 0.5)


def test_two_detections_of_one_object_are_one_hit_and_one_false_alarm() -> None:
    result = evaluate_boxes(
        {"a": labels(line("Car", 0, 20))}, {"a": found(line("Car", 0, 20, score=0.8), line("Car", 0, 20, score=0.7))}, ("Car",)
    )
    (counts,) = counts_at(result.pairs, 0.5, 1)
    assert (counts.right, counts.wrong, counts.missed) == (1, 1, 0)


@pytest.mark.parametrize(
    ("beside", "points"),
    [
        (line("Van", 9, 20), 20),
        (line("Car", 9, 20), 0),
        ("DontCare -1 -1 -10 690.00 150.00 760.00 210.00 -1 -1 -1 -1000 -1000 -1000 -10", 0),
    ],
    ids=["a van", "a car without a point", "a region that nobody labelled"],
)
def test_what_cannot_be_judged_is_neither_right_nor_wrong(beside: str, points: int) -> None:
    truth = labels(line("Car", 0, 20), beside)
    truth = dataclasses.replace(truth, points=np.array([20, points]))
    detections = {"a": found(line("Car", 0, 20, score=0.5), line("Car", 9, 20, score=0.9))}
    judged = evaluate_boxes({"a": truth}, detections, ("Car",))
    assert judged.map_50 == 1.0
    assert judged.curves[0].objects == 1
    # the same place empty: a false alarm
    assert evaluate_boxes({"a": labels(line("Car", 0, 20))}, detections, ("Car",)).map_50 == 0.5


def test_a_van_does_not_excuse_a_cyclist() -> None:
    result = evaluate_boxes(
        {"a": labels(line("Cyclist", 0, 20), line("Van", 9, 20))},
        {"a": found(line("Cyclist", 0, 20, score=0.5), line("Cyclist", 9, 20, score=0.9))},
        CLASSES,
    )
    assert result.map_50 == 0.5


def test_the_confusion_matrix_tells_wrong_classes_from_background() -> None:
    truth = {"a": labels(line("Car", 0, 20), line("Cyclist", 9, 20), line("Pedestrian", -9, 20))}
    detections = {"a": found(line("Car", 0, 20, score=0.9), line("Car", 9, 20, score=0.8), line("Cyclist", 0, 40, score=0.7))}
    judged = evaluate_boxes(truth, detections, CLASSES)
    assert confusion_matrix(judged.pairs, 0.5, 3) == [[1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]]


def test_frames_on_one_side_only_are_refused() -> None:
    with pytest.raises(DataRejected, match="every frame needs"):
        evaluate_boxes({"a": labels()}, {"b": found()}, CLASSES)


def test_frames_without_objects_have_no_mean() -> None:
    result = evaluate_boxes({"a": labels()}, {"a": found(line("Car", 0, 20, score=0.9))}, CLASSES)
    assert (result.map_50, result.map_50_95) == (None, None)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 5))
def test_average_precision_equals_its_definition(hits: list[bool], missed: int) -> None:
    objects = max(1, sum(hits) + missed)
    right = np.cumsum(hits)
    curve = ClassCurve(objects, np.linspace(1, 0.1, len(hits)), right / objects, right / np.arange(1, len(hits) + 1))
    expected = np.mean(
        [
            max((p for p, r in zip(curve.precision, curve.recall, strict=True) if r >= place / 100 - 1e-9), default=0.0)
            for place in range(101)
        ]
    )
    assert average_precision(curve) == pytest.approx(expected)
