"""From a raw file to a typed version: kinds, missing cells, statistics, order, and hostile names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.data.column_kinds import MISSING_TOKENS, named_like_identifier
from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.data.engine import bytes_of, identifier, literal, scratch_folder
from mlops_assets.data.ingest import ingest, read_version
from mlops_assets.errors import NotFound, UserError


def _kind(register: Any, cells: list[str], name: str = "x", **entry: Any) -> str:
    text = f"{name},other\n" + "".join(f'"{cell}",{i}\n' for i, cell in enumerate(cells))
    return str(register(text, **entry)[1].columns[0].kind)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", " 2.5 ", "?", "-3e2", "NA", "+.5"], "number"),
        (["1_000", "2"], "category"),
        (["1,000", "2"], "category"),
        (["2026-01-31", "2026/2/1", "2026-01-31T09:00:00+09:00", ""], "timestamp"),
        (["epoch", "infinity"], "category"),
        (["1-2-3", "2-3-4"], "category"),
        (["yes", "no"], "category"),
        (["", "NA"], "category"),
        ([f"u{i}" for i in range(51)], "identifier"),
        ([f"u{i}" for i in range(50)], "category"),
        ([f"u{i}" for i in range(60)] + ["u1"] * 2, "identifier"),
        ([f"u{i}" for i in range(60)] + ["u1"] * 9, "category"),
        ([str(i) for i in range(60)], "number"),
    ],
)
def test_kind_follows_from_the_cells(register: Any, cells: list[str], kind: str) -> None:
    assert _kind(register, cells) == kind


def test_whole_numbers_under_an_id_name_identify_only_where_all_differ(register: Any) -> None:
    folder, version = register("user_id,y\n" + "".join(f"{2**60 + i},{i}\n" for i in range(60)))
    assert version.columns[0].kind == "identifier"
    assert pandas.read_parquet(folder / "data.parquet")["user_id"].tolist() == [str(2**60 + i) for i in range(60)]
    assert _kind(register, [str(i % 59) for i in range(60)], name="user_id") == "number"


def test_target_is_never_an_identifier(register: Any) -> None:
    assert _kind(register, [f"u{i}" for i in range(60)], target="x") == "category"


@pytest.mark.parametrize("name", ["id", "ID", "user_id", "customerID", "customerId", "顧客ID", "会員番号", "row-index"])
def test_names_of_identifiers(name: str) -> None:
    assert named_like_identifier(name)


@pytest.mark.parametrize("name", ["paid", "humid", "grid", "monkey", "valid", "idle", "AMID"])
def test_words_that_only_end_like_one_are_not(name: str) -> None:
    assert not named_like_identifier(name)


@pytest.mark.parametrize("token", MISSING_TOKENS)
def test_every_documented_token_means_missing_and_only_as_a_whole_cell(register: Any, token: str) -> None:
    folder, version = register(f'x,y\n" {token}\u3000",1\nx{token}y,2\n')
    assert version.columns[0].missing == 1
    assert pandas.read_parquet(folder / "data.parquet")["x"].tolist() == [None, f"x{token}y"]


def test_infinite_number_is_refused_by_name(register: Any) -> None:
    with pytest.raises(UserError, match="infinite") as caught:
        register("x,y\n1,1\n1e999,2\n")
    assert caught.value.field == "x"


def test_declared_timestamp_that_is_none_shows_the_cell(register: Any) -> None:
    with pytest.raises(UserError, match="31/01/2026"):
        register("x,y\n2026-01-31,1\n31/01/2026,2\n", timestamp="x")


def test_entry_with_an_unknown_column_gets_a_suggestion(register: Any) -> None:
    with pytest.raises(UserError, match="did you mean Churn") as caught:
        register("Churn,y\n1,1\n", target="churn")
    assert caught.value.field == "target"
    with pytest.raises(UserError) as caught:
        register("Churn,y\n1,1\n", ranges={"z": (0, 1)})
    assert caught.value.field == "ranges"


def test_version_is_the_digest_of_the_raw_bytes_and_is_read_back(register: Any, tmp_path: Path) -> None:
    folder, version = register("x,y\n1,a\n2,b\n1,a\n", target="y", timestamp=None)
    digest = hashlib.sha256((tmp_path / "version.csv").read_bytes()).hexdigest()
    assert version.version == f"sha256-{digest[:16]}"
    assert (version.raw_sha256, version.raw_bytes, version.rows, version.duplicate_rows) == (digest, 16, 3, 1)
    assert version.target_counts == {"a": 2, "b": 1}
    assert read_version(folder) == version
    assert sorted(p.name for p in folder.iterdir()) == ["data.parquet", "version.json"]


def test_statistics_equal_those_of_pandas(register: Any, customers_csv: Path) -> None:
    _, version = register(customers_csv, target="churned", timestamp="signed_up_at", entity="user_id")
    frame = pandas.read_csv(customers_csv)
    assert version.rows == len(frame)
    assert version.duplicate_rows == int(frame.duplicated().sum()) == 60
    assert version.target_counts == frame["churned"].value_counts().to_dict()
    assert version.newest == frame["signed_up_at"].max() + "+00:00"
    for column in version.columns:
        values = frame[column.name]
        assert column.missing == values.isna().sum()
        assert column.distinct == values.nunique()
        if column.kind == "number":
            assert (column.minimum, column.maximum) == (values.min(), values.max())
            assert column.mean == pytest.approx(values.mean(), rel=1e-11)
        elif column.kind == "category":
            assert column.top == values.value_counts().head(20).to_dict()


def test_whole_number_target_is_counted_without_a_fraction(register: Any) -> None:
    assert register("x,y\n1,0\n2,1\n3,1\n", target="y")[1].target_counts == {"1": 2, "0": 1}
    assert register("x,y\n1,0.5\n2,1\n3,1\n", name="other", target="y")[1].target_counts == {}


def test_rows_keep_the_order_of_the_file_on_several_threads(tmp_path: Path) -> None:
    rows = 200_000
    path = tmp_path / "in.csv"
    path.write_text("n,text,m\n" + "".join(f"{i},t{i % 7},{i % 3 or 'NA'}\n" for i in range(rows)))
    ingest(path, CatalogueEntry(dataset_id="d", source="s"), tmp_path / "out", memory_limit="2GB")
    assert pandas.read_parquet(tmp_path / "out" / "data.parquet")["n"].tolist() == list(range(rows))


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n", exclude_categories=("Cs",)), min_size=1, max_size=12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(_NAMES.map(str.strip).filter(bool), min_size=2, max_size=4, unique_by=str.lower))
def test_no_column_name_reaches_sql(tmp_path: Path, names: list[str]) -> None:
    frame = pandas.DataFrame({name: [f"v{i}", "w"] for i, name in enumerate(names)})
    frame.to_csv(tmp_path / "in.csv", index=False, quoting=1)
    try:
        ingest(tmp_path / "in.csv", CatalogueEntry(dataset_id="d", source="s"), tmp_path / "out")
    except UserError as refused:
        assert "looks like data" in refused.headline or "cannot be used" in refused.headline or "must differ" in refused.headline
        return
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "out" / "data.parquet"), frame)


def test_injection_in_a_column_name_is_only_a_name(register: Any) -> None:
    name = "x\"); COPY (SELECT 1) TO '/tmp/owned'; --"
    folder, _ = register('"{}",y\n1,2\n'.format(name.replace('"', '""')), target=name)
    assert list(pandas.read_parquet(folder / "data.parquet").columns) == [name, "y"]


@given(st.text(max_size=30))
@settings(max_examples=20, deadline=None)
def test_quoting_survives_a_round_trip(text: str) -> None:
    import duckdb

    if "\x00" in text:
        with pytest.raises(ValueError, match="NUL"):
            literal(text)
        return
    if any("\ud800" <= character <= "\udfff" for character in text):
        return
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT {literal(text)}").fetchone() == (text,)
        if text:
            assert connection.execute(f"SELECT 1 AS {identifier(text)}").description[0][0] == text


def test_memory_limit_is_read_or_refused() -> None:
    assert bytes_of("64MB") == 64_000_000
    assert bytes_of("1.5 GiB") == int(1.5 * 2**30)
    for wrong in ("1", "lots", "1MB", "-1GB", "1GB; DROP"):
        with pytest.raises(UserError, match="memory limit"):
            bytes_of(wrong)


def test_what_a_killed_process_left_is_swept_and_a_living_one_kept(tmp_path: Path) -> None:
    dead = tmp_path / ".scratch-4194305-x"  # above the largest process number of Linux
    living = tmp_path / f".scratch-{os.getpid()}-y"
    dead.mkdir()
    living.mkdir()
    with scratch_folder(tmp_path) as mine:
        assert not dead.exists()
        assert mine.exists()
        assert living.exists()
    assert not mine.exists()


def test_a_second_call_replaces_the_first_whole(register: Any, tmp_path: Path) -> None:
    folder, first = register("x,y\n1,a\n2,b\n")
    again = ingest(tmp_path / "version.csv", first.entry, folder)
    assert again.model_copy(update={"added_at": first.added_at}) == first
    with pytest.raises(UserError):
        register("x,y\n1\n")
    assert read_version(folder) == again


def test_absent_version_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no complete dataset version"):
        read_version(tmp_path)


def test_line_beyond_every_limit_is_refused(register: Any) -> None:
    with pytest.raises(UserError, match=r"cannot be read"):
        register("x,y\n" + "z" * 2_500_000 + ",1\n")


def test_work_that_cannot_fit_the_memory_limit_says_so(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    columns = 3000
    path.write_text(",".join(f"c{i}" for i in range(columns)) + "\n" + (",".join(["some text of a cell"] * columns) + "\n") * 700)
    with pytest.raises(UserError, match="does not fit the memory limit") as caught:
        ingest(path, CatalogueEntry(dataset_id="d", source="s"), tmp_path / "out", memory_limit="32MB")
    assert caught.value.given == "32MB"
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("table", "target", "rows", "duplicates", "kinds"),
    [
        (
            "telco_churn",
            "Churn",
            7043,
            0,
            {"customerID": ("identifier", 0), "TotalCharges": ("number", 11), "SeniorCitizen": ("number", 0)},
        ),
        ("adult_income", "income", 48842, 52, {"workclass": ("category", 2799), "age": ("number", 0)}),
        ("bike_sharing", "cnt", 17379, 0, {"timestamp": ("timestamp", 0), "dteday": ("timestamp", 0)}),
        (
            "california_housing",
            "median_house_value",
            20640,
            0,
            {"total_bedrooms": ("number", 207), "ocean_proximity": ("category", 0)},
        ),
        ("mammography", "class", 11183, 3334, {"class": ("number", 0)}),
    ],
)
def test_real_tables_have_their_known_traps(
    shared_tables: Path, register: Any, table: str, target: str, rows: int, duplicates: int, kinds: dict[str, tuple[str, int]]
) -> None:
    _, version = register(shared_tables / table / "data.csv", target=target)
    assert (version.rows, version.duplicate_rows) == (rows, duplicates)
    found = {column.name: (column.kind, column.missing) for column in version.columns}
    assert {name: found[name] for name in kinds} == kinds
