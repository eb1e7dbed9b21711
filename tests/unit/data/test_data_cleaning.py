"""From a version to three split files: order of removal, columns, labels, determinism, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas
import pytest

from mlops_assets.data import engine as engine_module
from mlops_assets.data.cleaning import prepare_dataset
from mlops_assets.data.content_digest import content_digest
from mlops_assets.data.dataset import SPLITS, PreparedDataset
from mlops_assets.data.quality import QualityRejected
from mlops_assets.data.splits import allocate
from mlops_assets.errors import DataRejected, UserError


def _splits(folder: Path) -> dict[str, pandas.DataFrame]:
    return {name: pandas.read_parquet(folder / f"{name}.parquet") for name in SPLITS}


@pytest.fixture
def customers(register: Any, customers_csv: Path) -> Path:
    return Path(register(customers_csv, target="churned", entity="user_id", sensitive=("region",))[0])


def test_splits_equal_an_independent_recomputation(
    customers: Path, customers_csv: Path, request_for: Any, tmp_path: Path
) -> None:
    prepared = prepare_dataset(customers, request_for(), "churned", tmp_path / "out")
    frame = pandas.read_csv(customers_csv)
    kept = frame[~frame.duplicated()]
    key = [hashlib.md5(f"42:{i}".encode()).hexdigest() for i in kept.index]
    wanted: dict[str, list[pandas.DataFrame]] = {name: [] for name in SPLITS}
    for _, rows in kept.assign(key=key).sort_values("key").groupby("churned"):
        counts = allocate(len(rows), 0.1, 0.2)
        first, second = counts["test"], counts["test"] + counts["validation"]
        for name, part in zip(("test", "validation", "train"), (rows[:first], rows[first:second], rows[second:]), strict=True):
            wanted[name].append(part)
    for name, found in _splits(tmp_path / "out").items():
        expected = pandas.concat(wanted[name]).sort_index()
        assert found["lifetime_value"].tolist() == expected["lifetime_value"].tolist()
        assert found["region"].fillna("").tolist() == expected["region"].fillna("").tolist()
        assert prepared.target_counts[name] == expected["churned"].value_counts().to_dict()
    assert prepared.removed == {"duplicates": 60, "missing_target": 0, "missing": 0, "outliers": 0}


def test_account_and_columns(customers: Path, request_for: Any, tmp_path: Path) -> None:
    prepared = prepare_dataset(customers, request_for(drop_columns=("lifetime_value",)), "churned", tmp_path / "out")
    assert prepared == PreparedDataset.read(tmp_path / "out")
    assert prepared.ignored == {
        "event_id": "identifier",
        "user_id": "entity",
        "plan_code": "constant",
        "lifetime_value": "drop_columns",
    }
    assert [column.name for column in prepared.columns][:3] == ["signed_up_at", "tenure_months", "monthly_charge"]
    assert (prepared.split, prepared.positive_class, prepared.entity, prepared.sensitive) == (
        "stratified",
        "yes",
        "user_id",
        ("region",),
    )
    train = _splits(tmp_path / "out")["train"]
    assert train.dtypes.astype(str).to_dict() == {
        "user_id": "object",
        "signed_up_at": "datetime64[us]",
        "tenure_months": "float64",
        "monthly_charge": "float64",
        "income": "float64",
        "support_calls": "float64",
        "contract": "object",
        "region": "object",
        "churned": "object",
    }
    assert train["user_id"].str.fullmatch(r"\d+").all()
    income = next(column for column in prepared.columns if column.name == "income")
    assert income.missing == train["income"].isna().sum() > 0
    assert income.maximum == train["income"].max()


def test_same_request_gives_the_same_content_whatever_threads_and_memory(
    customers: Path, request_for: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for(handle_outliers="zscore")
    first = prepare_dataset(customers, request, "churned", tmp_path / "a", memory_limit="2GB")
    monkeypatch.setattr(engine_module.os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4})
    second = prepare_dataset(customers, request, "churned", tmp_path / "b", memory_limit="2GB")
    third = prepare_dataset(customers, request, "churned", tmp_path / "c", memory_limit="64MB")
    assert first.digest == second.digest == third.digest
    other = prepare_dataset(customers, request.model_copy(update={"seed": 1}), "churned", tmp_path / "d")
    assert other.digest != first.digest


def test_digest_is_that_of_the_content_not_of_the_bytes(customers: Path, request_for: Any, tmp_path: Path) -> None:
    prepared = prepare_dataset(customers, request_for(), "churned", tmp_path / "out")
    for name in SPLITS:
        path = tmp_path / "out" / f"{name}.parquet"
        pandas.read_parquet(path).to_parquet(tmp_path / f"{name}.parquet", row_group_size=97, compression=None)
    rewritten = [(name, tmp_path / f"{name}.parquet") for name in SPLITS]
    assert content_digest(rewritten) == prepared.digest
    frame = pandas.read_parquet(tmp_path / "test.parquet")
    frame.loc[3, "contract"] = "one  year"
    frame.to_parquet(tmp_path / "test.parquet")
    assert content_digest(rewritten) != prepared.digest


def test_digest_tells_missing_from_empty_and_where_texts_end(tmp_path: Path) -> None:
    digests = set()
    for number, cells in enumerate((["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None])):
        pandas.DataFrame({"x": cells}).to_parquet(tmp_path / f"{number}.parquet")
        digests.add(content_digest([("train", tmp_path / f"{number}.parquet")]))
    assert len(digests) == 4


def _table(rows: int, **columns: Any) -> str:
    lines = [",".join(columns)]
    lines += [",".join(str(make(i)) for make in columns.values()) for i in range(rows)]
    return "\n".join(lines) + "\n"


def test_each_removed_row_is_counted_once_and_in_order(register: Any, request_for: Any, tmp_path: Path) -> None:
    text = _table(40, x=lambda i: i % 7 + i / 100, y=lambda i: "ab"[i % 2], z=lambda i: i % 3)
    text += "0.0,a,0\n" + "99,,1\n" + ",,1\n" + ",a,1\n" + ",a,1\n"
    folder, _ = register(text)
    prepared = prepare_dataset(folder, request_for(handle_missing="drop"), "y", tmp_path / "out")
    assert prepared.removed == {"duplicates": 2, "missing_target": 2, "missing": 1, "outliers": 0}
    assert sum(prepared.rows.values()) == 40
    kept = prepare_dataset(folder, request_for(remove_duplicates=False), "y", tmp_path / "kept")
    assert kept.removed == {"duplicates": 0, "missing_target": 2, "missing": 0, "outliers": 0}
    assert sum(kept.rows.values()) == 43
    assert sum(int(frame["x"].isna().sum()) for frame in _splits(tmp_path / "kept").values()) == 2


def test_dropping_missing_rows_ignores_columns_that_hold_nothing(register: Any, request_for: Any, tmp_path: Path) -> None:
    folder, _ = register(
        _table(40, x=lambda i: i, y=lambda i: "ab"[i % 2], empty=lambda _: "NA", gone=lambda i: "" if i % 2 else 1)
    )
    prepared = prepare_dataset(folder, request_for(handle_missing="drop", drop_columns=("gone",)), "y", tmp_path / "out")
    assert prepared.removed["missing"] == 0
    assert prepared.ignored == {"empty": "all_missing", "gone": "drop_columns"}


@pytest.mark.parametrize("method", ["iqr", "zscore"])
def test_outliers_are_fitted_on_training_rows_and_removed_from_them_only(
    register: Any, request_for: Any, tmp_path: Path, method: str
) -> None:
    folder, _ = register(
        _table(400, x=lambda i: 1e6 if i % 20 == 0 and i % 3 else i % 50, mostly_zero=lambda i: i % 30 == 0, y=lambda i: i % 2)
    )
    plain = prepare_dataset(folder, request_for(), "y", tmp_path / "plain")
    prepared = prepare_dataset(folder, request_for(handle_outliers=method), "y", tmp_path / "out")
    before, after = _splits(tmp_path / "plain"), _splits(tmp_path / "out")
    train = before["train"]["x"]
    first, third = train.quantile(0.25), train.quantile(0.75)
    low, high = (first - 1.5 * (third - first), third + 1.5 * (third - first))
    if method == "zscore":
        low, high = train.mean() - 3 * train.std(ddof=0), train.mean() + 3 * train.std(ddof=0)
    pandas.testing.assert_frame_equal(after["train"], before["train"][train.between(low, high)].reset_index(drop=True))
    pandas.testing.assert_frame_equal(after["test"], before["test"])
    assert prepared.removed["outliers"] == plain.rows["train"] - prepared.rows["train"]
    assert set(after["train"]["mostly_zero"]) == {"true", "false"} or len(set(after["train"]["mostly_zero"])) == 2


def test_number_classes_are_written_as_labels_and_regression_as_number(register: Any, request_for: Any, tmp_path: Path) -> None:
    folder, _ = register(_table(60, x=lambda i: i * i, y=lambda i: i % 3))
    prepare_dataset(folder, request_for(), "y", tmp_path / "classes")
    assert set(_splits(tmp_path / "classes")["train"]["y"]) == {"0", "1", "2"}
    prepared = prepare_dataset(folder, request_for("regression"), "y", tmp_path / "value")
    assert (prepared.split, prepared.target_counts, prepared.positive_class) == ("random", {}, None)
    assert _splits(tmp_path / "value")["train"]["y"].dtype == "float64"
    assert prepared.rows == {"train": 42, "validation": 6, "test": 12}


def test_time_split_is_chosen_by_a_declared_timestamp(register: Any, request_for: Any, tmp_path: Path) -> None:
    text = _table(50, at=lambda i: f"2026-01-{28 - i // 2:02d}" if i else "", x=lambda i: i % 9, y=lambda i: i)
    folder, _ = register(text, timestamp="at")
    prepared = prepare_dataset(folder, request_for("regression", drop_columns=("at",)), "y", tmp_path / "out")
    assert (prepared.split, prepared.timestamp, prepared.removed["missing_timestamp"]) == ("time", "at", 1)
    frames = _splits(tmp_path / "out")
    assert (
        frames["train"]["at"].max()
        < frames["validation"]["at"].min()
        <= frames["validation"]["at"].max()
        < frames["test"]["at"].min()
    )
    assert frames["train"]["y"].is_monotonic_increasing  # file order within a split
    assert [column.name for column in prepared.columns] == ["x"]
    undeclared, _ = register(text, name="undeclared")
    assert prepare_dataset(undeclared, request_for("regression"), "y", tmp_path / "b").split == "random"
    assert prepare_dataset(undeclared, request_for("regression", split="time"), "y", tmp_path / "c").timestamp == "at"


def test_impossible_splits_say_what_is_possible(register: Any, request_for: Any, tmp_path: Path) -> None:
    folder, _ = register(_table(50, x=lambda i: i % 9, y=lambda i: i))
    with pytest.raises(UserError, match="stratified split needs classes"):
        prepare_dataset(folder, request_for("regression", split="stratified"), "y", tmp_path / "out")
    with pytest.raises(UserError, match="column of dates"):
        prepare_dataset(folder, request_for("regression", split="time"), "y", tmp_path / "out")
    with pytest.raises(UserError, match="no feature is left"):
        prepare_dataset(folder, request_for("regression", drop_columns=("x",)), "y", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_scarce_class_is_refused_after_cleaning_and_carries_every_check(register: Any, request_for: Any, tmp_path: Path) -> None:
    rows = "".join(f"{i},a\n" for i in range(30)) + "1,b\n2,b\n3,b\n3,b\n"
    folder, _ = register("x,y\n" + rows + ",b\n")
    assert prepare_dataset(folder, request_for(), "y", tmp_path / "ok").target_counts["test"] == {"a": 6, "b": 1}
    folder, _ = register("x,y\n" + rows.replace("3,b\n", "2,b\n"), name="less")
    with pytest.raises(QualityRejected) as caught:
        prepare_dataset(folder, request_for(), "y", tmp_path / "out")
    assert isinstance(caught.value, DataRejected)
    failed = [check for check in caught.value.checks if not check.passed and check.severity == "stop"]
    assert [(check.rule, check.evidence) for check in failed] == [("class_support", {"b": 2})]
    assert {check.rule for check in caught.value.checks} >= {"schema", "target", "null_rate", "duplicates", "leakage"}
    assert "b: 2" in str(caught.value)


def test_time_split_without_a_class_in_training_is_refused(register: Any, request_for: Any, tmp_path: Path) -> None:
    folder, _ = register(
        _table(28, at=lambda i: f"2026-01-{i + 1:02d}", x=lambda i: i % 9, y=lambda i: "late" if i > 20 else "ab"[i % 2]),
        timestamp="at",
    )
    with pytest.raises(QualityRejected, match="train: no row of late"):
        prepare_dataset(folder, request_for(), "y", tmp_path / "out")


def test_a_changed_version_folder_never_leaves_a_mixed_result(register: Any, request_for: Any, tmp_path: Path) -> None:
    first, _ = register(_table(60, x=lambda i: i, y=lambda i: i % 2))
    second, _ = register(_table(90, x=lambda i: i, y=lambda i: i % 2), name="second")
    prepare_dataset(first, request_for(), "y", tmp_path / "out")
    prepared = prepare_dataset(second, request_for(), "y", tmp_path / "out")
    assert PreparedDataset.read(tmp_path / "out").digest == prepared.digest
    assert content_digest((name, tmp_path / "out" / f"{name}.parquet") for name in SPLITS) == prepared.digest
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "dataset.json",
        "test.parquet",
        "train.parquet",
        "validation.parquet",
    ]


@pytest.mark.parametrize(
    ("table", "target", "task"),
    [
        ("telco_churn", "Churn", "classification"),
        ("adult_income", "income", "classification"),
        ("california_housing", "median_house_value", "regression"),
    ],
)
def test_real_tables_are_prepared_whole(
    shared_tables: Path, register: Any, request_for: Any, tmp_path: Path, table: str, target: str, task: str
) -> None:
    folder, version = register(shared_tables / table / "data.csv", target=target)
    prepared = prepare_dataset(folder, request_for(task), target, tmp_path / "out")
    assert sum(prepared.rows.values()) + sum(prepared.removed.values()) == version.rows
    assert prepared.removed["duplicates"] == version.duplicate_rows
    for name, fraction in (("validation", 0.1), ("test", 0.2)):
        assert prepared.rows[name] / sum(prepared.rows.values()) == pytest.approx(fraction, abs=2e-4)
    again = prepare_dataset(folder, request_for(task), target, tmp_path / "again", memory_limit="64MB")
    assert again.digest == prepared.digest
