"""The KITTI evaluator on generated frames: equal to the slow loops, which notice every rule that could be broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import slow_devkit
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_devkit import Rules

from mlops_assets.data.kitti.labels import KittiObjects, read_labels
from mlops_assets.errors import DataRejected, NotFound, UserError
from mlops_assets.tasks.detection.kitti_evaluation import LOOSE, STRICT, evaluate_kitti
from mlops_assets.tasks.detection.kitti_result import KittiEvaluation

Frames = dict[str, KittiObjects]
#: Class, height, width, length of an ordinary one [m].
KINDS = (
    ("Car", 1.5, 1.7, 4.0), ("Pedestrian", 1.7, 0.6, 0.8), ("Cyclist", 1.7, 0.6, 1.8), ("Van", 2.2, 1.9, 5.0),
    ("Person_sitting", 1.3, 0.6, 0.8), ("Truck", 3.2, 2.6, 9.0), ("DontCare", -1, -1, -1),
)  # fmt: skip


def drawn(frames: int, seed: int) -> tuple[Frames, Frames]:
    """Labels, and detections that jitter, repeat, miss, confuse and invent them. Numbers are rounded: ties and copies occur."""
    random = np.random.default_rng(seed)
    labels, detections = {}, {}
    for frame in range(frames):
        lines, found = [], []
        for _ in range(random.integers(0, 12)):
            name, *size = KINDS[random.choice(len(KINDS), p=[0.35, 0.18, 0.15, 0.1, 0.07, 0.05, 0.1])]
            left, top, height = (
                random.uniform(0, 1100),
                random.uniform(100, 250),
                random.choice([20, 25, 26, 33, 40, 41, 60, 100]),
            )
            width = height * random.uniform(0.5, 2)
            x, z, turn = random.uniform(-15, 15), random.uniform(5, 40), random.uniform(-3.1, 3.1)
            truncation, occlusion = random.choice([0, 0, 0, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6]), random.choice([0, 0, 0, 1, 2, 3])
            alpha = random.uniform(-3.1, 3.1)
            box = [left, top, left + width, top + height]
            if name == "DontCare":
                lines.append(f"DontCare -1 -1 -10 {text(box)} -1 -1 -1 -1000 -1000 -1000 -10")
            else:
                shape = text([*size, x, 1.6, z, turn])
                lines.append(f"{name} {truncation:.2f} {occlusion} {alpha:.2f} {text(box)} {shape}")
            for _ in range(random.choice([0, 1, 1, 1, 2, 3])):
                near = {"Van": "Car", "Person_sitting": "Pedestrian"}.get(name, name)
                kind = near if random.random() < 0.85 and name != "DontCare" else KINDS[random.integers(0, 5)][0]
                spread = random.choice([0, 0.02, 0.06, 0.15])
                moved = np.array(box) + random.normal(0, spread * height, 4)
                solid = [max(0.3, s * (1 + random.normal(0, spread))) for s in size] if name != "DontCare" else [1.5, 1.6, 4]
                place = [x + random.normal(0, spread), 1.6 + random.normal(0, spread), z + random.normal(0, spread)]
                away = alpha + random.choice([0, 0.1, 1.5, 3.1])
                score = random.choice([0.1, 0.5, 0.9]) if random.random() < 0.2 else random.random()
                found.append(f"{kind} -1 -1 {away:.2f} {text(moved)} {text([*solid, *place, turn + spread])} {score:.4f}")
        labels[f"{frame:06d}"] = read_labels("\n".join(lines))
        detections[f"{frame:06d}"] = read_labels("\n".join(found), scores=True)
    return labels, detections


def text(values: object) -> str:
    return " ".join(f"{value:.2f}" for value in values)  # type: ignore[attr-defined]


def car(left: float, *, name: str = "Car", height: float = 50, x: float = 0, alpha: float = 0, score: float | None = None) -> str:
    line = f"{name} 0 0 {alpha} {left} 100 {left + 100} {100 + height} 1.5 1.6 3.9 {x} 1.7 20 0.3"
    return line if score is None else f"{line} {score}"


#: Frames made for what random ones hardly show.
MADE = [
    # Two detections on one label: the surer one overlaps less. By score in pass 2, the other label of it would go without.
    ([car(100, x=0), car(116, x=1)], [car(114, x=1, score=0.9), car(101, x=0, score=0.8)]),
    # A low detection of another class takes the label in pass 1, as it is surer, but not in pass 2.
    (
        [car(100, height=41)],
        [car(100, height=39, name="Cyclist", score=0.95), car(100, height=41, score=0.3), car(600, x=9, score=0.2)],
    ),
    # Equal scores, equal overlaps: the first of the file is taken, and the second label goes without.
    ([car(100, x=0), car(120, x=2)], [car(110, x=1, score=0.6), car(90, x=-1, score=0.6)]),
    # A detection well inside a region that nobody labelled: it covers little of the region, the region all of it.
    (["DontCare -1 -1 -10 0 0 500 300 -1 -1 -1 -1000 -1000 -1000 -10"], [car(100, x=5, score=0.97)]),
]


@pytest.fixture(scope="module")
def frames() -> tuple[Frames, Frames]:
    labels, detections = drawn(30, seed=4)
    for number, (lines, found) in enumerate(MADE):
        labels[f"9{number:05d}"] = read_labels("\n".join(lines))
        detections[f"9{number:05d}"] = read_labels("\n".join(found), scores=True)
    return labels, detections


@pytest.fixture(scope="module")
def expected(frames: tuple[Frames, Frames]) -> slow_devkit.Curves:
    return slow_devkit.curves(*frames)


def curves_of(evaluation: KittiEvaluation) -> slow_devkit.Curves:
    return {(c.class_name, c.metric, c.difficulty, c.min_overlap): c.values for c in evaluation.curves}


def furthest(one: slow_devkit.Curves, other: slow_devkit.Curves) -> float:
    assert one.keys() == other.keys()
    return max((np.abs(np.subtract(one[place], other[place])).max() for place in one), default=0.0)


def test_generated_frames_are_judged_as_the_slow_loops_judge_them(
    frames: tuple[Frames, Frames], expected: slow_devkit.Curves
) -> None:
    found = evaluate_kitti(*frames)
    assert furthest(curves_of(found), expected) < 1e-12
    for values in expected.values():
        assert max(values) > 0, "the frames are too poor to say anything"


@pytest.mark.parametrize(
    "broken",
    [
        Rules(ignored_neighbours=("person_sitting",)),
        Rules(ignored_neighbours=("van",)),
        Rules(dont_care_excuses=False),
        Rules(low_detections_are_ignored=False),
        Rules(low_detections_of_other_classes_take_labels=False),
        Rules(equal_height_counts=False),
        Rules(min_height=(40, 25, 20)),
        Rules(max_occlusion=(3, 3, 3)),
        Rules(max_occlusion=(0, 1, 1)),
        Rules(max_truncation=(1, 1, 1)),
        Rules(max_truncation=(0.1, 0.25, 0.45)),
        Rules(envelope=False),
        Rules(false_alarms_lower_orientation=False),
        Rules(second_pass_by_overlap=False),
        Rules(exact_copies_overlap=False),
    ],
    ids=lambda rules: ", ".join(f"{key}={value}" for key, value in vars(rules).items() if getattr(Rules(), key) != value),
)
def test_the_generated_frames_notice_each_broken_rule(
    frames: tuple[Frames, Frames], expected: slow_devkit.Curves, broken: Rules
) -> None:
    assert furthest(slow_devkit.curves(*frames, broken), expected) > 1e-3


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 4))
def test_any_frames_are_judged_as_the_slow_loops_judge_them(seed: int, count: int) -> None:
    labels, detections = drawn(count, seed)
    found = evaluate_kitti(labels, detections)
    skipped = {(entry.class_name, entry.metric) for entry in found.not_evaluated}
    slow = {} if not sum(map(len, detections.values())) else slow_devkit.curves(labels, detections)
    assert furthest(curves_of(found), {place: slow[place] for place in slow if place[:2] not in skipped}) < 1e-12


def test_perfect_detections_are_perfect_however_turned() -> None:
    labels, _ = drawn(40, seed=1)
    detections = {
        key: replace(one.select(one.names != "DontCare"), scores=np.linspace(1, 0.5, int((one.names != "DontCare").sum())))
        for key, one in labels.items()
    }
    numbers = evaluate_kitti(labels, detections).numbers
    hard = [number for number in numbers if (number.class_name, number.difficulty) == ("Car", "hard")]
    assert {number.metric for number in hard} == {"bbox", "aos", "bev", "3d"}
    assert {number.value for number in hard} == {100.0}, hard


def test_few_objects_cannot_fill_the_curve_even_when_all_are_found() -> None:
    labels = {"0": read_labels("\n".join(car(150 * k, x=6 * k) for k in range(7)))}
    detections = {"0": read_labels("\n".join(car(150 * k, x=6 * k, score=0.9) for k in range(7)))}
    found = evaluate_kitti(labels, detections)
    for metric in ("bbox", "aos", "bev", "3d"):
        assert found.number("Car", metric, "easy").value == pytest.approx(6 / 40 * 100)
        assert found.number("Car", metric, "easy", recall_positions="R11").value == pytest.approx(2 / 11 * 100)
    assert {curve.ground_truths for curve in found.curves} == {7}


def test_an_overlap_of_exactly_the_minimum_is_none() -> None:
    label = car(100, name="Pedestrian", height=100)
    for height, expected in ((50, 0.0), (50.5, 1.0)):
        found = evaluate_kitti(
            {"0": read_labels(label)}, {"0": read_labels(car(100, name="Pedestrian", height=height, score=0.9))}
        )
        assert found.curves[0].metric == "bbox"
        assert found.curves[0].values[0] == expected


def test_the_lowest_score_always_ends_the_curve() -> None:
    # With 80 labels every second hit is a step of recall; the third hit is none, but it is the last.
    labels = {f"{k}": read_labels(car(100)) for k in range(80)}
    detections = {f"{k}": read_labels(car(100, score=1 - k / 10) if k < 3 else "", scores=True) for k in range(80)}
    detections["5"] = read_labels(car(400, x=9, score=0.85))
    found = curves_of(evaluate_kitti(labels, detections))
    assert (
        furthest({place: values for place, values in slow_devkit.curves(labels, detections).items() if place in found}, found)
        == 0
    )
    assert [value > 0 for value in found["Car", "3d", "easy", 0.7][:4]] == [True, True, True, False]


def test_frames_may_come_in_any_order_and_case_of_class_names_does_not_matter(frames: tuple[Frames, Frames]) -> None:
    labels, detections = frames
    turned = {key: labels[key] for key in reversed(labels)}
    lowered = {key: replace(one, names=np.char.lower(one.names)) for key, one in detections.items()}
    assert evaluate_kitti(turned, lowered).curves == evaluate_kitti(labels, detections).curves


def test_one_detection_without_alpha_drops_orientation_of_all(frames: tuple[Frames, Frames]) -> None:
    labels, detections = frames
    last = max(key for key in detections if len(detections[key]))
    alpha = detections[last].alpha.copy()
    alpha[-1] = -10
    found = evaluate_kitti(labels, {**detections, last: replace(detections[last], alpha=alpha)})
    assert {number.metric for number in found.numbers} == {"bbox", "bev", "3d"}
    assert {(one.metric, one.reason) for one in found.not_evaluated} == {("aos", "no_orientation")}


def test_a_class_never_detected_has_no_number_and_says_why() -> None:
    labels = {"0": read_labels(car(100))}
    found = evaluate_kitti(labels, {"0": read_labels(car(100, score=0.5) + "\n" + car(300, name="Tram", score=0.5))})
    assert {number.class_name for number in found.numbers} == {"Car"}
    assert {(one.class_name, one.reason) for one in found.not_evaluated} == {
        ("Pedestrian", "no_detections"), ("Cyclist", "no_detections"),
    }  # fmt: skip
    assert found.other_detections == {"Tram": 1}
    with pytest.raises(NotFound, match="Pedestrian bbox"):
        found.number("Pedestrian", "bbox", "easy")


def test_boxes_in_the_image_alone_are_not_judged_in_space() -> None:
    flat = "Car -1 -1 0.1 100 100 200 150 -1 -1 -1 -1000 -1000 -1000 -10 0.9"
    found = evaluate_kitti({"0": read_labels(car(100))}, {"0": read_labels(flat)}, classes=["Car"])
    assert {number.metric for number in found.numbers} == {"bbox", "aos"}
    assert {(one.metric, one.reason) for one in found.not_evaluated} == {("bev", "no_box"), ("3d", "no_box")}


def test_nothing_found_and_nothing_there_are_no_errors() -> None:
    found = evaluate_kitti({"0": read_labels(car(100))}, {"0": read_labels("", scores=True)})
    assert found.numbers == ()
    assert len(found.not_evaluated) == 12
    found = evaluate_kitti({"0": read_labels("")}, {"0": read_labels(car(100, score=0.5))})
    assert {number.value for number in found.numbers} == {0.0}


def test_every_number_names_its_convention(frames: tuple[Frames, Frames]) -> None:
    found = evaluate_kitti(*frames)
    conventions = [(n.class_name, n.metric, n.difficulty, n.overlaps, n.recall_positions) for n in found.numbers]
    assert len(conventions) == len(set(conventions)) == 3 * 4 * 3 * 2 * 2
    assert found.number("Car", "3d", "moderate").convention == "Car 3D AP_R40@0.70 moderate"
    loose = found.number("Cyclist", "bev", "hard", overlaps="loose", recall_positions="R11")
    assert loose.convention == "Cyclist BEV AP_R11@0.25 hard"
    # In the image the loose table asks as much as the strict one.
    assert found.number("Car", "bbox", "hard", overlaps="loose").value == found.number("Car", "bbox", "hard").value
    assert KittiEvaluation.model_validate_json(found.model_dump_json()) == found


def test_only_the_asked_for_classes_and_overlaps_are_counted(frames: tuple[Frames, Frames]) -> None:
    found = evaluate_kitti(*frames, classes=["Cyclist"], overlaps=[LOOSE])
    assert {(n.class_name, n.overlaps) for n in found.numbers} == {("Cyclist", "loose")}
    assert set(found.numbers) < set(evaluate_kitti(*frames, overlaps=[STRICT, LOOSE]).numbers)


@pytest.mark.parametrize(
    ("labels", "detections", "said"),
    [
        ({}, {}, "no frame"),
        ({"1": car(0), "2": car(0)}, {"1": car(0, score=1)}, "1 frame.*only: 2"),
        ({"1": car(0)}, {"1": car(0, score=1), "7": ""}, "1 frame.*only: 7"),
        ({"1": car(0)}, {"1": car(0)}, "frame 1 lack a finite score"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(labels: dict[str, str], detections: dict[str, str], said: str) -> None:
    with pytest.raises(DataRejected, match=said):
        evaluate_kitti(
            {key: read_labels(value) for key, value in labels.items()},
            {key: read_labels(value, scores=None if value else True) for key, value in detections.items()},
        )


@pytest.mark.parametrize("classes", [["Truck"], []])
def test_a_class_that_kitti_does_not_evaluate_is_refused(classes: list[str]) -> None:
    with pytest.raises(UserError, match=r"Car, Pedestrian, Cyclist"):
        evaluate_kitti({"0": read_labels("")}, {"0": read_labels("", scores=True)}, classes=classes)
