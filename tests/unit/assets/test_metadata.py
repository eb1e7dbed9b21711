"""What Dagster's pages show in place: below 1,000 characters, whatever the names and numbers are."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.assets.metadata import INLINE_LIMIT, bar_table, confusion_table, sparklines, table

names = st.text(max_size=200)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def text(value: object) -> str:
    return str(value.value)  # type: ignore[attr-defined]


@settings(max_examples=40, deadline=None)
@given(st.lists(names, min_size=1, max_size=40, unique=True), st.data())
def test_a_confusion_matrix_of_any_size_is_shown_in_place(classes: list[str], data: st.DataObject) -> None:
    row = st.lists(st.integers(0, 10**9), min_size=len(classes), max_size=len(classes))
    matrix = data.draw(st.lists(row, min_size=len(classes), max_size=len(classes)))
    assert len(text(confusion_table(classes, matrix))) < INLINE_LIMIT


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, st.floats(), max_size=60))
def test_importance_of_any_features_is_shown_in_place(values: dict[str, float]) -> None:
    assert len(text(bar_table(values, ("feature", "importance")))) < INLINE_LIMIT


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, st.lists(st.floats(), max_size=300), max_size=20))
def test_any_learning_curves_are_shown_in_place(curves: dict[str, list[float]]) -> None:
    assert len(text(sparklines(curves))) < INLINE_LIMIT


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(names, finite, finite), max_size=80))
def test_a_long_table_says_how_many_rows_it_leaves_out(rows: list[tuple[str, float, float]]) -> None:
    shown = text(table(("class", "precision", "recall"), rows))
    assert len(shown) < INLINE_LIMIT
    left_out = shown.rsplit("\n", 1)[-1]
    count = int(left_out.removesuffix(" more")) if left_out.endswith(" more") and not left_out.startswith("|") else 0
    assert sum(line.startswith("|") for line in shown.splitlines()) - 2 + count == len(rows)


def test_a_confusion_matrix_names_true_and_predicted_class_and_recall() -> None:
    lines = text(confusion_table(("benign", "malignant"), [[50, 3], [4, 28]])).splitlines()
    assert lines[2] == "| `benign` | **50** | 3 | 0.943 |"
    assert lines[3] == "| `malignant` | 4 | **28** | 0.875 |"


def test_too_many_classes_are_told_by_their_most_frequent_confusions() -> None:
    classes = [f"class number {i}" for i in range(30)]
    matrix = [[9 if i == j else 0 for j in range(30)] for i in range(30)]
    matrix[4][7], matrix[7][4] = 3, 8
    lines = text(confusion_table(classes, matrix)).splitlines()
    assert lines[2:] == ["| `class number 7` | `class number 4` | 8 |", "| `class number 4` | `class number 7` | 3 |"]


def test_the_longest_bar_is_the_largest_value_and_halves_are_half_as_long() -> None:
    lines = text(bar_table({"a": 0.2, "b": 0.4, "c": math.nan}, ("feature", "importance"), width=8)).splitlines()
    assert [line.split("|")[1:4] for line in lines[2:]] == [
        [" `b` ", " 0.4 ", " ████████ "],
        [" `a` ", " 0.2 ", " ████ "],
    ]


def test_a_falling_loss_is_drawn_falling_and_its_best_value_is_the_smallest() -> None:
    curve = [0.8, 0.6, 0.4, 0.2, 0.3]
    (line,) = text(sparklines({"validation_log_loss": curve})).splitlines()[2:]
    assert line == "| `validation_log_loss` | █▆▃▁▂ | 0.8 | 0.2 (4) | 0.3 |"
