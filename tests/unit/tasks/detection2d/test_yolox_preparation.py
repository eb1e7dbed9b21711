"""A KITTI copy becomes COCO files and linked images; what cannot be learned is refused before anyone trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from generated_frames import SPLIT, asked, prepared_frames, relisted

from mlops_assets.errors import DataRejected, NotFound, UserError
from mlops_assets.tasks.detection2d.image_folder import ImageFolder
from mlops_assets.tasks.detection2d.preparation import policy_of, prepare


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_frames(tmp_path_factory.mktemp("streets"))


def test_annotations_and_images_of_every_split_are_there_without_a_copy(dataset: Path, tmp_path: Path) -> None:
    summary = prepare(dataset, asked(), tmp_path / "f")
    assert summary.rows == {split: len(rows) for split, rows in SPLIT.items()}
    assert summary.classes == ("Car", "Pedestrian", "Cyclist")
    assert summary.feature_names == ("image",)
    assert summary.warnings == ()
    folder = ImageFolder.read(tmp_path / "f")
    assert folder.summary == summary
    for split in SPLIT:
        images, truths = folder.images(split), folder.truths(split)  # type: ignore[arg-type]
        assert [images.image(row).name for row in range(len(images))] == list(truths)
        found = sum(int((~truth.crowd).sum()) for truth in truths.values() if truth.crowd is not None)
        assert found == summary.objects[split] == sum(images.counts().values())
        name = images.image(0).name
        assert (tmp_path / "f" / name).samefile(dataset / name)
        # a DontCare is a crowd region of every class for the evaluation, and one region for training
        crowds = truths[name].crowd
        assert crowds is not None
        assert int((images.image(0).classes == -1).sum()) <= int(crowds.sum())


def test_the_definition_states_what_becomes_of_van_and_dontcare(dataset: Path, tmp_path: Path) -> None:
    prepare(dataset, asked(), tmp_path / "en")
    prepare(dataset, asked(language="ja"), tmp_path / "ja")
    english, japanese = ((tmp_path / one / "definition.md").read_text(encoding="utf-8") for one in ("en", "ja"))
    assert "| Van | region to ignore for Car |" in english
    assert "| DontCare | region to ignore for every class |" in english
    assert "| Truck | background |" in english
    assert "| Van | Car の無視領域 |" in japanese
    assert "256 x 96 px" in english


def test_the_digest_follows_the_content_and_nothing_else(dataset: Path, tmp_path: Path) -> None:
    first = prepare(dataset, asked(), tmp_path / "a")
    assert prepare(dataset, asked({"epochs": 9}, seed=5), tmp_path / "b").digest == first.digest
    assert prepare(dataset, asked(), tmp_path / "a") == first, "a second call in the same folder"
    assert prepare(dataset, asked(classes=("Car",)), tmp_path / "c").digest != first.digest
    other = relisted(dataset, tmp_path / "other")
    image = other / "training/image_2/000010.png"
    content = image.read_bytes()
    image.unlink()  # it is linked to the first one's
    image.write_bytes(content + b"\0")
    assert prepare(other, asked(), tmp_path / "d").digest != first.digest


def test_classes_are_those_of_the_issue(dataset: Path, tmp_path: Path) -> None:
    summary = prepare(dataset, asked(classes=("car", "Van")), tmp_path / "f")
    assert summary.classes == ("Car", "Van")
    policy = json.loads((tmp_path / "f/annotations/train.json").read_text())["info"]["policy"]
    assert policy["ignored"] == {}
    assert policy_of(("Pedestrian",)).ignored == {"Person_sitting": "Pedestrian"}
    assert policy_of(("person sitting",)).categories == ("Person_sitting",)


@pytest.mark.parametrize(
    ("classes", "told"), [(("Car", "Bus"), "no such class"), (("Car", "car"), "twice"), (("DontCare",), "no such")]
)
def test_classes_that_kitti_does_not_have_are_refused(dataset: Path, tmp_path: Path, classes: tuple[str, ...], told: str) -> None:
    with pytest.raises(UserError, match=told) as refused:
        prepare(dataset, asked(classes=classes), tmp_path / "f")
    assert refused.value.field == "dataset.classes"
    assert not (tmp_path / "f").exists()


def test_nothing_to_learn_or_to_measure_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="train split has 0 frames"):
        prepare(relisted(dataset, tmp_path / "1", train=()), asked(), tmp_path / "f")
    with pytest.raises(DataRejected, match="test split has 0 frames"):
        prepare(relisted(dataset, tmp_path / "2", test=()), asked(), tmp_path / "f")
    with pytest.raises(DataRejected, match="a class has no object in the training split") as refused:
        prepare(dataset, asked(classes=("Car", "Tram")), tmp_path / "f")
    assert refused.value.given == "Tram"
    with pytest.raises(NotFound):
        prepare(relisted(dataset, tmp_path / "3", test=(10, 99)), asked(), tmp_path / "f")


def test_an_empty_validation_split_is_a_warning(dataset: Path, tmp_path: Path) -> None:
    summary = prepare(relisted(dataset, tmp_path / "copy", validation=()), asked(), tmp_path / "f")
    assert summary.warnings == ("no_validation_objects",)
    assert summary.rows["validation"] == 0


def test_settings_out_of_range_are_told_before_the_training(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="multiples of 32"):
        prepare(dataset, asked(size=(100, 100)), tmp_path / "f")
    with pytest.raises(UserError, match="exceed epochs"):
        prepare(dataset, asked({"epochs": 2, "warmup_epochs": 5}), tmp_path / "f")
