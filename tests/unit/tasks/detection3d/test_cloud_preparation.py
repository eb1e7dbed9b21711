"""A prepared dataset becomes a features folder: links, classes, objects of the training split only, and refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.data.dataset import PreparedDataset
from mlops_assets.data.kitti.boxes import in_lidar_boxes
from mlops_assets.data.kitti.frames import KittiCopy
from mlops_assets.data.kitti.labels import read_labels, write_labels
from mlops_assets.errors import DataRejected, IntegrityError, UserError
from mlops_assets.tasks.detection3d.cloud_features import CloudFeatures, spread
from mlops_assets.tasks.detection3d.kitti_clouds import KittiLidarFrames, in_view
from mlops_assets.tasks.detection3d.object_sampling import read_database
from mlops_assets.tasks.detection3d.preparation import prepare
from tests.unit.tasks.detection3d.cloud_worlds import request, write_dataset

IDS = {"train": range(6), "validation": range(6, 8), "test": range(8, 11)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("world"))


@pytest.fixture
def dataset(world: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(world, tmp_path / "data"))


def relabel(dataset: Path, change: dict[str, str], splits: tuple[str, ...]) -> None:
    """Give objects of some splits other class names."""
    for split in splits:
        for row in IDS[split]:
            path = dataset / "training" / "label_2" / f"{row:06d}.txt"
            objects = read_labels(path)
            names = np.array([change.get(name, name) for name in objects.names.tolist()], dtype=np.str_)
            write_labels(path, type(objects)(**{**vars(objects), "names": names}))


def test_the_folder_is_a_kitti_copy_whose_clouds_take_no_second_place_on_the_disk(dataset: Path, tmp_path: Path) -> None:
    summary = prepare(dataset, request(), tmp_path / "features")
    folder = CloudFeatures.read(tmp_path / "features")
    assert folder.summary == summary
    assert summary.rows == {"train": 6, "validation": 2, "test": 3}
    assert summary.feature_names == ("x", "y", "z", "intensity")
    for split, rows in IDS.items():
        assert folder.frame_ids(split) == tuple(f"{row:06d}" for row in rows)  # type: ignore[arg-type]
    cloud = "training/velodyne/000003.bin"
    assert (dataset / cloud).samefile(tmp_path / "features" / cloud)
    # images of drawn frames only
    assert {path.stem for path in (tmp_path / "features/training/image_2").iterdir()} == set(folder.notes.shown)
    assert set(folder.notes.shown) <= {f"{row:06d}" for row in IDS["test"]}
    assert folder.image_size("000000") == (414, 125)


def test_objects_to_put_in_come_from_the_training_split_only(dataset: Path, tmp_path: Path) -> None:
    summary = prepare(dataset, request(), tmp_path / "features")
    database = read_database(tmp_path / "features" / "objects.npz")
    assert set(database.frames.tolist()) <= {f"{row:06d}" for row in IDS["train"]}
    labelled = sum(int((np.isin(read_labels(path).names, summary.classes)).sum()) for path in _labels(dataset, "train"))
    assert summary.objects["train"] == labelled
    ids = [f"{row:06d}" for row in IDS["train"]]
    frames = KittiLidarFrames(KittiCopy.open(dataset), ids, dict.fromkeys(ids, 414))
    seen = sum(
        int((in_lidar_boxes(frame.points, frame.boxes).any(axis=1) & np.isin(frame.names, summary.classes)).sum())
        for frame in (frames[row] for row in range(len(ids)))
    )
    assert 0 < int(np.isin(database.names, summary.classes).sum()) == seen <= labelled


def _labels(dataset: Path, split: str) -> list[Path]:
    return [dataset / "training" / "label_2" / f"{row:06d}.txt" for row in IDS[split]]


def test_training_sees_no_point_beside_the_camera_view(dataset: Path, tmp_path: Path) -> None:
    prepare(dataset, request(), tmp_path / "features")
    folder = CloudFeatures.read(tmp_path / "features")
    frame, cloud = folder.training_frames("train")[0], folder.copy.cloud("000000")
    inside = in_view(cloud, folder.copy.calibration("000000"), 414)
    assert 0 < inside.sum() < len(cloud)
    np.testing.assert_array_equal(frame.points, cloud[inside])


def test_the_same_dataset_gives_the_same_digest_and_other_classes_another(dataset: Path, tmp_path: Path) -> None:
    one = prepare(dataset, request(), tmp_path / "one")
    again = prepare(dataset, request(), tmp_path / "one")
    cars = prepare(dataset, request(classes=("car",)), tmp_path / "cars")
    assert one == again
    assert cars.classes == ("Car",)
    assert cars.digest != one.digest


def test_a_class_without_training_objects_is_left_out_unless_it_was_asked_for(dataset: Path, tmp_path: Path) -> None:
    relabel(dataset, {"Cyclist": "Misc"}, ("train",))
    summary = prepare(dataset, request(), tmp_path / "features")
    assert summary.classes == ("Car", "Pedestrian")
    assert summary.dropped == {"Cyclist": "no_objects"}
    with pytest.raises(DataRejected, match="no object of Cyclist"):
        prepare(dataset, request(classes=("Car", "Cyclist")), tmp_path / "asked")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_definition_says_what_happens_to_every_class(dataset: Path, tmp_path: Path, language: str) -> None:
    relabel(dataset, {"Misc": "`Tram|"}, ("train",))
    prepare(dataset, request(language=language), tmp_path / "features")
    text = (tmp_path / "features" / "definition.md").read_text(encoding="utf-8")
    for name in ("`Car`", "DontCare", "Van", "Person_sitting"):
        assert name in text
    rows = [row for row in text.splitlines() if row.startswith("| ")]
    assert len({row.count(" | ") for row in rows[2:]}) == 1


def test_unusable_datasets_are_refused_with_a_way_out(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no anchor for Tram") as refused:
        prepare(dataset, request(classes=("Tram",)), tmp_path / "out")
    assert refused.value.field == "dataset.classes"
    relabel(dataset, dict.fromkeys(("Car", "Pedestrian", "Cyclist"), "Misc"), ("test",))
    with pytest.raises(DataRejected, match="test split has no object"):
        prepare(dataset, request(), tmp_path / "out")
    (dataset / "training/velodyne/000001.bin").unlink()
    with pytest.raises(DataRejected, match="frame 000001 lacks its cloud"):
        prepare(dataset, request(), tmp_path / "out")
    assert not (tmp_path / "out" / "summary.json").exists()
    prepared = PreparedDataset.read(dataset)
    (dataset / "dataset.json").write_text(prepared.model_copy(update={"form": "table"}).model_dump_json())
    with pytest.raises(UserError, match="frames of a KITTI copy"):
        prepare(dataset, request(), tmp_path / "out")


def test_lists_that_differ_from_the_dataset_are_damage(dataset: Path, tmp_path: Path) -> None:
    (dataset / "ImageSets/train.txt").write_text("000000\n")
    with pytest.raises(IntegrityError, match="lists 1 frames"):
        prepare(dataset, request(), tmp_path / "out")
    (dataset / "ImageSets/train.txt").unlink()
    with pytest.raises(IntegrityError, match="cannot be used"):
        prepare(dataset, request(), tmp_path / "out")


def test_an_image_that_is_not_there_is_taken_from_the_calibration(dataset: Path, tmp_path: Path) -> None:
    for path in (dataset / "training/image_2").iterdir():
        path.unlink()
    prepare(dataset, request(), tmp_path / "features")
    folder = CloudFeatures.read(tmp_path / "features")
    assert len(folder.notes.without_image) == 11
    width, height = folder.image_size("000009")
    assert abs(width - 414) < 20
    assert abs(height - 125) < 20


def test_frames_are_picked_evenly() -> None:
    assert spread(tuple("abcdefgh"), 4) == ("a", "c", "e", "g")
    assert spread(("a", "b"), 4) == ("a", "b")
