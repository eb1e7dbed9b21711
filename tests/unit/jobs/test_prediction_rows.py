"""Rows for `mlops predict` from CSV, JSON and standard input."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.commands.servers import read_rows
from mlops_assets.errors import UserError


def written(folder: Path, content: bytes | str) -> Path:
    path = folder / "rows"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a,b\n1,x\n2.5,\n", [{"a": 1.0, "b": "x"}, {"a": 2.5, "b": None}]),
        ("\ufeffa,b\r\n1,x\r\n", [{"a": 1.0, "b": "x"}]),
        ('a,b\n"x, y","two\nlines"\n', [{"a": "x, y", "b": "two\nlines"}]),
        ('{"a": 1}', [{"a": 1}]),
        ('  [{"a": 1}, {"a": null}]', [{"a": 1}, {"a": None}]),
        ('{"rows": [{"a": "日本"}]}', [{"a": "日本"}]),
        ("a\n 7 \n", [{"a": 7.0}]),
    ],
)
def test_rows_of_either_format(tmp_path: Path, content: str, rows: list[dict[str, Any]]) -> None:
    assert read_rows(written(tmp_path, content)) == rows


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("[]", "no rows"),
        ("[1, 2]", "no rows"),
        ('{"rows": 3}', "no rows"),
        ("{not json", "not valid JSON"),
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
    assert read_rows(Path("-")) == [{"a": "名前"}], "standard input is UTF-8 whatever the locale says"


@given(st.lists(st.dictionaries(st.text(min_size=1), st.integers() | st.text() | st.none()), min_size=1))
def test_json_rows_come_through_as_they_are(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.json"
    path.write_text(json.dumps(rows))
    assert read_rows(path) == rows


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_every_digit(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_text(f"a\n{value!r}\n")
    (row,) = read_rows(path)
    assert math.isclose(row["a"], value, rel_tol=0.0, abs_tol=0.0)
