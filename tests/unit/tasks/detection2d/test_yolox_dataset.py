"""Labels that would train nothing are refused by name; files are read when they are needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlops_assets.errors import DataRejected
from mlops_assets.tasks.detection2d.dataset import DetectionDataset, labelled_image

PIXELS = np.full((40, 60, 3), 77, np.uint8)


@pytest.fixture
def coco(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A folder with two images and the content of a COCO file about them."""
    for name in ("a.png", "b.png"):
        Image.fromarray(PIXELS).save(tmp_path / name)
    return tmp_path, {
        "images": [
            {"id": 7, "file_name": "b.png", "height": 40, "width": 60},
            {"id": 3, "file_name": "a.png", "height": 40, "width": 60},
        ],
        "categories": [{"id": 5, "name": "Cyclist"}, {"id": 2, "name": "Car"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 5, "bbox": [10, 5, 20, 30], "iscrowd": 0},
            {"id": 2, "image_id": 3, "category_id": 2, "bbox": [0, 0, 8, 8], "iscrowd": 1},
        ],
    }  # fmt: skip


def read(folder: Path, content: object, names: tuple[str, ...] | None = None, **options: int) -> DetectionDataset:
    (folder / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    return DetectionDataset.of_coco(folder / "labels.json", folder, names, **options)


def test_coco_boxes_become_corners_and_crowds_become_ignored_regions(coco: tuple[Path, dict[str, Any]]) -> None:
    dataset = read(*coco)
    assert dataset.class_names == ("Car", "Cyclist")
    assert [dataset.image(index).name for index in range(2)] == ["a.png", "b.png"]
    sample = dataset.sample(0)
    assert sample.boxes.tolist() == [[10, 5, 30, 35], [0, 0, 8, 8]]
    assert sample.classes.tolist() == [1, -1]
    assert dataset.counts() == {"Car": 0, "Cyclist": 1}
    assert dataset.with_objects() == (0,)
    assert dataset.sample(1).boxes.shape == (0, 4)


def test_class_names_pick_and_order_the_categories(coco: tuple[Path, dict[str, Any]]) -> None:
    assert read(*coco, names=("Cyclist",)).sample(0).classes.tolist() == [0]
    with pytest.raises(DataRejected, match="Pedestrian"):
        read(*coco, names=("Car", "Pedestrian"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"category_id": 9}, "unknown category"),
        ({"bbox": [10, 5, 0, 30]}, "has no area"),
        ({"bbox": [10, 5, 70, 30]}, "outside of the image"),
        ({"bbox": [10, 5, float("inf"), 30]}, "has no area"),
        ({"bbox": [1, 2, 3]}, "damaged entry"),
        ({"bbox": None}, "damaged entry"),
        ({"image_id": 99}, "not a COCO file"),
    ],
)
def test_a_wrong_annotation_is_refused(coco: tuple[Path, dict[str, Any]], change: dict[str, object], told: str) -> None:
    folder, content = coco
    content["annotations"][0].update(change)
    with pytest.raises(DataRejected, match=told):
        read(folder, content)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"images": 1, "annotations": [], "categories": []}', "\ud800".encode("utf-8", "surrogatepass")]
)
def test_a_file_that_is_not_coco_is_refused(tmp_path: Path, content: str | bytes) -> None:
    (tmp_path / "labels.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataRejected, match="not a COCO file"):
        DetectionDataset.of_coco(tmp_path / "labels.json", tmp_path)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", ""])
def test_images_outside_of_the_folder_are_not_read(coco: tuple[Path, dict[str, Any]], name: str) -> None:
    folder, content = coco
    content["images"][0]["file_name"] = name
    with pytest.raises(DataRejected, match="outside of"):
        read(folder, content)


def test_unreadable_and_exchanged_images_are_named(coco: tuple[Path, dict[str, Any]]) -> None:
    folder, content = coco
    dataset = read(folder, content)
    whole = (folder / "a.png").read_bytes()
    for damaged in (b"", b"no image", whole[: len(whole) // 2]):
        (folder / "a.png").write_bytes(damaged)
        with pytest.raises(DataRejected, match=r"a\.png cannot be read"):
            dataset.sample(0)
    Image.fromarray(PIXELS[:30]).save(folder / "a.png")
    with pytest.raises(DataRejected, match=r"a\.png has another size"):
        dataset.sample(0)
    (folder / "b.png").unlink()
    with pytest.raises(DataRejected, match=r"b\.png cannot be read"):
        dataset.sample(1)


def test_pixels_are_kept_up_to_the_limit(coco: tuple[Path, dict[str, Any]]) -> None:
    folder, content = coco
    dataset = read(folder, content, cache_bytes=PIXELS.nbytes)
    for index in range(2):
        dataset.sample(index)
    (folder / "a.png").unlink()
    (folder / "b.png").unlink()
    assert np.array_equal(dataset.sample(0).image, PIXELS)
    with pytest.raises(DataRejected):
        dataset.sample(1)


def test_grey_and_palette_images_become_rgb(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).convert("P").save(tmp_path / "p.png")
    image = labelled_image("p", tmp_path / "p.png", [], [])
    assert DetectionDataset([image], ("Car",)).sample(0).image.shape == (40, 60, 3)


def test_class_numbers_without_names_are_refused() -> None:
    with pytest.raises(DataRejected, match=r"0 \(Car\)"):
        DetectionDataset.of_arrays([PIXELS], [[[1, 2, 3, 4]]], [[1]], ("Car",))
    with pytest.raises(DataRejected, match="2 boxes and 1 classes"):
        DetectionDataset.of_arrays([PIXELS], [[[1, 2, 3, 4], [1, 2, 3, 4]]], [[0]], ("Car",))


def test_the_digest_follows_labels_and_pixels() -> None:
    def digest(pixels: np.ndarray, box: list[int], names: tuple[str, ...] = ("Car",)) -> str:
        return DetectionDataset.of_arrays([pixels], [[box]], [[0]], names).digest()

    first = digest(PIXELS, [1, 2, 3, 4])
    assert first == digest(PIXELS.copy(), [1, 2, 3, 4])
    assert (
        len({first, digest(PIXELS + 1, [1, 2, 3, 4]), digest(PIXELS, [1, 2, 3, 5]), digest(PIXELS, [1, 2, 3, 4], ("Bus",))}) == 4
    )
