"""Copies are indexed, read by frame, checked and converted: on a generated world, damaged in one way at a time."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.data.kitti.check import NOTES, CopyReport, check_copy, check_frame, report
from mlops_assets.data.kitti.classes import difficulty
from mlops_assets.data.kitti.coco import CocoPolicy, to_coco, write_coco
from mlops_assets.data.kitti.frames import KittiCopy, image_size, read_image
from mlops_assets.data.kitti.labels import read_labels
from mlops_assets.data.kitti.layout import index_folder, index_keys, read_split
from mlops_assets.data.kitti.tracking import read_tracking_labels, tracking_text
from mlops_assets.errors import DataRejected, NotFound, UserError
from sim.driving.config import WorldConfig
from sim.driving.world import World, write_world

SMALL = WorldConfig(beams=32, azimuth_step=0.4, image_width=620, image_height=188)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    write_world(root, World(seed=5, frames=6, sequences=1, sequence_frames=4, config=SMALL))
    return root


@pytest.fixture
def world(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "kitti")
    return tmp_path / "kitti"


def found(root: Path) -> CopyReport:
    return check_copy(KittiCopy.open(root))


def codes(checked: CopyReport) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for finding in checked.findings:
        if finding.code not in NOTES:
            told.setdefault(finding.code, []).append(f"{finding.frame}|{finding.file}|{finding.text}")
    return told


def edit(path: Path, change: dict[int, dict[int, str]]) -> None:
    """Replace columns of lines of a label file."""
    lines = [line.split() for line in path.read_text().splitlines()]
    for row, columns in change.items():
        for column, value in columns.items():
            lines[row][column] = value
    path.write_text("\n".join(map(" ".join, lines)) + "\n")


# --- layout ----------------------------------------------------------------------------------------------------------------


def test_a_generated_copy_is_indexed_in_both_layouts_and_from_the_training_folder_too(made: Path) -> None:
    index = index_folder(made)
    assert index.layout == "object" and list(index.frames) == [f"{n:06d}" for n in range(6)]
    assert index.frame("000002").cloud == "training/velodyne/000002.bin"
    assert index_folder(made / "training").frames == index.frames
    tracking = index_folder(made / "tracking")
    assert tracking.layout == "tracking"
    frame = tracking.frame("0000/000003")
    assert (frame.labels, frame.calibration) == ("training/label_02/0000.txt", "training/calib/0000.txt")
    assert (frame.sequence, frame.number) == ("0000", 3)
    assert all(not frame.missing() for frame in (*index, *tracking))


def test_keys_of_a_bucket_are_indexed_whatever_comes_before_training() -> None:
    keys = ["data/kitti/training/image_2/000007.png", "data/kitti/training/calib/000007.txt", "data/kitti/ImageSets/val.txt"]
    index = index_keys([*keys, "data/kitti/training/image_2/notes.md", "data/kitti/training/velodyne/.000007.bin.12"])
    assert index.frame("000007").missing() == ("cloud", "labels")
    assert index.splits == {"val": "data/kitti/ImageSets/val.txt"}
    assert index.strays == ("data/kitti/training/image_2/notes.md",)
    assert list(index.select(["000007"])) == [index.frame("000007")]


def test_two_copies_at_once_are_refused() -> None:
    with pytest.raises(DataRejected, match="more than one KITTI copy") as refused:
        index_keys(["a/training/image_2/000001.png", "b/training/image_2/000001.png"])
    assert "a (object), b (object)" in str(refused.value)


def test_a_folder_that_is_no_copy_and_a_frame_that_is_not_there_are_told(tmp_path: Path, made: Path) -> None:
    with pytest.raises(NotFound, match="not a KITTI copy"):
        index_folder(tmp_path)
    with pytest.raises(NotFound, match="000000, 000001, 000002, …"):
        index_folder(made).frame("9")


_PARTS = ["training", "testing", "image_2", "image_02", "velodyne", "calib", "label_2", "ImageSets", "0000", "..", "a"]
_FILES = ["000001.png", "0001.txt", "000001.bin", ".x", "å.txt", "x" * 80 + ".txt"]


@given(st.lists(st.tuples(st.lists(st.sampled_from(_PARTS), max_size=4), st.sampled_from(_FILES)), max_size=8))
@settings(max_examples=100, deadline=None)
def test_any_listing_is_indexed_without_inventing_files(names: list[tuple[list[str], str]]) -> None:
    keys = ["/".join([*folders, name]) for folders, name in names]
    try:
        index = index_keys(keys)
    except DataRejected:
        return
    for frame in index:
        assert {key for part in ("image", "cloud", "calibration", "labels") if (key := frame.key(part))} <= set(keys)


def test_a_split_is_read_and_a_damaged_one_refused(made: Path, world: Path) -> None:
    assert [frame.frame_id for frame in KittiCopy.open(made).split("val")] == ["000004"]
    with pytest.raises(NotFound, match="train, trainval, val"):
        KittiCopy.open(made).split("validation")
    for text, told in (("000001\n000001\n", "line 2: '000001' occurs twice"), ("../../etc\n", "is not a frame id")):
        with pytest.raises(DataRejected, match=told):
            read_split(text)
    (world / "ImageSets" / "val.txt").write_text("000001\n000099\n")
    told = codes(found(world))["split"]
    assert any("000099" in text for text in told), told
    (world / "ImageSets" / "val.txt").write_text("000001\n")
    assert "1 frames are in train and in val" in codes(found(world))["split"][0]


# --- reading by frame -----------------------------------------------------------------------------------------------------


def test_frames_of_a_sequence_share_their_files_and_keep_their_tracks(made: Path) -> None:
    copy = KittiCopy.open(made / "tracking")
    whole = read_tracking_labels(made / "tracking/training/label_02/0000.txt")
    first, last = copy.tracked("0000/000000"), copy.tracked("0000/000003")
    assert len(first.objects) == len(whole[0].objects) > 0
    assert set(first.tracks[first.tracks >= 0]) & set(last.tracks)
    assert copy.calibration("0000/000000").problems() == ()
    assert tracking_text(whole) == (made / "tracking/training/label_02/0000.txt").read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 1 Car 0 0\n", "line 1 has 3 columns"),
        ("x 1 Car\n", "'x' is not a whole number"),
        ("0 1\n", "an object are needed"),
        ("0 1 Car 0 0 0 1 1 2 2 1 1 1 0 0 5 0\n" * 2, "frame 0 has track 1 more than once"),
        ("\xff\xfe", "not text"),
    ],
)
def test_a_damaged_tracking_file_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "0000.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataRejected, match=told) as refused:
        read_tracking_labels(tmp_path / "0000.txt")
    assert str(tmp_path / "0000.txt") in str(refused.value)


def test_images_are_read_as_they_were_made_and_damaged_ones_refused(world: Path) -> None:
    path = world / "training/image_2/000001.png"
    assert read_image(path).shape == (188, 620, 3) and image_size(path, whole=True) == (620, 188)
    content = path.read_bytes()
    for damage in (b"", content[:-200], b"GIF89a", content[:4000] + b"\0" * 500 + content[4500:]):
        path.write_bytes(damage)
        with pytest.raises(DataRejected, match=r"000001\.png"):
            image_size(path, whole=True)


# --- check -----------------------------------------------------------------------------------------------------------------


def test_a_generated_copy_passes_in_both_layouts(made: Path) -> None:
    for root, frames in ((made, 6), (made / "tracking", 4)):
        checked = found(root)
        assert checked.problems == () and checked.frames == checked.checked == frames
        assert checked.sizes == {"620x188": frames}
        cars = next(count for count in checked.classes if count.name == "Car")
        assert cars.objects == cars.easy + cars.moderate + cars.hard + cars.none > 0
        assert cars.without_points == 0 < cars.points


def test_every_kind_of_damage_is_told_with_frame_and_file(world: Path) -> None:
    training = world / "training"
    (training / "velodyne/000000.bin").write_bytes(b"12345")
    (training / "image_2/000001.png").write_bytes(b"")
    (training / "calib/000002.txt").write_text("P0: 1\n")
    (training / "label_2/000003.txt").write_text("Car 0.00 0 x\n")
    (training / "velodyne/000004.bin").unlink()
    shutil.copy(training / "velodyne/000005.bin", training / "velodyne/000003.bin")
    (training / "velodyne/readme.doc").write_text("")
    (training / "velodyne/000005.pcd").write_text("")
    told = codes(found(world))
    assert set(told) == {"damaged_file", "missing_file", "duplicate_cloud", "double_file"}
    assert [text.split("|")[0] for text in told["damaged_file"]] == ["000000", "000001", "000002", "000003"]
    assert told["damaged_file"][0] == (
        "000000|training/velodyne/000000.bin|training/velodyne/000000.bin has 5 bytes, which is 0 points of 16 and 5 bytes: "
        "it was cut off"
    )
    assert told["missing_file"] == ["000004||no cloud file"]
    assert "frame 000003, byte for byte" in told["duplicate_cloud"][0]
    assert any(finding.code == "stray_file" and finding.file.endswith("readme.doc") for finding in found(world).findings)


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ({0: "Cra"}, "unknown_class", "did you mean Car?"),
        ({0: "pedestrian"}, "unknown_class", "did you mean Pedestrian?"),
        ({6: "640.00"}, "box_outside_image", "leaves the image of 620 x 188"),
        ({4: "400.00", 6: "300.00"}, "box_without_area", "2D box 400"),
        ({8: "0.00"}, "box_dimensions", "height x width x length are 0"),
        ({13: "-9.00"}, "box_behind_camera", "z is -9 m"),
        ({11: "30.00"}, "box_disagrees", "label or calibration is wrong"),
    ],
)
def test_every_wrong_label_is_told_with_its_row(world: Path, change: dict[int, str], code: str, told: str) -> None:
    path = world / "training/label_2/000002.txt"
    whole = int(np.flatnonzero((read_labels(path).truncation == 0) & (read_labels(path).names == "Car"))[0])
    edit(path, {whole: change})
    findings = codes(found(world))
    assert told in " ".join(findings[code])
    assert findings[code][0].startswith(f"000002|training/label_2/000002.txt|object {whole + 1} (")


def test_a_calibration_of_the_wrong_direction_is_told_once_and_not_as_wrong_labels(world: Path) -> None:
    path = world / "training/calib/000001.txt"
    path.write_text(path.read_text().replace("Tr_velo_to_cam:", "Tr_imu_to_velo_:").replace("Tr_imu_to_velo:", "Tr_velo_to_cam:"))
    assert list(codes(found(world))) == ["calibration"]


def test_boxes_without_points_are_a_note_because_kitti_has_them(world: Path) -> None:
    copy = KittiCopy.open(world)
    labels = world / "training/label_2/000001.txt"
    labels.write_text(labels.read_text() + "Car 0.30 3 0.00 10.00 80.00 30.00 90.00 1.50 1.60 3.90 -60.00 1.65 40.00 0.00\n")
    checked = check_frame(copy, copy.index.frame("000001"))
    (finding,) = checked.findings
    assert finding.code == "no_points_in_box" and not finding.is_problem
    assert sum(count.without_points for count in checked.classes) == 1


def test_frames_checked_elsewhere_come_together_in_one_report(made: Path) -> None:
    copy = KittiCopy.open(made)
    parts = [check_frame(copy, frame) for frame in copy.index]
    again = [type(part).model_validate_json(part.model_dump_json()) for part in parts]
    assert report(copy, again) == check_copy(copy)


def test_an_empty_copy_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "training/image_2").mkdir(parents=True)
    assert list(codes(found(tmp_path))) == ["empty_copy"]


def test_difficulties_follow_the_development_kit_at_their_exact_bounds() -> None:
    line = "Car {} {} 0 100 100 200 {} 1.5 1.6 3.9 0 1.6 20 0\n"
    cases = [(0.15, 0, 140), (0.16, 0, 140), (0.3, 1, 125), (0.5, 2, 125), (0.5, 3, 200), (0, 0, 124.9)]
    objects = read_labels("".join(line.format(*case) for case in cases))
    assert difficulty(objects) == ["easy", "moderate", "moderate", "hard", "none", "none"]


def test_the_real_frames_have_no_problem_but_the_clouds_that_are_not_there(shared: Path) -> None:
    checked = found(shared / "data/kitti/object")
    assert len(checked.problems) == 8
    assert {finding.text for finding in checked.problems} == {"no cloud file"}
    assert checked.sizes == {"1242x375": 11, "1224x370": 2, "1238x374": 1}


# --- COCO ------------------------------------------------------------------------------------------------------------------


def test_each_class_takes_the_role_that_the_policy_states(world: Path) -> None:
    box = "100.00 50.00 160.50 90.25 1.5 1.6 3.9 0 1.6 20 0"
    names = ("Car", "Van", "Truck", "Person_sitting", "DontCare", "Cyclist")
    (world / "training/label_2/000000.txt").write_text("".join(f"{name} 0.10 1 0 {box}\n" for name in names))
    document = to_coco(KittiCopy.open(world), ["000000"])
    assert document["categories"] == [
        {"id": 1, "name": "Car", "supercategory": "kitti"},
        {"id": 2, "name": "Pedestrian", "supercategory": "kitti"},
        {"id": 3, "name": "Cyclist", "supercategory": "kitti"},
    ]
    told = [(a["attributes"]["kitti_class"], a["category_id"], a["iscrowd"]) for a in document["annotations"]]
    assert told == [
        ("Car", 1, 0), ("Van", 1, 1), ("Person_sitting", 2, 1), ("DontCare", 1, 1), ("DontCare", 2, 1), ("DontCare", 3, 1),
        ("Cyclist", 3, 0),
    ]  # fmt: skip
    first = document["annotations"][0]
    assert first["bbox"] == [100.0, 50.0, 60.5, 40.25] and first["area"] == 60.5 * 40.25
    assert first["attributes"] == {"kitti_class": "Car", "truncated": 0.1, "occluded": 1, "row": 0}
    assert [a["id"] for a in document["annotations"]] == list(range(1, 8))
    assert document["info"]["roles"]["Truck: background"] == 1
    merged = CocoPolicy(categories=("Car",), merged={"Van": "Car", "Truck": "Car"}, ignored={}, dont_care="background")
    told = [a["iscrowd"] for a in to_coco(KittiCopy.open(world), ["000000"], merged)["annotations"]]
    assert told == [0, 0, 0]


def test_boxes_are_cut_to_the_image_of_their_own_frame(world: Path) -> None:
    box = "{} 50 {} 90 1.5 1.6 3.9 0 1.6 20 0"
    (world / "training/label_2/000000.txt").write_text(
        f"Car 0 0 0 {box.format(-8, 30)}\nCar 0 0 0 {box.format(600, 900)}\nCar 0 0 0 {box.format(620, 900)}\n"
    )
    document = to_coco(KittiCopy.open(world), ["000000"])
    assert [a["bbox"] for a in document["annotations"]] == [[0.0, 50.0, 30.0, 40.0], [600.0, 50.0, 20.0, 40.0]]
    assert document["info"]["roles"]["Car: outside the image"] == 1
    assert document["images"] == [
        {"id": 1, "file_name": "training/image_2/000000.png", "width": 620, "height": 188, "frame_id": "000000"}
    ]


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (CocoPolicy(categories=("car",)), "no such class"),
        (CocoPolicy(categories=("Car",), ignored={"Car": "Car"}), "not two"),
        (CocoPolicy(categories=("Car",), ignored={"Van": "Bus"}), "no category"),
        (CocoPolicy(categories=("DontCare",), ignored={}), "no such class"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(made: Path, policy: CocoPolicy, told: str) -> None:
    with pytest.raises(UserError, match=told):
        to_coco(KittiCopy.open(made), ["000000"], policy)


def test_perfect_detections_reach_one_and_those_in_crowd_regions_cost_nothing(made: Path, tmp_path: Path) -> None:
    evaluator = pytest.importorskip("faster_coco_eval", reason="the extra `perception` is not installed")
    copy = KittiCopy.open(made)
    document = to_coco(copy, copy.index.frames)
    write_coco(tmp_path / "truth.json", document)
    assert json.loads((tmp_path / "truth.json").read_text()) == document
    detections = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9 if a["iscrowd"] else 0.8}
        for a in document["annotations"]
    ]
    with redirect_stdout(io.StringIO()):
        truth = evaluator.COCO(str(tmp_path / "truth.json"))
        evaluation = evaluator.COCOeval_faster(truth, truth.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
