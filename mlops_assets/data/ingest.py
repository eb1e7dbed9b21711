"""From a raw file to one immutable dataset version: typed Parquet in file order, and what is known of its columns.

Reading the source is in ``sources``; removing, splitting and judging rows is in ``cleaning``, ``splits`` and ``quality``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_assets.data.column_kinds import ColumnType, column_types, present_cells, readings
from mlops_assets.data.dataset import CatalogueEntry, DatasetVersion
from mlops_assets.data.engine import DEFAULT_MEMORY_LIMIT, engine, identifier, publish, scratch_folder, write_parquet
from mlops_assets.data.raw_file import RawFile, check_records, convert_to_utf8, inspect
from mlops_assets.data.statistics import MOST_CLASSES, class_counts, class_label, column_statistics, find_duplicates, typed_table
from mlops_assets.errors import NotFound, UserError

DATA = "data.parquet"
VERSION = "version.json"


def ingest(raw: Path, entry: CatalogueEntry, out: Path, *, memory_limit: str = DEFAULT_MEMORY_LIMIT) -> DatasetVersion:
    """Write ``out/data.parquet`` (typed, in file order) and then ``out/version.json`` of one raw CSV or Parquet file.

    Column types: number DOUBLE, timestamp TIMESTAMP (UTC), category and identifier VARCHAR; a missing cell is NULL. Which
    cells are missing and how kinds are found is told in ``column_kinds``. Streams: memory stays near ``memory_limit``.

    Raises:
        UserError: the file is not usable (see ``raw_file.inspect``), a line has another number of fields than the header, or
            the entry names a column, or a positive class, that is not there.
    """
    found = inspect(raw)
    _check_entry(entry, found.names)
    with scratch_folder(out) as scratch, engine(memory_limit, scratch) as connection:
        readable, types = _read_types(connection, found, entry, scratch)
        values = ", ".join(f"{column.expression} AS {identifier(column.name)}" for column in types)
        typed = scratch / DATA
        rows = write_parquet(connection, f"SELECT {values} FROM {present_cells(readable, readings(readable))}", typed)
        version = _describe(connection, found, entry, types, typed=typed, rows=rows)
        _check_positive_class(version)
        (scratch / VERSION).write_bytes(version.model_dump_json(indent=2).encode())
        publish(scratch, out, [DATA, VERSION])
    return version


def read_version(folder: Path) -> DatasetVersion:
    """Read ``version.json`` of a dataset version folder.

    Raises:
        NotFound: the folder holds no complete dataset version.
    """
    if not (folder / VERSION).is_file():
        raise NotFound("there is no complete dataset version in this folder", given=folder, next_step="ingest the dataset again")
    return DatasetVersion.model_validate_json((folder / VERSION).read_bytes())


def _read_types(connection: Any, found: RawFile, entry: CatalogueEntry, scratch: Path) -> tuple[RawFile, tuple[ColumnType, ...]]:
    """The file as DuckDB can read it, and its column types."""
    import duckdb

    if found.format == "parquet":
        return found, column_types(connection, found, entry)
    if not found.needs_conversion:
        # what DuckDB's strict reader refuses, Python's reader explains with the line; if it finds nothing wrong (mixed line
        # ends, say), the file is written again in plain form
        with suppress(duckdb.InvalidInputException):
            return found, column_types(connection, found, entry)
    check_records(found)
    readable = convert_to_utf8(found, scratch / "utf8.csv")
    try:
        return readable, column_types(connection, readable, entry)
    except duckdb.InvalidInputException as error:
        why = str(error).partition("\n")[0][:300]
        raise UserError(
            f"the file cannot be read: {why}", field="source", given=found.path, next_step="keep every line below 2 MB"
        ) from error


def _check_entry(entry: CatalogueEntry, names: Iterable[str]) -> None:
    known = tuple(names)
    named = [("target", entry.target), ("timestamp", entry.timestamp), ("entity", entry.entity)]
    named += [("sensitive", name) for name in entry.sensitive] + [("important", name) for name in entry.important]
    named += [("ranges", name) for name in entry.ranges]
    for field, name in named:
        if name is not None and name not in known:
            raise unknown_column(field, name, known)


def unknown_column(field: str, name: str, known: tuple[str, ...]) -> UserError:
    """The error for a column that the data does not have, with the nearest name."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    lower = [candidate for candidate in known if candidate.lower() == name.lower()] or near
    return UserError(
        "the data has no such column",
        field=field,
        given=name,
        allowed=known[:50],
        next_step=f"did you mean {lower[0]}?" if lower else "name one of the columns",
    )


def _describe(
    connection: Any, found: RawFile, entry: CatalogueEntry, types: tuple[ColumnType, ...], *, typed: Path, rows: int
) -> DatasetVersion:
    names = [column.name for column in types]
    table = typed_table(typed, names)
    columns = column_statistics(connection, table, rows, {column.name: (i, column.kind) for i, column in enumerate(types)})
    newest = None
    if entry.timestamp is not None:
        latest = connection.execute(f"SELECT max(c{names.index(entry.timestamp)}) FROM {table}").fetchone()[0]
        newest = None if latest is None else latest.replace(tzinfo=UTC).isoformat()
    return DatasetVersion(
        dataset_id=entry.dataset_id,
        version=f"sha256-{found.sha256[:16]}",
        raw_sha256=found.sha256,
        raw_bytes=found.bytes,
        rows=rows,
        columns=columns,
        duplicate_rows=find_duplicates(connection, table, len(names)),
        target_counts=_target_counts(connection, table, entry, types),
        entry=entry,
        newest=newest,
        added_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _check_positive_class(version: DatasetVersion) -> None:
    positive, classes = version.entry.positive_class, tuple(version.target_counts)
    if positive is None or not classes or positive in classes:
        return
    near = [name for name in classes if name.lower() == positive.lower()]
    near = near or difflib.get_close_matches(positive, classes, n=1, cutoff=0.5)
    raise UserError(
        "the target has no such class",
        field="positive_class",
        given=positive,
        allowed=classes,
        next_step=f"did you mean {near[0]}?" if near else "name one of the classes",
    )


def _target_counts(connection: Any, table: str, entry: CatalogueEntry, types: tuple[ColumnType, ...]) -> dict[str, int]:
    """Rows a class, where the declared target is text or whole numbers and has at most 50 classes."""
    position = next((i for i, column in enumerate(types) if column.name == entry.target), None)
    if position is None or types[position].kind == "timestamp":
        return {}
    column = f"c{position}"
    if (
        types[position].kind == "number"
        and connection.execute(f"SELECT bool_or({column} <> trunc({column})) FROM {table}").fetchone()[0]
    ):
        return {}
    counts = class_counts(connection, table, class_label(column, types[position].kind), MOST_CLASSES + 1)
    return counts if len(counts) <= MOST_CLASSES else {}
