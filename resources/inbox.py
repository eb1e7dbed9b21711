"""The durable inbox between the webhook receiver and the sensors: deliveries of GitHub, each kept once until it is consumed.

Storing, listing and forgetting only; what a delivery may hold is checked in ``webhook``, what follows from it is decided in
the sensors. One SQLite file: a delivery that was stored has reached the disk, and a repeated one changes nothing. A reader
never makes the file, so that an installation without a webhook pays nothing for it.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlops_assets.errors import MlopsError
from mlops_assets.whole_files import make_durable

ISSUE_EVENTS: Final = ("issues", "issue_comment")
PUSH_EVENTS: Final = ("push",)
KEPT_SECONDS: Final = 30 * 24 * 3600.0
"""How long a consumed delivery is remembered, without its body; GitHub delivers again on request for three days."""
BUSY_SECONDS: Final = 2.0
"""GitHub waits ten seconds for an answer; a database that is locked for longer than this is told to it as a failure."""
MAX_BYTES: Final = 512 * 1024 * 1024
"""Size of the file at which it takes no more: twenty of the largest deliveries, or ten thousand usual ones."""
_PAGE_BYTES: Final = 4096
_LAYOUT: Final = 1
_TABLES: Final = f"""
CREATE TABLE deliveries (
    position INTEGER PRIMARY KEY,
    delivery_id TEXT NOT NULL UNIQUE,
    event TEXT NOT NULL,
    action TEXT,
    issue INTEGER,
    ref TEXT,
    received_at REAL NOT NULL,
    consumed_at REAL,
    body BLOB NOT NULL
);
CREATE INDEX waiting ON deliveries (event, position) WHERE consumed_at IS NULL;
CREATE INDEX consumed ON deliveries (consumed_at) WHERE consumed_at IS NOT NULL;
PRAGMA user_version = {_LAYOUT};
"""
#: Of what nobody has consumed, the given events, oldest first.
_WAITING: Final = "FROM deliveries WHERE consumed_at IS NULL AND event IN (SELECT value FROM json_each(?)) ORDER BY position"


class InboxUnavailable(MlopsError):
    """The inbox can neither be read nor written now: a full disk, a locked or damaged database, a missing right."""


@dataclass(frozen=True)
class Delivery:
    """One event as GitHub delivered it. ``body`` is the JSON payload; ``ref`` is set for pushes, the number for issues."""

    delivery_id: str
    event: str
    action: str | None
    issue_number: int | None
    ref: str | None
    body: bytes


class Inbox:
    """Deliveries in the file ``path``; any number of threads and processes may use it at once."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, max_bytes: int = MAX_BYTES) -> None:
        self._path = path.absolute()
        self._clock = clock
        self._max_pages = max_bytes // _PAGE_BYTES
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def store(
        self, delivery_id: str, event: str, action: str | None, issue_number: int | None, ref: str | None, body: bytes
    ) -> bool:
        """Keep one delivery; False if one of that id has been kept before, which then stays as it is.

        Raises:
            InboxUnavailable: it could not be written; nothing is kept.
        """
        return self.store_all([Delivery(delivery_id, event, action, issue_number, ref, body)])[0]

    def store_all(self, deliveries: Sequence[Delivery]) -> list[bool]:
        """Keep several deliveries, all of them or none; for each, whether it is new. They are on the disk afterwards.

        Raises:
            InboxUnavailable: they could not be written.
        """
        at = self._clock()
        rows = [(d.delivery_id, d.event, d.action, d.issue_number, d.ref, at, d.body) for d in deliveries]
        with self._transaction(write=True, create=True) as database:
            return [
                database is not None
                and database.execute(
                    "INSERT INTO deliveries (delivery_id, event, action, issue, ref, received_at, body)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (delivery_id) DO NOTHING",
                    row,
                ).rowcount
                == 1
                for row in rows
            ]

    def pending(self, limit: int, events: Sequence[str] = (*ISSUE_EVENTS, *PUSH_EVENTS)) -> list[Delivery]:
        """Deliveries of these events that nobody has consumed, oldest first.

        Raises:
            InboxUnavailable: the file cannot be read.
        """
        query = f"SELECT delivery_id, event, action, issue, ref, body {_WAITING} LIMIT ?"
        with self._transaction() as database:
            return [] if database is None else [Delivery(*row) for row in database.execute(query, (json.dumps(events), limit))]

    def changed_issues(self) -> tuple[set[int], tuple[str, ...]]:
        """Numbers of the issues that deliveries tell of, and the ids to ``consume`` once the numbers are safely noted.

        Costs one look for a file where no webhook was ever received. What is delivered meanwhile is not among the ids.

        Raises:
            InboxUnavailable: the file cannot be read.
        """
        query = f"SELECT issue, delivery_id {_WAITING}"
        with self._transaction() as database:
            rows = [] if database is None else database.execute(query, (json.dumps(ISSUE_EVENTS),)).fetchall()
        return {number for number, _ in rows if number is not None}, tuple(delivery_id for _, delivery_id in rows)

    def waiting(self) -> int:
        """How many deliveries nobody has consumed.

        Raises:
            InboxUnavailable: the file cannot be read.
        """
        with self._transaction() as database:
            if database is None:
                return 0
            return int(database.execute("SELECT count(*) FROM deliveries WHERE consumed_at IS NULL").fetchone()[0])

    def consume(self, delivery_ids: Sequence[str]) -> None:
        """Mark deliveries as done with and drop their bodies; unknown and already consumed ones are passed over.

        Their ids are remembered for ``KEPT_SECONDS``, so that one delivered again stays done with.

        Raises:
            InboxUnavailable: it could not be written; they are still pending.
        """
        if not delivery_ids:
            return
        at = self._clock()
        with self._transaction(write=True) as database:
            if database is None:
                return
            database.executemany(
                "UPDATE deliveries SET consumed_at = ?, body = x'' WHERE delivery_id = ? AND consumed_at IS NULL",
                [(at, delivery_id) for delivery_id in delivery_ids],
            )
            database.execute("DELETE FROM deliveries WHERE consumed_at < ?", (at - KEPT_SECONDS,))

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        with self._lock:
            self._forget()

    # --- the file -------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self, *, write: bool = False, create: bool = False) -> Iterator[sqlite3.Connection | None]:
        """One transaction, ended well or not at all; None where there is no file and ``create`` does not ask for one."""
        with self._lock:
            try:
                database = self._opened(create)
                if database is None:
                    yield None
                    return
                database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                with database:
                    yield database
            except (sqlite3.Error, OSError) as error:
                self._forget()
                raise InboxUnavailable(f"the inbox {self._path} cannot be used: {error}") from error

    def _opened(self, create: bool) -> sqlite3.Connection | None:
        found = self._identity()
        if self._connection is not None and found != self._file:
            self._forget()  # removed or replaced under us: what is written to the old file would be lost
        if found is None:
            if not create:
                return None
            self._create()
            found = self._identity()
        if self._connection is None:
            self._connection = self._connect()
            self._file = found
        return self._connection

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            database.execute("PRAGMA synchronous = FULL")  # each commit waits for the disk; also in WAL, unlike NORMAL
            database.execute(f"PRAGMA max_page_count = {self._max_pages}")
            database.execute(f"PRAGMA journal_size_limit = {16 * 1024 * 1024}")
            (layout,) = database.execute("PRAGMA user_version").fetchone()
            if layout != _LAYOUT:
                raise sqlite3.DatabaseError(f"its layout is {layout}, this release reads {_LAYOUT}; move the file away")
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _create(self) -> None:
        """Make the file under another name and link it into place: whoever comes second finds a whole one."""
        folder = self._path.parent
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = folder / f".{self._path.name}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            draft.touch(mode=0o600)  # payloads of a private repository are nobody else's to read
            with closing(sqlite3.connect(draft, isolation_level=None)) as database:
                database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(_TABLES)
            with suppress(FileExistsError):
                os.link(draft, self._path)
        finally:
            for left in folder.glob(f"{draft.name}*"):
                left.unlink(missing_ok=True)
        make_durable(folder)

    def _forget(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = self._file = None
