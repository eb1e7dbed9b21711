"""Augmented frames: what is inside a box stays inside, the same seed gives the same frame, objects put in never overlap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from shapely.geometry import Polygon

from mlops_assets.data.kitti.boxes import in_lidar_boxes, lidar_corners
from mlops_assets.errors import DataRejected, UserError
from mlops_assets.tasks.detection3d.augmentation import (
    AugmentationSettings,
    FlipSettings,
    RotationSettings,
    ScalingSettings,
    augment,
    flip,
    random_flip,
    random_rotation,
    random_scaling,
    rotate,
    scale,
)
from mlops_assets.tasks.detection3d.object_sampling import (
    ClassSampling,
    ObjectDatabase,
    SamplingSettings,
    crop_objects,
    joined,
    read_database,
    sample_objects,
    write_database,
)
from mlops_assets.tasks.detection3d.training_frame import TrainingFrame
from tests.unit.tasks.detection3d.frames import random_frame, street

SEEDS = st.integers(0, 2**32 - 1)
MANY = SamplingSettings(classes=(ClassSampling(name="Car", most=15, least_points=1), ClassSampling(name="Pedestrian", most=9)))


def same(one: TrainingFrame, other: TrainingFrame) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("points", "boxes", "names"))


def streets(*numbers: int) -> ObjectDatabase:
    return joined([crop_objects(street(number), f"{number:06d}") for number in numbers])


@given(SEEDS, SEEDS, st.sampled_from(["flip", "rotation", "scaling", "all"]), st.integers(3, 5))
@settings(max_examples=80, deadline=None)
def test_what_is_inside_a_box_stays_inside_and_what_is_outside_outside(seed: int, draw: int, step: str, columns: int) -> None:
    frame, random = random_frame(seed, columns), np.random.default_rng(draw)
    moved = {
        "flip": lambda: random_flip(frame, FlipSettings(probability=1), random),
        "rotation": lambda: random_rotation(frame, RotationSettings(limit=np.pi), random),
        "scaling": lambda: random_scaling(frame, ScalingSettings(low=0.5, high=2), random),
        "all": lambda: augment(frame, AugmentationSettings(), random),
    }[step]()
    surely_in = in_lidar_boxes(frame.points, frame.boxes, margin=-1e-3)
    maybe_in = in_lidar_boxes(frame.points, frame.boxes, margin=1e-3)
    after = in_lidar_boxes(moved.points, moved.boxes)
    assert not (surely_in & ~after).any() and not (after & ~maybe_in).any()
    assert surely_in.any()
    assert np.array_equal(moved.points[:, 3:], frame.points[:, 3:]) and np.array_equal(moved.names, frame.names)
    assert moved.points.dtype == np.float32 and moved.boxes.dtype == np.float64


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_a_frame_flipped_twice_is_itself(seed: int) -> None:
    frame = random_frame(seed)
    assert same(flip(flip(frame)), frame)
    assert not same(flip(frame), frame)


@given(SEEDS, st.floats(-np.pi, np.pi))
@settings(max_examples=30, deadline=None)
def test_turning_and_growing_are_undone_by_their_inverse(seed: int, angle: float) -> None:
    frame = random_frame(seed)
    back = rotate(rotate(frame, angle), -angle)
    assert np.allclose(back.points, frame.points, atol=1e-4) and np.allclose(back.boxes[:, :6], frame.boxes[:, :6])
    assert np.allclose(np.exp(1j * back.boxes[:, 6]), np.exp(1j * frame.boxes[:, 6]))
    assert np.allclose(scale(scale(frame, 1.25), 0.8).boxes, frame.boxes)


def test_directions_are_those_of_the_lidar_frame() -> None:
    ahead = TrainingFrame(np.array([[10, 1, 0, 0.5]], np.float32), np.array([[10.0, 1, 0, 4, 2, 1.5, 0.3]]), np.array(["Car"]))
    left = rotate(ahead, np.pi / 2)
    assert np.allclose(left.points[0], [-1, 10, 0, 0.5], atol=1e-6) and np.allclose(
        left.boxes[0, [0, 1, 6]], [-1, 10, np.pi / 2 + 0.3]
    )
    assert np.allclose(flip(ahead).boxes[0], [10, -1, 0, 4, 2, 1.5, -0.3])
    assert np.allclose(scale(ahead, 2).boxes[0], [20, 2, 0, 8, 4, 3, 0.3]) and scale(ahead, 2).points[0, 3] == 0.5


@given(SEEDS, SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_same_generator_gives_the_same_frame_and_the_given_one_stays_as_it_is(seed: int, draw: int) -> None:
    chosen = AugmentationSettings(sampling=MANY)
    frame, before, database = random_frame(seed), random_frame(seed), streets(0, 1)
    one, other = (augment(frame, chosen, np.random.default_rng(draw), database) for _ in range(2))
    assert same(one, other) and same(frame, before)


@given(SEEDS, st.integers(0, 3), SEEDS)
@settings(max_examples=40, deadline=None)
def test_sampled_objects_never_overlap_and_bring_exactly_their_points(seed: int, number: int, draw: int) -> None:
    frame = street(number) if seed % 2 else random_frame(seed, objects=seed % 4)
    database = joined([streets(0, 1, 2, 3), crop_objects(random_frame(draw, objects=12), "random")])
    result = sample_objects(frame, database, MANY, np.random.default_rng(draw))
    own, added = len(frame), len(result) - len(frame)
    assert np.array_equal(result.boxes[:own], frame.boxes) and np.array_equal(result.names[:own], frame.names)
    outlines = [Polygon(corners[:4, :2]) for corners in lidar_corners(result.boxes)]
    for new in range(own, own + added):
        for other in range(new):
            assert outlines[new].intersection(outlines[other]).area < 1e-9
    first = 0
    for row in range(own, own + added):
        source = np.flatnonzero((database.boxes == result.boxes[row]).all(axis=1))[0]
        points = database.points_of(int(source))
        inside = in_lidar_boxes(result.points, result.boxes[row : row + 1])[0]
        assert database.names[source] == result.names[row]
        assert np.array_equal(result.points[inside], points)
        assert np.array_equal(result.points[first : first + len(points)], points), "sampled points come first"
        first += len(points)
    kept = ~in_lidar_boxes(frame.points, result.boxes[own:]).any(axis=0)
    assert np.array_equal(result.points[first:], frame.points[kept])
    for entry in MANY.classes:
        assert (result.names == entry.name).sum() <= max(entry.most, (frame.names == entry.name).sum())


def test_sampling_fills_a_street_from_the_others() -> None:
    result = sample_objects(street(0), streets(1, 2, 3, 4), MANY, np.random.default_rng(0))
    assert len(result) > len(street(0))
    cars = sample_objects(street(0), streets(0), MANY, np.random.default_rng(0))
    assert same(cars, street(0)), "an object is never put onto itself"


def test_objects_with_few_points_or_of_other_classes_are_not_put_in() -> None:
    database = streets(1, 2, 3)
    sparse = np.diff(database.starts).min()
    only = SamplingSettings(classes=(ClassSampling(name="Car", most=1000, least_points=int(sparse) + 40),))
    empty = TrainingFrame(np.zeros((0, 4), np.float32), np.zeros((0, 7)), np.array([], dtype="U3"))
    result = sample_objects(empty, database, only, np.random.default_rng(1))
    assert len(result) and set(result.names) == {"Car"}
    assert in_lidar_boxes(result.points, result.boxes).sum(axis=1).min() >= sparse + 40


def test_a_database_survives_its_file_and_equal_objects_give_equal_bytes(tmp_path: Path) -> None:
    database = streets(0, 1)
    for name in ("one.npz", "two.npz"):
        write_database(tmp_path / name, database)
    read = read_database(tmp_path / "one.npz")
    for name in ("points", "starts", "boxes", "names", "frames"):
        assert np.array_equal(getattr(read, name), getattr(database, name)), name
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "two.npz"]


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "pickle", "other arrays", "counts"])
def test_a_damaged_database_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    path, database = tmp_path / "objects.npz", streets(0)
    write_database(path, database)
    if damage == "other arrays":
        np.savez(path, points=database.points)
    elif damage == "counts":
        arrays = {name: getattr(database, name) for name in ("points", "boxes", "names", "frames")}
        np.savez(path, starts=database.starts[:-1], **arrays)
    elif damage == "pickle":
        np.save(path.open("wb"), np.array([{"a": 1}]), allow_pickle=True)
    else:
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"not an archive"}[damage])
    with pytest.raises(DataRejected, match=r"objects\.npz is not a database of objects"):
        read_database(path)


def test_what_cannot_be_is_refused_with_the_field() -> None:
    frame, random = street(0), np.random.default_rng(0)
    with pytest.raises(UserError, match="no database"):
        augment(frame, AugmentationSettings(sampling=MANY), random)
    five = crop_objects(random_frame(0, columns=5), "000000")
    with pytest.raises(UserError, match="differ"):
        sample_objects(frame, five, MANY, random)
    with pytest.raises(UserError, match="joined"):
        joined([streets(0), five])
    with pytest.raises(UserError, match="joined"):
        joined([])
    with pytest.raises(UserError, match="above the largest"):
        ScalingSettings(low=1.2, high=1.1)
    with pytest.raises(UserError, match="sampled twice"):
        SamplingSettings(classes=(ClassSampling(name="Car", most=1), ClassSampling(name="Car", most=2)))
    with pytest.raises(ValidationError):
        FlipSettings(probability=1.5)
    with pytest.raises(ValidationError):
        AugmentationSettings.model_validate({"turn": {}})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"points": np.zeros((3, 2), np.float32)}, "points"),
        ({"points": np.zeros((3, 4))}, "points"),
        ({"boxes": np.ones((2, 7))}, "boxes"),
        ({"boxes": np.array([[0, 0, 0, 4, 2, -1, 0.0]])}, "boxes"),
        ({"boxes": np.array([[np.nan, 0, 0, 4, 2, 1, 0]])}, "boxes"),
        ({"names": np.array([1])}, "names"),
    ],
)
def test_a_frame_that_does_not_fit_together_is_refused(change: dict[str, np.ndarray], field: str) -> None:
    good = {"points": np.zeros((3, 4), np.float32), "boxes": np.ones((1, 7)), "names": np.array(["Car"])}
    assert len(TrainingFrame(**good)) == 1
    with pytest.raises(UserError) as refused:
        TrainingFrame(**{**good, **change})
    assert refused.value.field == field
