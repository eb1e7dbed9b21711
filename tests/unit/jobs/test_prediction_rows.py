"""Rows for `mlops predict` from CSV, JSON and standard input."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.rows import conform, read_rows
from mlops_assets.errors import UserError
from mlops_assets.tasks.interface import InputField, Signature


def written(folder: Path, content: bytes | str) -> Path:
    path = folder / "rows"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "rows", "as_text"),
    [
        ("a,b\n1,x\n2.5,\n", [{"a": "1", "b": "x"}, {"a": "2.5", "b": None}], True),
        ("\ufeffa,b\r\n1,x\r\n", [{"a": "1", "b": "x"}], True),
        ('a,b\n"x, y","two\nlines"\n', [{"a": "x, y", "b": "two\nlines"}], True),
        ("a\n 7 \n", [{"a": "7"}], True),
        ('{"a": 1}', [{"a": 1}], False),
        ('  [{"a": 1}, {"a": null}]', [{"a": 1}, {"a": None}], False),
        ('{"rows": [{"a": "日本"}]}', [{"a": "日本"}], False),
    ],
)
def test_rows_of_either_format(tmp_path: Path, content: str, rows: list[dict[str, Any]], as_text: bool) -> None:
    assert read_rows(written(tmp_path, content)) == (rows, as_text)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("[]", "no rows"),
        ("[1, 2]", "no rows"),
        ('{"rows": 3}', "no rows"),
        ("{not json", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        (b"a\n\xff\xfe\n", "UTF-8"),
        ("a\n" + "x" * 200_000 + "\n", "not valid CSV"),
    ],
)
def test_anything_else_is_the_persons_mistake(tmp_path: Path, content: bytes | str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_rows(written(tmp_path, content))


def test_a_missing_file_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_rows(tmp_path / "absent.csv")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("a\n名前\n".encode()), encoding="ascii"))
    assert read_rows(Path("-"))[0] == [{"a": "名前"}], "standard input is UTF-8 whatever the locale says"


@given(st.lists(st.dictionaries(st.text(min_size=1), st.integers() | st.text() | st.none()), min_size=1))
def test_json_rows_come_through_as_they_are(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.json"
    path.write_text(json.dumps(rows))
    assert read_rows(path) == (rows, False)


SIGNATURE = Signature(
    task_type="classification",
    inputs=(InputField(name="age", kind="number", required=False), InputField(name="postcode", kind="string", required=False)),
    classes=("no", "yes"),
    target="churn",
)


def test_cells_become_what_the_model_reads_and_other_columns_are_named() -> None:
    rows: list[dict[str, Any]] = [{"age": "41", "postcode": "01234", "note": "x"}, {"age": None, "postcode": None, "note": None}]
    assert conform(rows, SIGNATURE) == ([{"age": 41.0, "postcode": "01234"}, {"age": None, "postcode": None}], ["note"])


def test_a_table_without_any_input_of_the_model_is_refused() -> None:
    with pytest.raises(UserError, match="none of the columns") as told:
        conform([{"tenure": "41"}], SIGNATURE)
    assert told.value.allowed == ("age", "postcode")


def test_text_in_a_number_column_is_told_with_its_row() -> None:
    with pytest.raises(UserError, match="row 2") as told:
        conform([{"age": "41"}, {"age": "old"}], SIGNATURE)
    assert (told.value.field, told.value.given) == ("age", "old")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_every_digit(value: float) -> None:
    assert conform([{"age": repr(value)}], SIGNATURE)[0] == [{"age": value}]
