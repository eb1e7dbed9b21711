"""One DuckDB connection per call, bounded in memory, and the safe writing of names and literals into SQL.

What is asked of the data belongs to the modules that ask; nothing here knows a dataset. Every value goes into SQL as a
parameter, a session variable or through ``literal``; every column of a user's file is renamed to ``c0 … cN`` by its position
before any other SQL sees it, so that no name chosen by a user meets SQL twice.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlops_assets.errors import MlopsError, UserError

DEFAULT_MEMORY_LIMIT = "1GB"
_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SCRATCH = ".scratch-"
_ROW_GROUP = 50_000  # rows; half of DuckDB's own, so that a wide file still fits a small memory limit


def bytes_of(memory_limit: str) -> int:
    """Bytes that a memory limit such as ``1GB`` or ``512MiB`` means.

    Raises:
        UserError: it is no number with one of the units, or it is below 32 MB.
    """
    match = re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,3})?)\s*([kmgt]i?b)\s*", memory_limit, re.IGNORECASE)
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size < 32_000_000:
        raise UserError(
            "the memory limit cannot be used",
            field="memory_limit",
            given=memory_limit,
            allowed=("a number with KB, MB, GB, TB, KiB, MiB, GiB or TiB, at least 32MB",),
            next_step="write for example 1GB",
        )
    return size


def identifier(name: str) -> str:
    """``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """``text`` as a quoted SQL string.

    Raises:
        ValueError: it holds a NUL character, which would end the statement early.
    """
    if "\x00" in text:
        raise ValueError("a NUL character cannot stand in SQL")
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """A private folder below ``beside`` for half-made files, gone afterwards.

    It lies on the same disk as the result, so that a finished file can be moved into place atomically. What a killed
    process of this machine left there is removed first.
    """
    beside.mkdir(parents=True, exist_ok=True)
    for stale in beside.glob(f"{_SCRATCH}*"):
        owner = stale.name.removeprefix(_SCRATCH).partition("-")[0]
        if owner.isdecimal() and not _is_running(int(owner)):
            shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-", dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def engine(memory_limit: str, scratch: Path) -> Iterator[Any]:
    """A DuckDB connection that spills to ``scratch`` above ``memory_limit``.

    Its results do not depend on the number of threads: what needs an order asks for it, and scans keep the order of the file.
    No extension is ever fetched. Times without a zone are read as UTC, whatever zone the machine is in.

    Raises:
        UserError: the work does not fit the memory limit.
        MlopsError: the disk is full or cannot be read.
    """
    import duckdb

    size = bytes_of(memory_limit)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    connection = duckdb.connect(
        config={
            "memory_limit": f"{size // 1000}KB",
            "temp_directory": str(scratch / "spill"),
            # a thread needs buffers of its own: fewer threads rather than no memory
            "threads": str(max(1, min(processors, size // 64_000_000))),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")  # standard output belongs to the caller
        # it makes a join of a longer IN (...), and the rows of a join come in any order: a scan must keep that of the file
        # (the other one takes quadratic time over a thousand columns)
        connection.execute("SET disabled_optimizers = 'in_clause,common_subexpressions'")
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise UserError(
            "the data does not fit the memory limit",
            field="memory_limit",
            given=memory_limit,
            next_step=f"raise it; DuckDB says: {_first_line(error)}",
        ) from error
    except duckdb.IOException as error:
        raise MlopsError(f"the disk cannot be read or written: {_first_line(error)}") from error
    finally:
        connection.close()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]


def write_parquet(connection: Any, query: str, target: Path) -> int:
    """Write the rows of ``query`` to ``target`` in their order and return how many there were."""
    options = f"FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {_ROW_GROUP}"
    row = connection.execute(f"COPY ({query}) TO {literal(str(target))} ({options})").fetchone()
    return int(row[0])


def publish(scratch: Path, target: Path, names: Sequence[str]) -> None:
    """Move finished files into ``target``; the last one is the one whose presence means that all are there.

    An older file of that last name is taken away first, so that it never describes files that it does not belong to.
    """
    (target / names[-1]).unlink(missing_ok=True)
    for name in names:
        (scratch / name).replace(target / name)
