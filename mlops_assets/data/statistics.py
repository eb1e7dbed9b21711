"""Counts over a typed Parquet file: columns, duplicate rows, classes, newest time. Streams and spills; changes nothing.

Which rows are removed is decided in ``cleaning``; whether a count is good or bad in ``quality``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops_assets.data.dataset import Column, ColumnKind
from mlops_assets.data.engine import identifier, literal
from mlops_assets.data.raw_file import ROW_NUMBER

EXACT_DISTINCT = 10_000
TOP_VALUES = 20
MOST_CLASSES = 50
_GROUP = 100


def typed_table(path: Path, names: Sequence[str]) -> str:
    """SQL of a typed Parquet file as ``rn, c0 … cN`` in file order; ``rn`` counts its rows from 0."""
    columns = "".join(f", {identifier(name)} AS c{i}" for i, name in enumerate(names))
    return f"(SELECT {ROW_NUMBER} AS rn{columns} FROM read_parquet({literal(str(path))}))"


def class_label(column: str, kind: ColumnKind) -> str:
    """SQL of a class label as text: whole numbers without ``.0``, everything else as it reads."""
    if kind != "number":
        return f"CAST({column} AS VARCHAR)"
    whole = f"{column} = trunc({column}) AND abs({column}) < 9e15"
    return f"CASE WHEN {whole} THEN CAST(CAST({column} AS BIGINT) AS VARCHAR) ELSE CAST({column} AS VARCHAR) END"


def column_statistics(
    connection: Any, table: str, rows: int, columns: Mapping[str, tuple[int, ColumnKind]]
) -> tuple[Column, ...]:
    """Statistics of the columns of ``table``, given as name -> (position, kind).

    Distinct values are exact up to 10,000 and approximate above; means are rounded to 12 digits, so that the order in which
    threads add does not show.
    """
    numbers: dict[str, tuple[int, int, float | None, float | None, float | None]] = {}
    items = list(columns.items())
    for start in range(0, len(items), _GROUP):
        group = items[start : start + _GROUP]
        parts = []
        for _, (i, kind) in group:
            measures = f"min(c{i}), max(c{i}), favg(c{i})" if kind == "number" else "NULL, NULL, NULL"
            parts.append(f"count(c{i}), approx_count_distinct(c{i}), {measures}")
        row = connection.execute(f"SELECT {', '.join(parts)} FROM {table}").fetchone()
        numbers |= {name: row[5 * k : 5 * k + 5] for k, (name, _) in enumerate(group)}
    # the approximation may be off by a tenth: below a fifth above the promise, count
    exact = _exact_distinct(connection, table, [i for name, (i, _) in items if numbers[name][1] <= EXACT_DISTINCT * 1.2])
    return tuple(
        Column(
            name=name,
            kind=kind,
            missing=rows - numbers[name][0],
            distinct=exact.get(i, numbers[name][1]),
            minimum=numbers[name][2],
            maximum=numbers[name][3],
            mean=None if (mean := numbers[name][4]) is None else float(f"{mean:.12g}"),
            top=_top_values(connection, table, i) if kind == "category" else {},
        )
        for name, (i, kind) in items
    )


def _exact_distinct(connection: Any, table: str, positions: list[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for start in range(0, len(positions), _GROUP):
        group = positions[start : start + _GROUP]
        row = connection.execute(f"SELECT {', '.join(f'count(DISTINCT c{i})' for i in group)} FROM {table}").fetchone()
        found |= dict(zip(group, row, strict=True))
    return found


def _top_values(connection: Any, table: str, position: int) -> dict[str, int]:
    return class_counts(connection, table, f"c{position}", TOP_VALUES)


def class_counts(connection: Any, table: str, label: str, at_most: int) -> dict[str, int]:
    """Rows of every class, largest class first; only the ``at_most`` largest."""
    grouped = f"SELECT {label} AS class, count(*) AS n FROM {table} GROUP BY 1 HAVING class IS NOT NULL"
    query = f"{grouped} ORDER BY n DESC, class LIMIT {int(at_most)}"
    return {str(value): int(count) for value, count in connection.execute(query).fetchall()}


def find_duplicates(connection: Any, table: str, columns: int) -> int:
    """Put the row number of every repetition of an earlier row into the table ``duplicate_rows`` and count them.

    Rows are grouped by a 64-bit hash first, and only rows that share one are compared cell by cell: exact, and the memory
    is that of one hash a row, not of the rows. Missing cells are equal to each other.
    """
    cells = ", ".join(f"c{i}" for i in range(columns))
    connection.execute("CREATE OR REPLACE TEMP TABLE duplicate_rows (rn BIGINT)")
    hashes = f"SELECT h FROM (SELECT hash({cells}) AS h FROM {table}) GROUP BY h HAVING count(*) > 1"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE shared_hashes AS {hashes}")
    if connection.execute("SELECT count(*) FROM shared_hashes").fetchone()[0]:
        candidates = f"(SELECT rn, {cells} FROM {table} WHERE hash({cells}) IN (SELECT h FROM shared_hashes))"
        with_first = f"SELECT rn, min(rn) OVER (PARTITION BY {cells}) AS first FROM {candidates}"
        connection.execute(f"INSERT INTO duplicate_rows SELECT rn FROM ({with_first}) WHERE rn > first")
    connection.execute("DROP TABLE shared_hashes")
    return int(connection.execute("SELECT count(*) FROM duplicate_rows").fetchone()[0])
