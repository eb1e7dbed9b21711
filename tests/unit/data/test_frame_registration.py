"""A KITTI copy is recognised, and becomes a version by what is in its files alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.data.forms import form_of_source
from mlops_assets.data.frame_registration import register_copy
from mlops_assets.errors import DataRejected, NotFound, UserError
from tests.standins.kitti_worlds import FRAMES, copied, generated, quiet, registered


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated(tmp_path_factory.mktemp("registration") / "world")


def test_both_layouts_are_recognised_in_every_way_of_naming_the_folder(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.parent)
    for source in (world, world / "training", f"file://{world}", f"file:{world}", "world", world / "tracking"):
        assert form_of_source(str(source)).name == "kitti", source


@pytest.mark.parametrize(
    "source", ["", "x\x00y", "a" * 5000, "~nobody-of-that-name/x", "sklearn:wine", "s3://bucket/x", "/no/such/folder", "/", "\n"]
)
def test_whatever_is_no_copy_is_left_to_the_tables_without_an_error(source: str) -> None:
    assert form_of_source(source).name == "table"


def test_a_file_or_another_folder_is_no_copy(tmp_path: Path) -> None:
    (tmp_path / "training" / "other").mkdir(parents=True)
    (tmp_path / "table.csv").write_text("a\n1\n")
    for source in (tmp_path, tmp_path / "table.csv", tmp_path / "table.csv" / "training"):
        assert form_of_source(str(source)).name == "table"


def test_the_list_holds_every_file_with_its_size_and_digest(world: Path, tmp_path: Path) -> None:
    version, listed = registered(world, tmp_path)
    assert (version.form, version.rows, version.shards, version.columns) == ("kitti", FRAMES, 1, ())
    assert version.parts == dict.fromkeys(("image", "cloud", "calibration", "labels"), FRAMES)
    files = [file for frame in listed.frames for file in frame.files.values()]
    assert len(files) == 4 * FRAMES and version.raw_bytes == sum(file.bytes for file in files)
    for file in files:
        content = (world / file.key).read_bytes()
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    lines = [line.split()[0] for path in (world / "training" / "label_2").iterdir() for line in path.read_text().splitlines()]
    assert version.target_counts == {name: lines.count(name) for name in sorted(set(lines) - {"DontCare"})}
    assert {name: len(ids) for name, ids in listed.lists.items()} == {"train": 10, "val": 2}


def test_the_same_content_elsewhere_is_the_same_version_and_any_change_is_another(world: Path, tmp_path: Path) -> None:
    version, _ = registered(world, tmp_path / "a")
    other = copied(world, tmp_path / "elsewhere")
    again, listed = registered(other, tmp_path / "b")
    assert again.version == version.version and listed.root == again.entry.source == str(other)
    seen = {version.version}
    lists = other / "ImageSets" / "val.txt"
    lists.write_text(lists.read_text().splitlines()[0] + "\n")
    seen.add(registered(other, tmp_path / "c")[0].version)
    cloud = other / "training" / "velodyne" / "000003.bin"
    cloud.write_bytes(cloud.read_bytes()[:-16])
    seen.add(registered(other, tmp_path / "d")[0].version)
    (other / "training" / "image_2" / "000000.png").unlink()
    seen.add(registered(other, tmp_path / "e")[0].version)
    assert len(seen) == 4


def test_a_frame_with_damaged_labels_or_without_some_files_is_listed(world: Path, tmp_path: Path) -> None:
    source = copied(world, tmp_path / "damaged")
    (source / "training" / "label_2" / "000001.txt").write_text("Car 1 2\n")
    (source / "training" / "image_2" / "000002.png").unlink()
    for folder, name in (("image_2", "000003.png"), ("velodyne", "000003.bin")):
        (source / "training" / folder / name).unlink()
    version, listed = registered(source, tmp_path / "out")
    ids = [frame.frame_id for frame in listed.frames]
    assert "000001" in ids and "000002" in ids and "000003" not in ids, "labels alone are no frame"
    assert version.rows == FRAMES - 1 and version.parts["image"] == FRAMES - 2


def test_repeated_frames_are_counted(world: Path, tmp_path: Path) -> None:
    source = copied(world, tmp_path / "repeated")
    for folder, suffix in (("image_2", "png"), ("velodyne", "bin")):
        content = (source / "training" / folder / f"000000.{suffix}").read_bytes()
        (source / "training" / folder / f"000005.{suffix}").write_bytes(content)
    assert registered(source, tmp_path / "out")[0].duplicate_rows == 1


def test_sequences_are_listed_with_the_files_that_their_frames_share(world: Path, tmp_path: Path) -> None:
    version, listed = registered(world / "tracking", tmp_path)
    assert (version.rows, listed.layout) == (FRAMES, "tracking")
    frame = listed.frames[4]
    assert (frame.frame_id, frame.object_id, frame.number) == ("0001/000001", "0001_000001", 1)
    assert frame.files["labels"].key == "training/label_02/0001.txt" and sum(version.target_counts.values()) > 0


def test_lists_keep_what_this_copy_has_and_a_broken_one_is_refused_by_name(world: Path, tmp_path: Path) -> None:
    source = copied(world, tmp_path / "lists")
    (source / "ImageSets" / "test.txt").write_text("007481\n007482\n")  # frames of the testing subset
    (source / "ImageSets" / "train.txt").write_text("000001\n999999\n")
    assert registered(source, tmp_path / "a")[1].lists["train"] == ("000001",)
    assert "test" not in registered(source, tmp_path / "a")[1].lists
    (source / "ImageSets" / "train.txt").write_text("000001\n../../etc\n")
    with pytest.raises(DataRejected, match=r"train\.txt, line 2"):
        registered(source, tmp_path / "b")


def test_what_cannot_be_trained_on_says_so(world: Path, tmp_path: Path) -> None:
    testing = tmp_path / "testing only"
    (testing / "testing" / "image_2").mkdir(parents=True)
    assert form_of_source(str(testing)).name == "kitti"
    with pytest.raises(UserError, match="only the testing subset"):
        registered(testing, tmp_path / "out")
    unlabelled = copied(world, tmp_path / "unlabelled")
    for path in (unlabelled / "training" / "label_2").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="no frame of this KITTI copy has labels"):
        registered(unlabelled, tmp_path / "out")
    empty = tmp_path / "empty"
    (empty / "training" / "image_2").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no frame"):
        registered(empty, tmp_path / "out")
    with pytest.raises(NotFound, match="not a KITTI copy"):
        registered(tmp_path / "nothing", tmp_path / "out")
    both = copied(world, tmp_path / "both")
    (both / "training" / "label_02").mkdir()
    (both / "training" / "label_02" / "0000.txt").write_text("")
    with pytest.raises(DataRejected, match="more than one KITTI copy"):
        registered(both, tmp_path / "out")


@pytest.mark.parametrize(
    ("declared", "option"),
    [({"target": "Car"}, "--target"), ({"sensitive": ("x",)}, "--sensitive"), ({"positive_class": "Car"}, "--positive"),
     ({"timestamp": "t"}, "--timestamp"), ({"entity": "e"}, "--entity"), ({"ranges": {"x": (0, 1)}}, "ranges")],
)  # fmt: skip
def test_columns_cannot_be_declared_of_frames(world: Path, tmp_path: Path, declared: dict[str, object], option: str) -> None:
    entry = CatalogueEntry.model_validate({"dataset_id": "w", "source": str(world), **declared})
    with pytest.raises(UserError, match="frames have no columns") as refused:
        register_copy(entry, tmp_path, quiet)
    assert refused.value.field == option and list(tmp_path.iterdir()) == []
    assert "`dataset: {classes: [Car]}`" in str(refused.value), "as an issue writes it; a `classes:` of its own is no key"


def test_the_real_frames_are_registered_with_what_each_has(shared: Path, tmp_path: Path) -> None:
    version, listed = registered(shared / "data" / "kitti" / "object", tmp_path)
    assert version.rows == 14 and version.parts == {"image": 14, "cloud": 6, "calibration": 14, "labels": 14}
    assert version.target_counts["Car"] > 10 and "DontCare" not in version.target_counts
    assert all(frame.files for frame in listed.frames)
