"""Bringing a source to a raw file: what is accepted, and what is refused with which words."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas
import pytest

from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.data.ingest import ingest
from mlops_assets.data.raw_file import inspect
from mlops_assets.data.sources import fetch, installed_sources
from mlops_assets.errors import UserError

GOOD = "名前,age,city\n山田,31,東京\n佐藤,45,大阪\n"


def _columns(path: Path, folder: Path) -> dict[str, list[object]]:
    ingest(path, CatalogueEntry(dataset_id="d", source="s"), folder)
    return pandas.read_parquet(folder / "data.parquet").to_dict("list")


EXPECTED = {"名前": ["山田", "佐藤"], "age": [31.0, 45.0], "city": ["東京", "大阪"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_text_of_japanese_users_reads_the_same_in_every_usual_encoding(tmp_path: Path, encoding: str, line_end: str) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(GOOD.replace("\n", line_end).encode(encoding))
    raw = fetch(str(source), tmp_path / "raw")
    assert raw.read_bytes() == source.read_bytes()
    assert _columns(raw, tmp_path / "out") == EXPECTED


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ('"a|\x1eb","c"', ["a|\x1eb", "c"]),  # a record separator ends no line
        ('"first;\nsecond;third",b', ["first;\nsecond;third", "b"]),
        ('"say ""x;y""",b', ['say "x;y"', "b"]),
        ('5" disk;price', ['5" disk', "price"]),  # a quote inside a cell is a quote
    ],
)
def test_only_what_stands_outside_quotes_separates(tmp_path: Path, header: str, names: list[str]) -> None:
    separator = ";" if header.startswith("5") else ","
    (tmp_path / "in.csv").write_bytes(f"{header}\n1{separator}2\n".encode())
    assert list(inspect(tmp_path / "in.csv").names) == names


@pytest.mark.parametrize("separator", ["\t", ";", "|"])
def test_separator_is_found(tmp_path: Path, separator: str) -> None:
    source = tmp_path / ("in.tsv" if separator == "\t" else "in.csv")
    source.write_text(GOOD.replace(",", separator), encoding="utf-8")
    assert _columns(fetch(str(source), tmp_path / "raw"), tmp_path / "out") == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-8", "cp932"])
def test_gzip_is_read_as_it_is(tmp_path: Path, encoding: str) -> None:
    source = tmp_path / "in.csv.gz"
    source.write_bytes(gzip.compress(GOOD.encode(encoding)))
    raw = fetch(f"file:{source}", tmp_path / "raw")
    assert raw.name == "raw.csv.gz"
    assert _columns(raw, tmp_path / "out") == EXPECTED


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pandas.DataFrame(
        {
            "n": [1, 2, None],
            "flag": [True, False, True],
            "day": pandas.to_datetime(["2026-01-01", None, "2026-01-03"]),
            "zoned": pandas.to_datetime(["2026-01-01T09:00+09:00"] * 3),
            "text": [" a ", "?", "b"],
        }
    )
    frame.to_parquet(tmp_path / "in.parquet")
    raw = fetch(str(tmp_path / "in.parquet"), tmp_path / "raw")
    version = ingest(raw, CatalogueEntry(dataset_id="d", source="s"), tmp_path / "out")
    assert {c.name: (c.kind, c.missing) for c in version.columns} == {
        "n": ("number", 1),
        "flag": ("category", 0),
        "day": ("timestamp", 1),
        "zoned": ("timestamp", 0),
        "text": ("category", 1),
    }
    read = pandas.read_parquet(tmp_path / "out" / "data.parquet")
    assert read["zoned"].tolist() == [pandas.Timestamp("2026-01-01T00:00")] * 3
    assert read["text"].tolist() == ["a", None, "b"]
    assert read["flag"].tolist() == ["true", "false", "true"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b"", "empty"),
        ("header.csv", b"a,b\n", "only a header"),
        ("blank.csv", b"\n\n", "no header"),
        ("numbers.csv", b"39,State-gov,77516\n40,Private,3\n", "looks like data"),
        ("unnamed.csv", b",a\n0,1\n", "column 1 has no name"),
        ("twice.csv", b"a,b,A\n1,2,3\n", "must differ"),
        ("reserved.csv", b"a,file_row_number\n1,2\n", "cannot be used"),
        ("latin.csv", "name,v\nMüller,1\n".encode("latin-1"), "line 2 is neither UTF-8 nor Shift_JIS"),
        ("kana.csv", "name,v\nx,1\nÉ,1\n".encode("latin-1"), "neither UTF-8 nor Shift_JIS"),
        ("book.xlsx", b"PK\x03\x04rest", "Excel"),
        ("binary.csv", b"a,b\n\x00\x01,2\n", "NUL"),
        ("cut.csv.gz", gzip.compress(b"a,b\n1,2\n" * 100)[:-12], "gzip file is damaged"),
        ("cut.parquet", b"PAR1 and nothing more", "Parquet file is damaged"),
        ("text.parquet", b"a,b\n1,2\n", "Parquet file is damaged"),
        ("open.csv", b'a,b\n1,"2\n', "line 2 cannot be read"),
    ],
)
def test_unusable_file_is_refused_with_what_and_where(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        fetch(str(tmp_path / name), tmp_path / "raw")
    assert words in caught.value.headline
    assert caught.value.next_step
    assert list((tmp_path / "raw").glob("*")) == [] if (tmp_path / "raw").exists() else True


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        fetch(str(tmp_path / "none.csv"), tmp_path / "raw")
    with pytest.raises(UserError, match="folder"):
        fetch(str(tmp_path), tmp_path / "raw")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b,c\n1,2,3\n4,5\n", "line 3 has 2 fields, the header has 3"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 fields, the header has 2"),
        ('a,b\n"x\ny",1\n2\n', "line 4 has 1 fields"),
    ],
)
def test_line_with_another_number_of_fields_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "in.csv").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        _columns(tmp_path / "in.csv", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_mixed_line_ends_and_blank_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b'a,b\r\n1,"x\r\ny"\r\n\r\n2,z\n3,\n\n')
    assert _columns(tmp_path / "in.csv", tmp_path / "out") == {"a": [1.0, 2.0, 3.0], "b": ["x\r\ny", "z", None]}


def test_headers_that_are_years_or_counted_are_headers(tmp_path: Path) -> None:
    for header in ("country,2019,2020", "0,1,target"):
        (tmp_path / "in.csv").write_text(f"{header}\n5,6,7\n", encoding="utf-8")
        assert inspect(tmp_path / "in.csv").names == tuple(header.split(","))


def test_breast_cancer_comes_with_readable_names(tmp_path: Path) -> None:
    frame = pandas.read_csv(fetch("sklearn:breast_cancer", tmp_path))
    assert frame.shape == (569, 31)
    assert frame["diagnosis"].value_counts().to_dict() == {"benign": 357, "malignant": 212}
    assert {"mean_radius", "worst_fractal_dimension"} <= set(frame.columns)


@pytest.mark.parametrize(("name", "rows"), [("wine", 178), ("iris", 150), ("diabetes", 442)])
def test_other_shipped_datasets(tmp_path: Path, name: str, rows: int) -> None:
    assert inspect(fetch(f"sklearn:{name}", tmp_path)).bytes > 0
    assert len(pandas.read_csv(tmp_path / "raw.csv")) == rows


def test_unknown_names_and_schemes_say_what_is_possible(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean sklearn:breast_cancer"):
        fetch("sklearn:breast_canser", tmp_path)
    with pytest.raises(UserError, match="no installed source") as caught:
        fetch("ftp://host/data.csv", tmp_path)
    assert "sklearn:" in caught.value.allowed
    with pytest.raises(UserError, match="a source is needed"):
        fetch(" ", tmp_path)


def test_installed_distribution_adds_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site" / "extra-1.dist-info").mkdir(parents=True)
    (tmp_path / "site" / "extra-1.dist-info" / "METADATA").write_text("Name: extra\nVersion: 1\n")
    (tmp_path / "site" / "extra-1.dist-info" / "entry_points.txt").write_text("[mlops.sources]\ntwo = extra_source:Two\n")
    (tmp_path / "site" / "extra_source.py").write_text(
        "class Two:\n    scheme = 'two'\n    def fetch(self, rest, folder):\n"
        "        path = folder / 'raw.csv'\n        path.write_text(f'a,b\\n{rest},2\\n')\n        return path\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert "two" in installed_sources()
    assert fetch("two:7", tmp_path / "raw").read_text() == "a,b\n7,2\n"


def test_path_with_glob_characters_and_quotes(tmp_path: Path) -> None:
    folder = tmp_path / "it's [1] *"
    folder.mkdir()
    (folder / "in.csv").write_text(GOOD, encoding="utf-8")
    raw = fetch(str(folder / "in.csv"), folder / "raw")
    assert _columns(raw, folder / "out") == EXPECTED
