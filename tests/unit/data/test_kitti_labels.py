"""KITTI text columns: what is read is what was written, and a broken line is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.data.kitti.labels import KittiObjects, label_text, read_labels, write_labels
from mlops_assets.errors import DataRejected

LABELS = (
    "Car 0.15 1 1.47 710.58 178.68 762.11 215.12 1.38 1.70 4.06 5.15 1.64 30.07 1.64\n"
    "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10\n"
)
DETECTION = "Person_sitting -1 -1 -2.14 971.80 175.75 1059.08 262.01 1.55 0.59 1.80 7.73 1.61 13.94 -1.63 0.9438\n"


def test_every_column_lands_in_its_array() -> None:
    found = read_labels(LABELS)
    assert found.names.tolist() == ["Car", "DontCare"]
    assert (found.truncation.tolist(), found.occlusion.tolist()) == ([0.15, -1.0], [1, -1])
    assert found.alpha.tolist() == [1.47, -10.0]
    assert found.boxes_2d[0].tolist() == [710.58, 178.68, 762.11, 215.12]
    assert found.dimensions[0].tolist() == [1.38, 1.70, 4.06]
    assert found.locations[0].tolist() == [5.15, 1.64, 30.07]
    assert found.rotation_y.tolist() == [1.64, -10.0]
    assert found.scores is None
    scores = read_labels(DETECTION).scores
    assert scores is not None and scores.tolist() == [0.9438]


def test_text_is_written_as_kitti_writes_it() -> None:
    assert label_text(read_labels(LABELS)) == LABELS
    assert label_text(read_labels(DETECTION)) == DETECTION


def test_blank_lines_and_carriage_returns_are_no_objects() -> None:
    assert label_text(read_labels("\r\n" + LABELS.replace("\n", "\r\n") + "\n \n")) == LABELS


@pytest.mark.parametrize(("scores", "expected"), [(None, False), (False, False), (True, True)])
def test_an_empty_text_is_a_frame_without_objects(scores: bool | None, expected: bool) -> None:
    found = read_labels("", scores=scores)
    assert len(found) == 0
    assert found.boxes_2d.shape == (0, 4)
    assert (found.scores is not None) is expected
    assert label_text(found) == ""


def test_rows_are_selected_by_mask_and_by_index() -> None:
    found = read_labels(LABELS)
    assert label_text(found.select(found.names == "Car")) == LABELS.splitlines(keepends=True)[0]
    assert found.select(np.array([1, 0])).names.tolist() == ["DontCare", "Car"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LABELS.replace("762.11", "762,11"), ("line 1, column 7 (bbox right)", "762,11")),
        (LABELS.replace("-1000 -10\n", "-1000 nan\n"), ("line 2, column 15 (rotation_y)", "nan")),
        (LABELS.replace("30.07", "1e999"), ("line 1, column 14 (z)", "1e999")),
        (LABELS.replace("30.07", "3_0.07"), ("line 1, column 14 (z)", "3_0.07")),
        (LABELS.replace("30.07", "３０.07"), ("line 1, column 14 (z)", "３０.07")),
        (LABELS.replace(" 1 1.47", " 7 1.47"), ("line 1, column 3 (occluded)", "7")),
        (LABELS.replace(" 1 1.47", " 0.5 1.47"), ("line 1, column 3 (occluded)", "0.5")),
        (LABELS + DETECTION, ("line 3", "16 columns")),
        (DETECTION + LABELS, ("line 2", "15 columns")),
        ("Car 1 2 3\n", ("line 1", "4 columns", "15 columns")),
        ("\n\nCar " + "x" * 100_000, ("line 3", "2 columns")),
    ],
)
def test_a_broken_line_is_named_with_its_column_and_value(tmp_path: Path, text: str, said: tuple[str, ...]) -> None:
    path = tmp_path / "000123.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataRejected) as caught:
        read_labels(path)
    for part in (str(path), *said):
        assert part in str(caught.value)
    assert caught.value.next_step
    assert len(str(caught.value)) < 1000


def test_what_kind_of_file_is_meant_can_be_said() -> None:
    with pytest.raises(DataRejected, match="16 columns"):
        read_labels(LABELS, scores=True)
    with pytest.raises(DataRejected, match="15 columns"):
        read_labels(DETECTION, scores=False)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "000001.txt"
    path.write_bytes(b"Car \xff\xfe")
    with pytest.raises(DataRejected, match=r"000001\.txt is not text: byte 4"):
        read_labels(path)


def test_a_class_name_that_would_break_the_line_is_refused() -> None:
    found = read_labels(LABELS)
    for name in ("", "Big Car", "Car\n"):
        broken = KittiObjects(**{**vars(found), "names": np.array([name, "Car"])})
        with pytest.raises(ValueError, match="one word"):
            label_text(broken)


def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    found = read_labels(LABELS)
    broken = KittiObjects(**{**vars(found), "alpha": np.array([np.nan, 0.0])})
    with pytest.raises(ValueError, match="not finite"):
        write_labels(tmp_path / "000000.txt", broken)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "000000.txt").mkdir()
    with pytest.raises(OSError):
        write_labels(tmp_path / "000000.txt", read_labels(LABELS))
    assert [path.name for path in tmp_path.iterdir()] == ["000000.txt"]


def test_arrays_of_different_lengths_are_refused() -> None:
    found = read_labels(LABELS)
    with pytest.raises(ValueError, match="alpha"):
        KittiObjects(**{**vars(found), "alpha": np.zeros(3)})


number = st.floats(-1000, 1000).map(lambda value: round(value, 4))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.text("abcXYZ_-é車", min_size=1, max_size=8), st.integers(-1, 3), st.lists(number, min_size=13, max_size=13)),
        max_size=5,
    )
)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, list[float]]]
) -> None:
    values = np.array([row[2] for row in rows]).reshape(len(rows), 13)
    written = KittiObjects(
        names=np.array([row[0] for row in rows], dtype=np.str_),
        truncation=values[:, 0],
        occlusion=np.array([row[1] for row in rows], dtype=np.int64),
        alpha=values[:, 1],
        boxes_2d=values[:, 2:6],
        dimensions=values[:, 6:9],
        locations=values[:, 9:12],
        rotation_y=values[:, 12],
        scores=values[:, 0],
    )
    path = tmp_path_factory.mktemp("labels") / "000000.txt"
    write_labels(path, written, decimals=4)
    found = read_labels(path, scores=True)
    for name, array in vars(written).items():
        assert np.array_equal(getattr(found, name), array), name


def test_real_labels_keep_every_byte(shared: Path) -> None:
    paths = sorted((shared / "data" / "kitti" / "object" / "training" / "label_2").glob("*.txt"))
    assert paths
    for path in paths:
        assert label_text(read_labels(path)) == path.read_text(encoding="utf-8"), path.name
