"""Which row goes where: exact counts, no dependence on threads, and a key that anyone can recompute."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.data.dataset import SPLITS
from mlops_assets.data.splits import allocate, hashed_split, time_split

FRACTIONS = st.sampled_from([0.01, 0.1, 0.15, 0.2, 0.25, 0.3, 0.49])


@pytest.fixture
def connection() -> Iterator[Any]:
    with duckdb.connect() as opened:
        yield opened


@given(st.integers(0, 10_000), FRACTIONS, FRACTIONS)
def test_allocation_is_exact_and_leaves_no_split_empty(rows: int, validation: float, test: float) -> None:
    counts = allocate(rows, validation, test)
    assert sum(counts.values()) == rows
    assert min(counts.values()) >= (1 if rows >= 3 else 0)
    quotas = {"train": 1 - validation - test, "validation": validation, "test": test}
    floors = {name: int(Fraction(str(validation if name == "validation" else test)) * rows) for name in ("validation", "test")}
    if rows >= 3 and all(floors.values()):
        for name in SPLITS:
            assert abs(counts[name] - quotas[name] * rows) < 1 + 1e-9


def test_known_allocations() -> None:
    assert allocate(3, 0.15, 0.15) == {"train": 1, "validation": 1, "test": 1}
    assert allocate(100, 0.15, 0.15) == {"train": 70, "validation": 15, "test": 15}
    assert allocate(569, 0.15, 0.15) == {"train": 398, "validation": 86, "test": 85}
    assert allocate(0, 0.15, 0.15) == {"train": 0, "validation": 0, "test": 0}


def _rows(connection: Any, predicates: dict[Any, str], table: str = "t") -> dict[str, set[int]]:
    return {
        name: {r[0] for r in connection.execute(f"SELECT rn FROM {table} WHERE {predicates[name]}").fetchall()} for name in SPLITS
    }


def test_split_can_be_recomputed_with_hashlib(connection: Any) -> None:
    connection.execute(
        "CREATE TABLE t AS SELECT range AS rn, CASE WHEN range % 10 = 0 THEN 'it''s' ELSE 'b' END AS y FROM range(1000)"
    )
    counts = {"it's": allocate(100, 0.2, 0.1), "b": allocate(900, 0.2, 0.1)}
    found = _rows(connection, hashed_split(connection, "t", "y", counts, 7))
    for label, remainder in (("it's", {0}), ("b", set(range(1, 10)))):
        members = sorted(
            (i for i in range(1000) if i % 10 in remainder), key=lambda i: hashlib.md5(f"7:{i}".encode()).hexdigest()
        )
        test, validation = counts[label]["test"], counts[label]["validation"]
        assert found["test"] & set(members) == set(members[:test])
        assert found["validation"] & set(members) == set(members[test : test + validation])
        assert found["train"] & set(members) == set(members[test + validation :])


def test_another_seed_gives_another_split_of_the_same_size(connection: Any) -> None:
    connection.execute("CREATE TABLE t AS SELECT range AS rn FROM range(500)")
    counts = {"all": allocate(500, 0.15, 0.15)}
    first, second = (_rows(connection, hashed_split(connection, "t", "'all'", counts, seed)) for seed in (1, 2))
    assert first["test"] != second["test"]
    assert {k: len(v) for k, v in first.items()} == {k: len(v) for k, v in second.items()} == counts["all"]


def _timed(connection: Any, hours: list[int]) -> dict[str, list[int]]:
    connection.execute("CREATE OR REPLACE TABLE t (rn BIGINT, moment TIMESTAMP)")
    connection.executemany(
        "INSERT INTO t VALUES (?, TIMESTAMP '2026-01-01' + to_hours(?))", [[i, hour] for i, hour in enumerate(hours)]
    )
    found = _rows(connection, time_split(connection, "t", "moment", 0.2, 0.2))
    assert sum(len(rows) for rows in found.values()) == len(hours)
    return {name: sorted(hours[i] for i in rows) for name, rows in found.items()}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=3, max_size=60))
def test_time_never_runs_backwards_and_ties_stay_together(hours: list[int]) -> None:
    with duckdb.connect() as connection:
        found = _timed(connection, hours)
    assert all(found.values())
    assert found["train"][-1] <= found["validation"][0] <= found["validation"][-1] <= found["test"][0]
    if len(set(hours)) >= 3:
        assert found["train"][-1] < found["validation"][0]
        assert found["validation"][-1] < found["test"][0]


def test_time_cut_lies_at_the_nearest_boundary(connection: Any) -> None:
    assert {k: len(v) for k, v in _timed(connection, list(range(10))[::-1]).items()} == {"train": 6, "validation": 2, "test": 2}
    assert _timed(connection, [0] * 5 + [1] * 3 + [2] * 1 + [3])["train"] == [0] * 5
    assert {k: len(v) for k, v in _timed(connection, [4] * 10).items()} == {"train": 6, "validation": 2, "test": 2}
