"""What a cell means: missing or not, number, time or text; and from all cells of a column, its kind.

Only reading and classifying: writing the typed file is in ``ingest``, counting over it in ``statistics``.

A cell counts as missing if, after white space on both sides is removed, it is exactly one of ``MISSING_TOKENS``. A column is

- ``number`` if every cell that is not missing is a finite decimal number (no thousands separators),
- ``timestamp`` if it is declared one, or every such cell is a date or date and time with the year first
  (``2026-01-31``, ``2026/1/31``, ``2026-01-31T09:00:00+09:00``); a time without a zone is read as UTC,
- ``identifier`` if it is text and at least 95 % of more than 50 cells differ, or whole numbers under a name such as ``user_id``
  that all differ (more than 50 cells too); its text is kept as written,
- ``category`` otherwise. A target or a declared sensitive column is never an identifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from mlops_assets.data.dataset import CatalogueEntry, ColumnKind
from mlops_assets.data.engine import literal
from mlops_assets.data.raw_file import RawFile, relation
from mlops_assets.errors import UserError

#: Cells that mean "missing", as pandas reads them too, and the marks of UCI (`?`) and Japanese (`-`) tables.
MISSING_TOKENS: Final = ("", "?", "-", "NA", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL", "Null", "NaN", "nan", "NAN", "None")
IDENTIFIER_ROWS: Final = 50
IDENTIFIER_SHARE: Final = 0.95

Reading = Literal["text", "number", "timestamp"]
_WHITE_SPACE = " \t\r\n\u00a0\u3000"
_NUMBER_TYPES = ("int", "uint", "float", "double", "halffloat", "decimal")
_TEXT_TYPES = ("string", "large_string", "string_view", "null")
_WORTH_COUNTING = 0.85  # approximate share of distinct values below which a text is not counted exactly
_GROUP = 100  # columns asked about in one query: bounds the plan of a very wide table


@dataclass(frozen=True)
class ColumnType:
    """The kind of one column and the SQL that makes its typed value from the present one (see ``present_cells``)."""

    name: str
    kind: ColumnKind
    expression: str


@dataclass(frozen=True)
class _Counts:
    """What one pass over a column found; ``distinct`` is approximate unless the name is that of an identifier."""

    present: int
    castable: int
    finite: int
    whole: int
    times: int
    distinct: int


def named_like_identifier(name: str) -> bool:
    """Whether a column's name says that it numbers things (``id``, ``user_id``, ``customerID``, ``顧客ID``, ``会員番号``)."""
    apart = re.search(r"(?:^|[^a-z])(?:id|uuid|guid|key|index)$|番号$", name, re.IGNORECASE)
    return bool(apart or re.search(r"[a-z](?:ID|Id)$", name))


def readings(raw: RawFile) -> tuple[Reading, ...]:
    """How the cells of each column are stored: text to be interpreted, or already typed (Parquet).

    Raises:
        UserError: a Parquet column of a type that is neither number, text, truth value nor time.
    """
    found: list[Reading] = []
    for name, kind in zip(raw.names, raw.types or ("string",) * len(raw.names), strict=True):
        if kind.startswith(_NUMBER_TYPES):
            found.append("number")
        elif kind.startswith(("date", "timestamp")):
            found.append("timestamp")
        elif kind in _TEXT_TYPES or kind == "bool" or (kind.startswith("dictionary") and "string" in kind):
            found.append("text")
        else:
            raise UserError(
                "a column type that cannot be learned from",
                field=name,
                given=kind,
                allowed=("numbers", "text", "truth values", "dates and timestamps"),
                next_step="write the column as one of these, or leave it out",
            )
    return tuple(found)


def present_cells(raw: RawFile, stored: tuple[Reading, ...], positions: Iterable[int] | None = None) -> str:
    """SQL of a table ``v0 … vN`` in file order in which a missing cell is NULL and text has no white space around it.

    ``positions`` are the columns wanted; None for all. In a very wide file a column that is not asked for costs planning.
    """
    tokens = ", ".join(literal(token) for token in MISSING_TOKENS)
    longest = max(len(token) for token in MISSING_TOKENS)
    trimmed, cells = [], []
    for i in range(len(stored)) if positions is None else positions:
        reading = stored[i]
        if reading == "text":
            trimmed.append(f"{_trimmed(f'CAST(c{i} AS VARCHAR)')} AS c{i}")
            cells.append(f"CASE WHEN length(c{i}) <= {longest} AND c{i} IN ({tokens}) THEN NULL ELSE c{i} END AS v{i}")
        elif reading == "number":
            trimmed.append(f"c{i}")
            cells.append(f"CASE WHEN isnan(CAST(c{i} AS DOUBLE)) THEN NULL ELSE c{i} END AS v{i}")
        else:
            trimmed.append(f"c{i}")
            cells.append(f"make_timestamp(epoch_us(CAST(c{i} AS TIMESTAMPTZ))) AS v{i}")
    return f"(SELECT {', '.join(cells)} FROM (SELECT {', '.join(trimmed)} FROM {relation(raw)}))"


def _trimmed(text: str) -> str:
    # trimming a set of characters is the slowest step of reading, and few cells need it: look at both ends first
    blanks = ", ".join(literal(character) for character in _WHITE_SPACE)
    blank_end = f"left({text}, 1) IN ({blanks}) OR right({text}, 1) IN ({blanks})"
    return f"CASE WHEN {blank_end} THEN trim({text}, {literal(_WHITE_SPACE)}) ELSE {text} END"


def _number(cell: str, reading: Reading) -> str:
    # DuckDB would also read 1_000 as a number, which no other reader of this data does
    text = f"CASE WHEN NOT contains({cell}, '_') THEN TRY_CAST({cell} AS DOUBLE) END"
    return {"text": text, "number": f"CAST({cell} AS DOUBLE)", "timestamp": "CAST(NULL AS DOUBLE)"}[reading]


def _timestamp(cell: str, reading: Reading) -> str:
    # the fifth character is asked for first, because DuckDB also takes `epoch` and `1-2-3` for times
    zoned = f"CASE WHEN substr({cell}, 5, 1) IN ('-', '/') THEN TRY_CAST({cell} AS TIMESTAMPTZ) END"
    return {"text": f"make_timestamp(epoch_us({zoned}))", "number": "CAST(NULL AS TIMESTAMP)", "timestamp": cell}[reading]


def column_types(connection: Any, raw: RawFile, entry: CatalogueEntry) -> tuple[ColumnType, ...]:
    """The kind of every column, found in one streaming pass over all cells.

    Raises:
        UserError: the declared timestamp column holds a cell that is no time, or a column of numbers holds an infinite one.
        duckdb.InvalidInputException: the text is no CSV with the header's number of fields.
    """
    stored = readings(raw)
    types = []
    for i, found in enumerate(_count_cells(connection, raw, stored)):
        name, cell, table = raw.names[i], f"v{i}", present_cells(raw, stored, [i])
        kind = _kind(name, entry, found)
        if kind == "timestamp" and found.times < found.present:
            raise _no_time(connection, table, cell, _timestamp(cell, stored[i]), name)
        if (
            kind == "category"
            and name not in (entry.target, *entry.sensitive)
            and found.distinct >= _WORTH_COUNTING * found.present
        ):
            exact = _exact_distinct(connection, table, cell) if found.present > IDENTIFIER_ROWS else 0
            kind = "identifier" if exact and exact >= IDENTIFIER_SHARE * found.present else "category"
        expressions = {"number": _number(cell, stored[i]), "timestamp": _timestamp(cell, stored[i])}
        types.append(ColumnType(name, kind, expressions.get(kind, f"CAST({cell} AS VARCHAR)")))
    return tuple(types)


def _kind(name: str, entry: CatalogueEntry, found: _Counts) -> ColumnKind:
    """The kind as far as the counts tell; whether text is an identifier takes one more count."""
    if name == entry.timestamp:
        return "timestamp"
    if not found.present:
        return "category"
    if found.castable == found.present:
        if found.finite < found.present:
            raise UserError(
                f"{found.present - found.finite} cells are infinite or too large for a number",
                field=name,
                allowed=("finite numbers up to 1.8e308",),
                next_step="leave these cells empty or correct them",
            )
        numbering = named_like_identifier(name) and found.whole == found.distinct == found.present > IDENTIFIER_ROWS
        return "identifier" if numbering and name not in (entry.target, *entry.sensitive) else "number"
    return "timestamp" if found.times == found.present else "category"


def _count_cells(connection: Any, raw: RawFile, stored: tuple[Reading, ...]) -> list[_Counts]:
    counts: list[_Counts] = []
    for start in range(0, len(stored), _GROUP):
        group = range(start, min(start + _GROUP, len(stored)))
        inner, outer = [], []
        for i in group:
            inner += [f"v{i}", f"{_number(f'v{i}', stored[i])} AS n{i}", f"{_timestamp(f'v{i}', stored[i])} AS t{i}"]
            distinct = "count(DISTINCT v{0})" if named_like_identifier(raw.names[i]) else "approx_count_distinct(v{0})"
            outer += [
                f"count(v{i}), count(n{i}), count_if(isfinite(n{i})), count_if(n{i} = trunc(n{i})), count(t{i})",
                distinct.format(i),
            ]
        row = connection.execute(
            f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM {present_cells(raw, stored, group)})"
        ).fetchone()
        counts += [_Counts(*row[k : k + 6]) for k in range(0, len(row), 6)]
    return counts


def _exact_distinct(connection: Any, table: str, cell: str) -> int:
    query = f"SELECT count(*) FROM (SELECT DISTINCT {cell} FROM {table} WHERE {cell} IS NOT NULL)"
    return int(connection.execute(query).fetchone()[0])


def _no_time(connection: Any, table: str, cell: str, time: str, name: str) -> UserError:
    query = f"SELECT CAST({cell} AS VARCHAR) FROM {table} WHERE {cell} IS NOT NULL AND {time} IS NULL LIMIT 1"
    given = connection.execute(query).fetchone()[0]
    return UserError(
        "the declared timestamp column holds a cell that is no date or time",
        field=name,
        given=str(given)[:120],
        allowed=("2026-01-31", "2026-01-31T09:00:00", "2026-01-31T09:00:00+09:00"),
        next_step="write the column as ISO 8601, or declare another column",
    )
