"""What a task gets of a KITTI version: linked files, splits, and an honest word on what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from mlops_assets.data.dataset import PreparedDataset, QualityCheck
from mlops_assets.data.forms import Preparation, installed_forms
from mlops_assets.data.frame_copying import copy_shard
from mlops_assets.data.kitti.frames import KittiCopy
from mlops_assets.data.quality import QualityRejected
from mlops_assets.reports.report_sections import quality
from mlops_assets.request.schema import DatasetRequest, Preprocessing, TrainingRequest
from tests.standins.kitti_worlds import FRAMES, copied, cut, generated, quiet, registered

FORM = installed_forms()["kitti"]
Prepare = Callable[..., tuple[PreparedDataset, Path]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated(tmp_path_factory.mktemp("preparation") / "world")


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Register, cut into shards of five frames, and prepare."""
    monkeypatch.setattr("mlops_assets.data.frame_registration.SHARD_FRAMES", 5)

    def prepared(source: Path, *, task: str = "detection_2d", seed: int = 42, work: str = "w", **asked: Any) -> Any:
        folder = tmp_path / work
        version, listed = registered(source, folder / "version")
        options = Preprocessing(**asked.pop("preprocessing", {}))
        request = TrainingRequest.model_validate(
            {"model_id": "line", "dataset": DatasetRequest(dataset_id="world", **asked), "learning_type": "supervised",
             "task_type": task, "algorithm": "any", "preprocessing": options, "seed": seed}
        )  # fmt: skip

        def shard(number: int) -> Path:
            copy_shard(listed.shard(number), source, version, number, folder / str(number), quiet)
            return folder / str(number)

        out = folder / f"out-{len(list(folder.glob('out-*')))}"
        out.mkdir()
        made = FORM.prepare(
            Preparation(
                folder / "version", request, "objects", out, datetime.now(UTC), memory_limit="1GB", shard=shard, told=quiet
            )
        )
        assert PreparedDataset.read(out) == made
        return made, out

    return prepared


def check(prepared: PreparedDataset, rule: str) -> QualityCheck:
    return next(check for check in prepared.checks if check.rule == rule)


def test_the_folder_is_a_copy_that_a_task_reads_and_takes_no_second_place(world: Path, prepare: Prepare) -> None:
    made, out = prepare(world, task="detection_3d", classes=("car", "Pedestrian"))
    copy = KittiCopy.open(out)
    assert {name: len(copy.split(name)) for name in made.rows} == made.rows == {"train": 9, "validation": 1, "test": 2}
    assert (made.form, made.target, made.split, made.columns) == ("kitti", "objects", "listed", ())
    assert not made.removed["damaged"] and all(check(made, rule).passed for rule in ("files", "labels", "duplicates"))
    for split, counts in made.target_counts.items():
        assert list(counts) == ["Car", "Pedestrian"]
        names = [name for frame in copy.split(split) for name in copy.objects(frame.frame_id).names.tolist()]
        assert counts == {name: names.count(name) for name in counts}
    for path in (out / "training").rglob("*.*"):
        assert path.stat().st_nlink == 2, path
    assert copy.cloud("000000").shape[1] == 4 and copy.image("000000").shape == (64, 160, 3)


def test_a_task_on_images_is_given_no_clouds(world: Path, prepare: Prepare) -> None:
    _, out = prepare(world)
    assert {path.name for path in (out / "training").iterdir()} == {"image_2", "calib", "label_2"}


def test_the_same_request_and_seed_give_the_same_digest_and_another_seed_another(world: Path, prepare: Prepare) -> None:
    first, second, other = prepare(world)[0], prepare(world, work="again")[0], prepare(world, seed=1)[0]
    assert first.digest == second.digest != other.digest
    assert first.target_counts == second.target_counts


def test_sizes_smaller_than_the_splits_take_so_many_and_larger_ones_all(world: Path, prepare: Prepare) -> None:
    few, out = prepare(world, train_size=3, validation_size=7518)
    assert few.rows == {"train": 3, "validation": 1, "test": 2} and few.removed["not_selected"] == 6
    assert len(list((out / "training" / "image_2").iterdir())) == 6, "frames in no split are not taken along"
    assert few.digest == prepare(world, train_size=3)[0].digest


def test_sequences_are_kept_together(world: Path, prepare: Prepare) -> None:
    made, out = prepare(world / "tracking")
    assert made.split == "sequences"
    of = {split: {line[:4] for line in (out / "ImageSets" / f"{split}.txt").read_text().split()} for split in made.rows}
    assert not of["train"] & of["test"] and not of["validation"] & (of["train"] | of["test"])


def test_a_damaged_file_costs_its_frame_and_is_named_in_check_and_report(world: Path, tmp_path: Path, prepare: Prepare) -> None:
    source = copied(world, tmp_path / "world")
    cut(source / "training" / "image_2" / "000005.png", 1000)
    made, out = prepare(source)
    assert sum(made.rows.values()) == FRAMES - 1 and made.removed["damaged"] == 1
    files = check(made, "files")
    assert (files.passed, files.severity) == (False, "alert") and "training/image_2/000005.png" in files.evidence
    assert not (out / "training" / "label_2" / "000005.txt").exists()
    version, _ = registered(source, tmp_path / "version")
    for language, word in (("en", "Data quality report"), ("ja", "データ品質レポート")):
        told = FORM.report(version, made.checks, language)
        assert word in told and "000005.png" in told.replace("\\", "") and "⚠️" in told


def test_a_japanese_report_tells_damage_and_wrong_labels_in_japanese(world: Path, tmp_path: Path, prepare: Prepare) -> None:
    source = copied(world, tmp_path / "world")
    cut(source / "training" / "velodyne" / "000004.bin", 1001)
    cut(source / "training" / "image_2" / "000005.png", 1000)
    labels = source / "training" / "label_2" / "000006.txt"
    line = labels.read_text().splitlines()[0].split()
    labels.write_text("\n".join([" ".join(["car", *line[1:]]), " ".join([*line[:4], "5", "5", "5", "5", *line[8:]])]) + "\n")
    made, _ = prepare(source, classes=("Car", "Tram"))
    version, _ = registered(source, tmp_path / "version")
    told = FORM.report(version, made.checks, "ja")
    summed_up = quality(made.checks, "ja", frames=True)
    for text in (told, summed_up):
        for words in (
            "training/velodyne/000004.bin: データが途中で切れています（1,001バイト）",
            "training/image_2/000005.png: 画像として読み取れません",
            "object 1 (car): KITTI にないクラスです（Car の誤り？）",
            "): 2Dボックス（5 5 5 5）に面積がありません",
            "class Tram: 指定されたクラスですが、物体がありません",
        ):
            assert words in text.replace("\\", ""), words
        assert not re.search(r"\b(is|was|has|no|asked|cut|whole|rate|rows|damaged)\b", text)


def test_too_much_damage_or_too_few_frames_stops_and_says_what_is_left(world: Path, tmp_path: Path, prepare: Prepare) -> None:
    source = copied(world, tmp_path / "world")
    for number in range(3):
        cut(source / "training" / "velodyne" / f"{number:06d}.bin", 7)
    with pytest.raises(QualityRejected, match=r"usable_frames: 9") as refused:
        prepare(source)
    assert [check.rule for check in refused.value.checks if not check.passed] == ["files"]
    for number in range(FRAMES):
        cut(source / "training" / "label_2" / f"{number:06d}.txt", 3)
    with pytest.raises(QualityRejected, match=r"usable_frames: 0"):
        prepare(source, work="none")


def test_a_frame_without_what_the_task_needs_is_left_out_and_told(world: Path, tmp_path: Path, prepare: Prepare) -> None:
    source = copied(world, tmp_path / "world")
    for number in range(4):
        (source / "training" / "velodyne" / f"{number:06d}.bin").unlink()
    images, _ = prepare(source)
    assert sum(images.rows.values()) == FRAMES and check(images, "files").passed, "images need no clouds"
    clouds, _ = prepare(source, task="detection_3d", work="clouds")
    assert sum(clouds.rows.values()) == FRAMES - 4 and clouds.removed["incomplete"] == 4
    assert check(clouds, "files").evidence == {"incomplete_frames": 4, "without_cloud": 4}
    assert (check(clouds, "files").severity, check(clouds, "files").passed) == ("alert", False)


def test_repeated_frames_are_learned_from_once(world: Path, tmp_path: Path, prepare: Prepare) -> None:
    source = copied(world, tmp_path / "world")
    for folder, suffix in (("image_2", "png"), ("velodyne", "bin")):
        content = (source / "training" / folder / f"000000.{suffix}").read_bytes()
        (source / "training" / folder / f"000004.{suffix}").write_bytes(content)  # one in train, one in val
    made, _ = prepare(source)
    assert made.removed["duplicates"] == 1 and not check(made, "duplicates").passed
    kept, _ = prepare(source, preprocessing={"remove_duplicates": False}, work="kept")
    assert sum(kept.rows.values()) == FRAMES


@pytest.mark.parametrize(("task", "folder", "suffix"), [("detection_2d", "image_2", "png"), ("detection_3d", "velodyne", "bin")])
def test_frames_that_differ_only_in_what_the_task_does_not_see_are_the_same_to_it(
    world: Path, tmp_path: Path, prepare: Prepare, task: str, folder: str, suffix: str
) -> None:
    source = copied(world, tmp_path / "world")
    content = (source / "training" / folder / f"000000.{suffix}").read_bytes()
    (source / "training" / folder / f"000004.{suffix}").write_bytes(content)  # one in train, one in val
    other = "detection_3d" if task == "detection_2d" else "detection_2d"
    assert prepare(source, task=task)[0].removed["duplicates"] == 1
    assert prepare(source, task=other, work="other")[0].removed["duplicates"] == 0


def test_labels_that_make_no_sense_and_classes_that_do_not_occur_raise_an_alert(
    world: Path, tmp_path: Path, prepare: Prepare
) -> None:
    source = copied(world, tmp_path / "world")
    labels = source / "training" / "label_2" / "000000.txt"
    line = labels.read_text().splitlines()[0].split()
    labels.write_text("\n".join([" ".join(["car", *line[1:]]), " ".join([*line[:4], "5", "5", "5", "5", *line[8:]])]) + "\n")
    made, _ = prepare(source, classes=("Car", "Tram"))
    found = check(made, "labels")
    assert (found.passed, found.severity) == (False, "alert")
    assert found.evidence["unknown_class"] == 1 and found.evidence["box_without_area"] == 1
    assert found.evidence["class Tram"] == "asked for, no object"
    assert any("did you mean Car" in str(value) for value in found.evidence.values())
    assert made.target_counts["train"]["Tram"] == 0
    with pytest.raises(QualityRejected, match="class_support"):
        prepare(source, classes=("Tram",), work="nothing to learn")


def test_names_from_a_hostile_copy_cannot_break_the_report(world: Path, tmp_path: Path, prepare: Prepare) -> None:
    source = copied(world, tmp_path / "world")
    labels = source / "training" / "label_2" / "000000.txt"
    line = labels.read_text().splitlines()[0].split()
    labels.write_text(" ".join(["|<b>@maintainer[x](http://a.b)|", *line[1:]]) + "\n")
    made, _ = prepare(source)
    version, _ = registered(source, tmp_path / "version")
    told = FORM.report(version, made.checks, "en")
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(told)
    assert "<b>" not in html and "@maintainer" not in html and "<a " not in html
    table = [row for row in told.splitlines() if row.startswith("| ") and "maintainer" in row]
    assert table and all(row.replace("\\|", "").count("|") in (3, 5) for row in table)


def test_the_real_frames_make_a_dataset_for_images_and_one_for_clouds(shared: Path, prepare: Prepare) -> None:
    source = shared / "data" / "kitti" / "object"
    images, out = prepare(source, classes=("Car", "Pedestrian", "Cyclist"))
    assert sum(images.rows.values()) == 14 and check(images, "files").passed and KittiCopy.open(out).image("000000").ndim == 3
    clouds, _ = prepare(source, task="detection_3d", work="clouds")
    assert sum(clouds.rows.values()) == 6 and clouds.removed["incomplete"] == 8
