"""Which row goes to training, validation and test: pure arithmetic on counts, and the SQL predicate that follows from it.

Removing rows is in ``cleaning``. No split depends on threads or on the order in which rows arrive: every row has the key
``md5("<seed>:<row number>")`` in hexadecimal, its number being its place in the raw file from 0. Of every class (of all rows,
for ``random``) the rows with the smallest keys are the test split, the next ones validation, the rest training. Anyone can
recompute it with ``hashlib.md5(b"42:17").hexdigest()``. MD5 is used as a well-known mixing function, not for security.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from mlops_assets.data.dataset import SPLITS, Split

SplitPredicates = dict[Split, str]


def allocate(rows: int, validation_fraction: float, test_fraction: float) -> dict[Split, int]:
    """Rows of each split out of ``rows``, by the largest remainder; with three rows or more no split is empty.

    Ties of remainders go to training, then validation. The three counts add up to ``rows``.
    """
    validation, test = Fraction(str(validation_fraction)), Fraction(str(test_fraction))
    quotas: dict[Split, Fraction] = {
        "train": rows * (1 - validation - test),
        "validation": rows * validation,
        "test": rows * test,
    }
    counts: dict[Split, int] = {name: int(quotas[name]) for name in SPLITS}
    by_remainder = sorted(SPLITS, key=lambda name: (counts[name] - quotas[name], SPLITS.index(name)))
    for name in by_remainder[: rows - sum(counts.values())]:
        counts[name] += 1
    if rows >= len(SPLITS):
        for name in SPLITS:
            if counts[name] == 0:
                counts[max(SPLITS, key=lambda other: counts[other])] -= 1
                counts[name] = 1
    return counts


def row_key(seed: int) -> str:
    """SQL of the key that ranks a row (column ``rn``): ``md5("<seed>:<row number>")``."""
    return f"md5('{int(seed)}:' || CAST(rn AS VARCHAR))"


def hashed_split(
    connection: Any, table: str, group: str, counts: Mapping[str, Mapping[Split, int]], seed: int
) -> SplitPredicates:
    """Predicates that split the rows of ``table`` within each group, exactly as counted in ``counts``.

    ``group`` is SQL of a text column or constant; ``counts`` has one entry for each of its values. The largest key that still
    belongs to a split is looked up once, so that choosing rows afterwards is a comparison and needs neither join nor sort.
    """
    names = list(counts)
    test = {name: counts[name]["test"] for name in names}
    both = {name: counts[name]["test"] + counts[name]["validation"] for name in names}
    _set_variable(connection, "split_groups", names, "VARCHAR[]")
    _set_variable(connection, "split_test_rows", list(test.values()), "BIGINT[]")
    _set_variable(connection, "split_both_rows", list(both.values()), "BIGINT[]")
    last = "list_extract(getvariable('{0}'), list_position(getvariable('split_groups'), name))"
    keyed = f"SELECT {group} AS name, {row_key(seed)} AS key FROM {table}"
    ranked = f"SELECT name, key, row_number() OVER (PARTITION BY name ORDER BY key) AS place FROM ({keyed})"
    wanted = f"place IN ({last.format('split_test_rows')}, {last.format('split_both_rows')})"
    found = connection.execute(f"SELECT name, place, key FROM ({ranked}) WHERE {wanted}").fetchall()
    keys: dict[tuple[str, int], str] = {(name, place): key for name, place, key in found}
    _set_variable(connection, "split_test_key", [keys.get((name, test[name]), "") for name in names], "VARCHAR[]")
    _set_variable(connection, "split_both_key", [keys.get((name, both[name]), "") for name in names], "VARCHAR[]")
    position = f"list_position(getvariable('split_groups'), {group})"
    up_to_test = f"{row_key(seed)} <= list_extract(getvariable('split_test_key'), {position})"
    up_to_both = f"{row_key(seed)} <= list_extract(getvariable('split_both_key'), {position})"
    return {"train": f"NOT ({up_to_both})", "validation": f"({up_to_both}) AND NOT ({up_to_test})", "test": up_to_test}


def _set_variable(connection: Any, name: str, values: list[Any], sql_type: str) -> None:
    connection.execute(f"SET VARIABLE {name} = CAST(? AS {sql_type})", [values])


def time_split(connection: Any, table: str, column: str, validation_fraction: float, test_fraction: float) -> SplitPredicates:
    """Predicates that split by time: the oldest rows train, the newest test.

    Each cut is put between two different times, at the place nearest to the asked fraction, so that rows of one time stay
    together. Only where there are fewer than three different times are rows of one time parted, by their place in the file.
    """
    rows, times = connection.execute(f"SELECT count(*), count(DISTINCT {column}) FROM {table}").fetchone()
    counts = allocate(rows, validation_fraction, test_fraction)
    if times < len(SPLITS):
        ordered = f"SELECT rn, {column} AS time, row_number() OVER (ORDER BY {column}, rn) AS place FROM {table}"
        places = [counts["train"], counts["train"] + counts["validation"]]
        found = connection.execute(f"SELECT time, rn FROM ({ordered}) WHERE place IN (?, ?) ORDER BY place", places).fetchall()
        (first_time, first_row), (second_time, second_row) = found[0], found[-1]
    else:
        cumulative = (
            f"SELECT time, sum(n) OVER (ORDER BY time) AS upto, row_number() OVER (ORDER BY time) AS place "
            f"FROM (SELECT {column} AS time, count(*) AS n FROM {table} GROUP BY 1)"
        )
        nearest = f"SELECT time, place FROM ({cumulative}) WHERE place > ? AND place <= ? ORDER BY abs(upto - ?), time LIMIT 1"
        first_time, place = connection.execute(nearest, [0, times - 2, counts["train"]]).fetchone()
        second_time, _ = connection.execute(nearest, [place, times - 1, counts["train"] + counts["validation"]]).fetchone()
        first_row = second_row = 2**62  # the whole tie stays on the older side
    _set_variable(connection, "split_times", [first_time, second_time], "TIMESTAMP[]")
    oldest, older = (
        f"({column} < list_extract(getvariable('split_times'), {n}) OR "
        f"({column} = list_extract(getvariable('split_times'), {n}) AND rn <= {int(row)}))"
        for n, row in ((1, first_row), (2, second_row))
    )
    return {"train": oldest, "validation": f"{older} AND NOT {oldest}", "test": f"NOT {older}"}
