"""The generated world: labels agree with points and pixels, sequences with themselves, and copies are whole or continued."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlops_assets.data.kitti.boxes import (
    camera_boxes,
    camera_to_lidar_boxes,
    has_box,
    in_camera_boxes,
    in_lidar_boxes,
    project_boxes,
)
from mlops_assets.errors import UserError
from sim.driving.camera import photograph
from sim.driving.config import WorldConfig
from sim.driving.lidar import scan
from sim.driving.placement import place
from sim.driving.rig import beam_elevations, build_rig
from sim.driving.scene import draw_scene
from sim.driving.shapes import BLOCKS, SIZES, ClassName
from sim.driving.world import GeneratedFrame, World, generate_frame, generate_sequence, write_world

SMALL = WorldConfig(beams=32, azimuth_step=0.4, image_width=620, image_height=188)
EXACT = SMALL.model_copy(update={"range_noise": 0.0, "dropout": 0.0, "pixel_noise": 0})
frames = settings(max_examples=12, deadline=None)
numbers = st.integers(0, 100_000)


def labelled(frame: GeneratedFrame) -> tuple[np.ndarray, np.ndarray]:
    real = has_box(frame.objects)
    return camera_boxes(frame.objects)[real], frame.tracks[real]


@given(numbers, numbers)
@example(2298, 25048)
@frames
def test_without_noise_every_point_of_an_object_lies_in_its_label_and_no_other_point_does(seed: int, number: int) -> None:
    frame = generate_frame(seed, number, EXACT)
    boxes, tracks = labelled(frame)
    inside = in_camera_boxes(frame.cloud, boxes, frame.calibration, margin=0.002)  # coordinates are whole millimetres
    for row, track in enumerate(tracks):
        own = frame.owners == track
        # Through the frame of a bicycle the LiDAR reaches what stands behind it, inside the same box.
        assert own.any()
        assert inside[row].sum() >= EXACT.label_points
        assert inside[row, own].all()
        strange = inside[row] & ~own & (frame.owners >= 0)
        assert not strange.any()


@given(numbers)
@frames
def test_with_noise_no_labelled_object_is_without_points(number: int) -> None:
    frame = generate_frame(1, number, SMALL)
    boxes, _ = labelled(frame)
    assert (in_camera_boxes(frame.cloud, boxes, frame.calibration).sum(axis=1) >= SMALL.label_points).all()
    lidar_boxes = camera_to_lidar_boxes(boxes, frame.calibration)
    assert (in_lidar_boxes(frame.cloud, lidar_boxes).sum(axis=1) >= SMALL.label_points).all()


@given(numbers)
@frames
def test_pixels_of_an_object_lie_in_its_2d_box_and_fill_it_unless_something_hides_it(number: int) -> None:
    scene, rig = draw_scene(2, number), build_rig(EXACT)
    placement = place(scene)
    picture = photograph(rig, EXACT, placement, 1.0, None, np.random.default_rng(0))
    boxes, visible = project_boxes(placement.camera_boxes, rig.calibration, rig.image_size)
    assert (picture.visible <= picture.alone).all()
    for row, box in enumerate(boxes):
        rows, columns = np.nonzero(picture.owners == row)
        if not len(rows):
            continue
        assert visible[row]
        assert columns.min() >= box[0] - 0.01 and columns.max() <= box[2] + 0.01
        assert rows.min() >= box[1] - 0.01 and rows.max() <= box[3] + 0.01
        whole = box[0] > 0 and box[1] > 0 and box[2] < 619 and box[3] < 187
        vehicle = placement.actors[row].name in ("Car", "Van", "Truck")  # others leave corners of their boxes empty
        if vehicle and whole and picture.visible[row] == picture.alone[row]:
            assert columns.max() - columns.min() >= 0.75 * (box[2] - box[0]) - 2
            assert rows.max() - rows.min() >= 0.75 * (box[3] - box[1]) - 2


@given(numbers)
@frames
def test_points_project_onto_pixels_of_the_same_object(number: int) -> None:
    scene, rig = draw_scene(3, number), build_rig(EXACT)
    placement = place(scene)
    measured = scan(rig, EXACT, placement, None, np.random.default_rng(0))
    picture = photograph(rig, EXACT, placement, 1.0, None, np.random.default_rng(0))
    pixels, depth = rig.calibration.to_image(rig.calibration.to_camera(measured.points))
    u, v = np.round(np.where(depth[:, None] > 0.5, pixels, -1)).astype(np.int64).clip(-1, 5000).T
    inside = (u >= 0) & (v >= 0) & (u < 620) & (v < 188) & (measured.owners >= 0) & (measured.owners < len(placement.actors))
    same = picture.owners[v[inside], u[inside]] == measured.owners[inside]
    assert inside.sum() > 50 and same.mean() > 0.85  # the two sensors stand apart: edges differ


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_world() -> None:
    def digest(frame: GeneratedFrame) -> str:
        content = frame.cloud.tobytes() + frame.image.tobytes() + frame.objects.boxes_2d.round(2).tobytes()
        return hashlib.sha256(content).hexdigest()

    assert digest(generate_frame(4, 7, SMALL)) == digest(generate_frame(4, 7, SMALL))
    assert len({digest(generate_frame(seed, number, SMALL)) for seed, number in ((4, 7), (4, 8), (5, 7))}) == 3


def test_clouds_and_pixels_of_a_seed_are_the_recorded_ones() -> None:
    """Another machine, another processor, another numpy: the same world. A change on purpose raises `GENERATION`."""
    frame = generate_frame(0, 0, SMALL)
    assert hashlib.sha256(frame.cloud.tobytes()).hexdigest()[:16] == "d5bf485317a0b0e3"
    assert hashlib.sha256(frame.image.tobytes()).hexdigest()[:16] == "67443ee55ed713ee"


def test_labels_are_exact_in_two_decimals() -> None:
    for number in range(3):
        boxes, _ = labelled(generate_frame(6, number, SMALL))
        assert np.allclose(boxes, boxes.round(2), atol=1e-12)


def test_occlusion_and_dont_care_follow_what_is_seen() -> None:
    counted = {"hidden": 0, "cut": 0, "ignored": 0}
    for number in range(6):
        frame = generate_frame(8, number, SMALL)
        objects = frame.objects
        real = has_box(objects)
        assert ((objects.occlusion[real] >= 0) & (objects.occlusion[real] <= 2)).all()
        assert (objects.locations[real, 2] <= SMALL.label_distance).all()
        assert (frame.tracks[~real] == -1).all() and (objects.names[~real] == "DontCare").all()
        edge = (objects.boxes_2d[:, 0] <= 0) | (objects.boxes_2d[:, 2] >= 619) | (objects.boxes_2d[:, 3] >= 187)
        assert (objects.truncation[real & ~edge] < 1e-6).all()
        counted["hidden"] += int((objects.occlusion[real] > 0).sum())
        counted["cut"] += int((objects.truncation[real] > 0.1).sum())
        counted["ignored"] += int((~real).sum())
    assert all(count > 3 for count in counted.values()), counted


def test_a_sequence_moves_its_objects_steadily_under_one_track() -> None:
    places: dict[int, list[np.ndarray]] = {}
    sizes: dict[int, set[tuple[float, ...]]] = {}
    for frame in generate_sequence(3, 0, 8, SMALL):
        boxes, tracks = labelled(frame)
        assert len(set(tracks.tolist())) == len(tracks)
        for box, track in zip(boxes, tracks.tolist(), strict=True):
            places.setdefault(track, []).append(box[[0, 2]])
            sizes.setdefault(track, set()).add(tuple(box[3:].tolist()))
    long = [np.array(path) for path in places.values() if len(path) == 8]
    assert len(long) >= 3
    for path in long:
        steps = np.diff(path, axis=0)
        assert np.ptp(steps, axis=0).max() <= 0.021  # positions are whole centimetres
        assert np.hypot(*steps.T).max() < 2.5
    assert all(len(kinds) == 1 for kinds in sizes.values())


def test_objects_never_stand_in_one_another() -> None:
    for number in range(4):
        for time in (0.0, 2.0):
            placement = place(draw_scene(9, number, duration=2.0), time)
            rig = build_rig(SMALL)
            boxes = camera_to_lidar_boxes(placement.camera_boxes, rig.calibration)
            centres = boxes[:, :3] * 1.0
            inside = in_lidar_boxes(centres, boxes)
            assert (inside.sum(axis=0) == 1).all()


def test_blocks_of_a_shape_touch_every_side_of_its_box() -> None:
    for name, blocks in BLOCKS.items():
        bounds = np.array([block[:6] for block in blocks])
        assert bounds[:, ::2].min(axis=0).tolist() == [0, 0, 0], name
        assert bounds[:, 1::2].max(axis=0).tolist() == [1, 1, 1], name


def seen_from_the_right(name: ClassName, height: int = 60) -> np.ndarray:
    """Which of ``height`` x ``height * length / height of the object`` places a thing of mean size covers, feet last."""
    size = SIZES[name]
    width = round(height * size.length / size.height)
    covered = np.zeros((height, width), dtype=np.bool_)
    across, up = (np.arange(width) + 0.5) / width, 1 - (np.arange(height) + 0.5) / height
    for block in BLOCKS[name]:
        covered |= ((block.z0 <= up) & (up < block.z1))[:, None] & ((block.x0 <= across) & (across < block.x1))[None, :]
    return covered


def test_a_cyclist_stands_on_two_wheels_and_a_pedestrian_on_two_feet() -> None:
    """Class must be told by form: both wear the same colours."""
    ground = {name: seen_from_the_right(name)[-8] for name in ("Cyclist", "Pedestrian")}
    for name, row in ground.items():
        assert np.count_nonzero(np.diff(row.astype(np.int8), prepend=0) == 1) >= 2, f"{name} is one slab"
    wheels = [block for block in BLOCKS["Cyclist"] if block.paint == "rubber" and block.z0 == 0]
    assert len(wheels) == 2 and not any(block.paint == "rubber" for block in BLOCKS["Pedestrian"])


def test_every_class_of_kitti_is_in_full_sight_often_enough_to_be_learned() -> None:
    """As the LiDAR of the default sees them: on cycle paths alone, parked cars hide nearly every bicycle."""
    config = WorldConfig(image_width=320, image_height=96, label_distance=40.0)
    counted = {name: [0, 0] for name in ("Car", "Pedestrian", "Cyclist")}
    for number in range(30):
        objects = generate_frame(12, number, config).objects
        for name, counts in counted.items():
            counts[0] += int((objects.names == name).sum())
            counts[1] += int(((objects.names == name) & (objects.occlusion == 0)).sum())
    for name, (labels, in_sight) in counted.items():
        assert labels >= 1.5 * 30 and in_sight >= 30, f"{name}: {labels} labels, {in_sight} in full sight in 30 frames"


def test_a_full_turn_has_points_behind_and_more_beams_more_points() -> None:
    around = generate_frame(0, 0, EXACT.model_copy(update={"full_turn": True}))
    ahead = generate_frame(0, 0, EXACT)
    assert (around.cloud[:, 0] < -5).sum() > 1000 and not (ahead.cloud[:, 0] < -0.5).any()
    assert len(generate_frame(0, 0, EXACT.model_copy(update={"beams": 64})).cloud) > 1.8 * len(ahead.cloud)
    assert beam_elevations(64)[0] == 2.0 and beam_elevations(64)[-1] == -24.3
    assert np.all(np.diff(beam_elevations(64)) < 0)


def test_less_light_and_more_loss_show_in_brightness_and_density() -> None:
    night = generate_frame(0, 0, SMALL.model_copy(update={"light": 0.4, "dropout": 0.5}))
    day = generate_frame(0, 0, SMALL)
    assert night.image.mean() < 0.5 * day.image.mean()
    assert len(night.cloud) < 0.6 * len(day.cloud)


# --- on disk ---------------------------------------------------------------------------------------------------------------


def content(root: Path) -> dict[str, str]:
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


def test_an_interrupted_copy_is_completed_by_the_same_call(tmp_path: Path) -> None:
    world = World(seed=1, frames=3, sequences=1, sequence_frames=2, config=SMALL)

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_world(tmp_path / "a", world, told=interrupt)
    (tmp_path / "a/training/velodyne/000001.bin").unlink()
    told: list[int] = []
    write_world(tmp_path / "a", world, told=lambda done, total: told.append(done))
    write_world(tmp_path / "b", world)
    assert content(tmp_path / "a") == content(tmp_path / "b") and told == [1, 2, 3, 4, 5]
    assert not [name for name in content(tmp_path / "a") if "/." in name]


def test_a_copy_grows_and_is_never_mixed_with_another(tmp_path: Path) -> None:
    write_world(tmp_path / "a", World(seed=1, frames=1, config=SMALL))
    write_world(tmp_path / "a", World(seed=1, frames=2, config=SMALL))
    write_world(tmp_path / "a", World(seed=1, frames=1, config=SMALL))
    assert (tmp_path / "a/ImageSets/trainval.txt").read_text() == "000000\n000001\n"
    with pytest.raises(UserError, match="another seed"):
        write_world(tmp_path / "a", World(seed=2, frames=1, config=SMALL))
    with pytest.raises(UserError, match="another config"):
        write_world(tmp_path / "a", World(seed=1, frames=1))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(UserError, match="was not generated here"):
        write_world(tmp_path / "mine", World(seed=1, frames=1))
    (tmp_path / "a/generated.json").write_text("{")
    with pytest.raises(UserError, match="not readable"):
        write_world(tmp_path / "a", World(seed=1, frames=1, config=SMALL))
