"""The quality rules of FR-002: what each refuses, warns of or notes, and with which evidence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.data.cleaning import prepare_dataset
from mlops_assets.data.dataset import DatasetVersion, QualityCheck
from mlops_assets.data.quality import QualityRejected, check_quality

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def _check(
    folder: Path, request: Any, rule: str, target: str = "y", previous: DatasetVersion | None = None, now: datetime = NOW
) -> QualityCheck:
    return next(check for check in check_quality(folder, request, target, previous, now) if check.rule == rule)


def _text(rows: int = 60, x: Any = lambda i: i % 13, y: Any = lambda i: "ab"[i % 2], **more: Any) -> str:
    columns = {"x": x, "y": y, **more}
    return "\n".join([",".join(columns), *(",".join(str(make(i)) for make in columns.values()) for i in range(rows))]) + "\n"


def test_schema_stops_on_a_column_lost_or_changed_since_the_previous_version(register: Any, request_for: Any) -> None:
    _, previous = register(_text(z=lambda i: i, w=lambda i: i), name="previous")
    folder, _ = register(_text(z=lambda i: f"t{i % 3}", extra=lambda i: i))
    check = _check(folder, request_for(), "schema", previous=previous)
    assert (check.severity, check.passed) == ("stop", False)
    assert check.evidence == {"z": "category, was number", "w": "missing, was number"}
    assert set(_check(folder, request_for(drop_columns=("z",)), "schema", previous=previous).evidence) == {"w"}
    assert _check(folder, request_for(), "schema").passed
    emptied, empty = register(_text(z=lambda _: "", w=lambda i: i), name="emptied")
    assert _check(emptied, request_for(), "schema", previous=previous).evidence == {"z": "no value, was number"}
    assert _check(emptied, request_for(), "schema", previous=empty).passed


def test_schema_stops_on_columns_that_the_request_names_wrongly(register: Any, request_for: Any) -> None:
    folder, _ = register(_text())
    request = request_for(drop_columns=("nothing",), entity_column="user", timestamp_column="x")
    check = _check(folder, request, "schema")
    assert check.evidence == {
        "nothing": "missing, named by drop_columns",
        "user": "missing, named by entity_column",
        "x": "number, timestamp_column needs timestamp",
    }
    with pytest.raises(QualityRejected, match="nothing"):
        prepare_dataset(folder, request, "y", folder.parent / "out")


@pytest.mark.parametrize(
    ("y", "task", "passed"),
    [
        (lambda i: "ab"[i % 2], "classification", True),
        (lambda _: "a", "classification", False),
        (lambda _: "", "classification", False),
        (lambda i: i / 7, "regression", True),
        (lambda _: 5, "regression", False),
        (lambda i: "ab"[i % 2], "regression", False),
        (lambda i: f"2026-01-{i % 28 + 1:02d}", "classification", False),
    ],
)
def test_target_must_be_learnable(register: Any, request_for: Any, y: Any, task: str, passed: bool) -> None:
    folder, _ = register(_text(y=y))
    check = _check(folder, request_for(task), "target")
    assert (check.severity, check.passed) == ("stop", passed)
    assert check.evidence["column"] == "y"


def test_absent_target_and_unknown_positive_class_stop(register: Any, request_for: Any, tmp_path: Path) -> None:
    folder, _ = register(_text(), positive_class="c")
    assert _check(folder, request_for(), "target").evidence["positive_class"] == "c is none of: a, b"
    assert not _check(folder, request_for(), "target", target="zz").passed
    with pytest.raises(QualityRejected, match="zz: missing"):
        prepare_dataset(folder, request_for(), "zz", tmp_path / "out")


def test_class_support_names_the_scarce_classes(register: Any, request_for: Any) -> None:
    folder, _ = register(_text(y=lambda i: "rare" if i < 2 else "ab"[i % 2]))
    check = _check(folder, request_for(), "class_support")
    assert (check.severity, check.passed, check.evidence) == ("stop", False, {"rare": 2})


def test_null_rate_alerts_from_five_percent_of_important_columns(register: Any, request_for: Any) -> None:
    text = _text(100, x=lambda i: "" if i < 5 else i, z=lambda i: "" if i < 4 else i)
    folder, _ = register(text)
    assert _check(folder, request_for(), "null_rate").evidence == {"x": 0.05}
    assert _check(folder, request_for(), "null_rate").severity == "alert"
    assert _check(folder, request_for(drop_columns=("x",)), "null_rate").passed
    important, _ = register(text, name="important", important=("z",))
    assert _check(important, request_for(), "null_rate").evidence == {"z": 0.04}
    prepare_dataset(folder, request_for(), "y", folder.parent / "out")  # an alert stops nothing


def test_range_counts_the_rows_outside(register: Any, request_for: Any) -> None:
    folder, _ = register(_text(), ranges={"x": (1.0, 10.0), "y": (0.0, 1.0)})
    check = _check(folder, request_for(), "range")
    assert (check.severity, check.passed) == ("alert", False)
    assert check.evidence == {"x": "13 rows outside [1, 10]; found 0 to 12", "y": "category, a range needs numbers"}
    inside, _ = register(_text(), name="inside", ranges={"x": (0.0, 12.0)})
    assert _check(inside, request_for(), "range").passed


def test_duplicates_are_noted_from_one_percent(register: Any, request_for: Any) -> None:
    few, _ = register(_text(200, x=lambda i: max(i, 1), y=lambda i: "ab"[max(i, 1) % 2]))
    assert _check(few, request_for(), "duplicates").evidence == {"rows": 1, "rate": 0.005}
    assert _check(few, request_for(), "duplicates").passed
    many, _ = register(_text(200, x=lambda i: max(i, 2), y=lambda i: "ab"[max(i, 2) % 2]), name="many")
    check = _check(many, request_for(), "duplicates")
    assert (check.severity, check.passed, check.evidence["rate"]) == ("log", False, 0.01)


def test_freshness_is_judged_where_it_is_declared(register: Any, request_for: Any) -> None:
    text = _text(moment=lambda i: f"2026-01-31T{i % 24:02d}:00:00+09:00")
    folder, _ = register(text, timestamp="moment", fresh_within_hours=1.0)
    newest = datetime(2026, 1, 31, 14, tzinfo=UTC)
    assert _check(folder, request_for(), "freshness", now=newest + timedelta(minutes=60)).passed
    late = _check(folder, request_for(), "freshness", now=newest + timedelta(minutes=90))
    assert (late.severity, late.passed, late.evidence["age_hours"]) == ("alert", False, 1.5)
    undeclared, _ = register(text, name="undeclared", timestamp="moment")
    assert _check(undeclared, request_for(), "freshness").passed


LEAKS = {
    "copy of the class": ("classification", {"z": lambda i: "XY"[i % 2]}),
    "threshold on a number": ("classification", {"z": lambda i: i * 0.01 + 100 * (i % 2)}),
    "filled for one class only": ("classification", {"z": lambda i: i % 11 if i % 2 else ""}),
    "scaled target": ("regression", {"z": lambda i: 3 * (i * 37 % 101) + 2}),
    "monotone function of the target": ("regression", {"z": lambda i: (i * 37 % 101) ** 5}),
    "text that stands for the target": ("regression", {"z": lambda i: f"t{i * 37 % 101}"}),
}


@pytest.mark.parametrize("name", LEAKS)
def test_feature_that_knows_the_target_is_suspected_by_name(register: Any, request_for: Any, name: str) -> None:
    task, columns = LEAKS[name]
    y = (lambda i: "ab"[i % 2]) if task == "classification" else (lambda i: i * 37 % 101)
    folder, _ = register(_text(3000, x=lambda i: i * 7919 % 1009, y=y, **columns))
    check = _check(folder, request_for(task), "leakage")
    assert (check.severity, check.passed) == ("alert", False)
    assert set(check.evidence) == {"z", "sampled_rows"}
    assert _check(folder, request_for(task, drop_columns=("z",)), "leakage").passed


def test_sum_of_features_is_suspected_and_a_good_feature_is_not(register: Any, request_for: Any) -> None:
    def noise(i: int, k: int) -> int:
        return (i * k + i * i) % 997

    text = _text(
        500,
        x=lambda i: noise(i, 31),
        y=lambda i: noise(i, 31) + noise(i, 57),
        z=lambda i: noise(i, 57),
        other=lambda i: noise(i, 11),
    )
    folder, _ = register(text)
    assert _check(folder, request_for("regression"), "leakage").evidence == {"x + z": 1.0, "sampled_rows": 500}
    assert _check(folder, request_for("regression", drop_columns=("z",)), "leakage").passed


def test_classes_on_a_line_are_suspected_but_iris_is_not(register: Any, request_for: Any, tmp_path: Path) -> None:
    from mlops_assets.data.sources import fetch

    iris, _ = register(fetch("sklearn:iris", tmp_path / "raw"), name="iris")
    assert _check(iris, request_for(), "leakage", target="species").passed
    coded, _ = register(_text(600, y=lambda i: "abc"[i % 3], z=lambda i: (i % 3) * 1000 + i), name="coded")
    assert "z" in _check(coded, request_for(), "leakage").evidence


@pytest.mark.parametrize("table", ["telco_churn", "adult_income", "mammography"])
def test_real_tables_do_not_cry_wolf(shared_tables: Path, register: Any, request_for: Any, table: str) -> None:
    target = {"telco_churn": "Churn", "adult_income": "income", "mammography": "class"}[table]
    folder, _ = register(shared_tables / table / "data.csv", target=target)
    assert _check(folder, request_for(), "leakage", target=target).passed


def test_bike_sharing_leak_is_told(shared_tables: Path, register: Any, request_for: Any) -> None:
    folder, _ = register(shared_tables / "bike_sharing" / "data.csv", target="cnt", timestamp="timestamp")
    check = _check(folder, request_for("regression"), "leakage", target="cnt")
    assert "casual + registered" in check.evidence
    assert _check(folder, request_for("regression", drop_columns=("casual", "registered")), "leakage", target="cnt").passed
