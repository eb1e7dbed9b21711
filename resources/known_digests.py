"""Digests of final files that were read a short while ago: a dataset of 20 GB is not read whole by every step of a training.

A file is known by device, inode, size and time of modification, as Git knows the files of its index, and only if nobody may
write it (the platform takes the write permission from files that will not change, and from its copies of a remote store) and
it was at rest when it was read. It is read again once a day, so that a disk that loses bits is found out. What is known is a
convenience: without it, or with a damaged one, everything is read.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlops_assets.serving.package import sha256_of_file

FILE = "digests.db"
KNOWN_SECONDS = 24 * 3600
#: A file changed so shortly before it was read could have changed again within the same tick of its clock.
REST_SECONDS = 2.0
_TABLE = """CREATE TABLE IF NOT EXISTS digests (
    device INTEGER, inode INTEGER, size INTEGER, modified INTEGER, sha256 TEXT NOT NULL, read_at REAL NOT NULL,
    PRIMARY KEY (device, inode, size, modified)) WITHOUT ROWID"""


@contextmanager
def known_digests(folder: Path) -> Iterator[Callable[[Path], str]]:
    """A function from file to SHA-256 that remembers in ``folder`` what it has read; nothing is made there for other files."""
    book = _Book(folder / FILE)
    try:
        yield book.digest_of
    finally:
        book.close()


class _Book:
    """What is known, opened with the first final file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[int, int, int, int], str] | None = None
        self._read: list[tuple[int, int, int, int, str, float]] = []

    def digest_of(self, path: Path) -> str:
        """The digest of a file, read unless it is known."""
        found = path.stat()
        if found.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            return sha256_of_file(path)
        key = _key(found)
        if self._known is None:
            self._known = self._load()
        if key in self._known:
            return self._known[key]
        begun = time.time()
        digest = sha256_of_file(path)
        if _key(path.stat()) == key and begun - found.st_mtime > REST_SECONDS:
            self._known[key] = digest
            self._read.append((*key, digest, begun))
        return digest

    def _load(self) -> dict[tuple[int, int, int, int], str]:
        if not self._path.is_file():
            return {}
        try:
            with _opened(self._path) as book:
                rows = book.execute("SELECT * FROM digests WHERE read_at > ?", (time.time() - KNOWN_SECONDS,)).fetchall()
        except sqlite3.Error:
            with suppress(OSError):
                self._path.unlink()
            return {}
        now = time.time()
        return {(device, inode, size, modified): digest for device, inode, size, modified, digest, at in rows if at <= now}

    def close(self) -> None:
        """Write down what was read."""
        if not self._read:
            return
        with suppress(sqlite3.Error, OSError):  # a full disk: it is read again next time
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with _opened(self._path) as book:
                book.execute(_TABLE)
                book.execute("DELETE FROM digests WHERE read_at <= ?", (time.time() - KNOWN_SECONDS,))
                book.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?)", self._read)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=10)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def _key(found: os.stat_result) -> tuple[int, int, int, int]:
    return _signed(found.st_dev), _signed(found.st_ino), found.st_size, found.st_mtime_ns


def _signed(number: int) -> int:
    """SQLite's whole numbers are signed."""
    return number - (1 << 64) if number >= 1 << 63 else number
