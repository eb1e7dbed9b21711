"""The tracker of the embedded default: every issue is one Markdown file that a person can read and edit.

Opening, reading and writing threads only; how a file is laid out is in ``thread_file``, and what an issue means is for
``mlops_assets.request``.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from filelock import FileLock, Timeout

from mlops_assets.errors import NotFound, UserError
from mlops_assets.whole_files import write_whole
from resources.thread_file import Thread, read_thread, write_thread
from resources.tracker import Changes, Comment, Issue, Permission, Reaction

#: Who writes the platform's own comments.
PLATFORM: Final = "mlops"
LOCK_SECONDS: Final = 30.0

_FILE_NAME: Final = re.compile(r"(\d{4,9})(?:-.*)?\.md")
_COUNTER: Final = ".last-number"


class FolderTracker:
    """Issues as Markdown files in ``folder`` (`0001-slug.md` …); created with the first issue.

    Every change happens under one lock between processes and appears by renaming a complete file, so that a reader
    needs no lock and a process killed at any moment leaves the thread as it was before or as it is after.

    A person may edit a file by hand: title and body as they like, and text after the last comment counts as a comment
    of the folder's owner. Who may write the files may change anything in them; that is why only the owner is admin.
    """

    kind = "folder"

    def __init__(self, folder: Path, actor: str | None = None) -> None:
        self.folder = folder
        self._actor = actor

    # --- reading ------------------------------------------------------------------------------------------------

    def issue(self, number: int) -> Issue:
        """The issue with its thread.

        Raises:
            NotFound: there is no issue of that number.
        """
        path = self._path(number)
        return self._issue(number, path, self._read(path))

    def issues(self, label: str | None = None, state: Literal["open", "closed", "all"] = "open") -> list[Issue]:
        """Issues in ascending number, each with its thread."""
        found = []
        for number, path in sorted(self._paths().items()):
            try:
                issue = self._issue(number, path, self._read(path))
            except FileNotFoundError:
                continue  # a person removed the file between the listing and now
            if state in ("all", issue.state) and (label is None or label in issue.labels):
                found.append(issue)
        return found

    def changes(self, label: str, cursor: str | None) -> Changes:
        """Issues whose file was written or put in place at or after the moment that the cursor names."""
        since = int(cursor) if cursor is not None and cursor.isdecimal() else -1
        latest, numbers = since, []
        for number, path in sorted(self._paths().items()):
            try:
                written = path.stat().st_ctime_ns  # unlike mtime, a copy or a move of an old file counts as well
                if written < since:
                    continue
                issue = self._issue(number, path, self._read(path))
            except FileNotFoundError:
                continue  # a person removed the file between the listing and now
            latest = max(latest, written)
            if label in issue.labels and (cursor is not None or issue.state == "open"):
                numbers.append(number)
        return Changes(tuple(numbers), str(latest) if latest >= 0 else "0")

    def reactions(self, comments: Sequence[tuple[int, str]]) -> dict[tuple[int, str], tuple[tuple[str, Reaction], ...]]:
        """Who reacted on the platform's comments; none on a comment or an issue that does not exist."""
        found: dict[tuple[int, str], tuple[tuple[str, Reaction], ...]] = dict.fromkeys(comments, ())
        paths = self._paths()
        for number in {number for number, _ in comments} & set(paths):
            with suppress(FileNotFoundError):
                entries = self._read(paths[number]).entries
                found |= {(number, e.marker): e.reactions for e in entries if e.marker and (number, e.marker) in found}
        return found

    def is_bot(self, actor: str) -> bool:
        """No user of an operating system counts as a machine account, except the platform itself."""
        return actor == PLATFORM

    def permission(self, actor: str) -> Permission:
        """`admin` for the operating system's owner of the folder, `read` for everybody else."""
        return "admin" if actor == self._owner() else "read"

    def current_actor(self) -> str:
        """The actor this tracker was made for, else the user that this process runs as (not what a variable claims)."""
        return self._actor or _user_name(os.getuid())

    # --- writing ------------------------------------------------------------------------------------------------

    def open_issue(self, title: str, body: str, labels: Sequence[str], author: str | None = None) -> Issue:
        """Open a new issue; its number is higher than any that was ever given out in this folder."""
        now = datetime.now(UTC)
        with self._locked():
            number = self._next_number()
            path = self.folder / f"{number:04d}-{_slug(title)}.md"
            thread = Thread(title, body, author or self.current_actor(), now, frozenset(labels), "open", ())
            self._write(path, thread)
            return self._issue(number, path, self._read(path))

    def upsert_comment(self, number: int, marker: str, body: str) -> Comment:
        """Create the platform's comment ``marker``, or replace its body; the same call again writes nothing.

        Raises:
            NotFound: there is no issue of that number.
        """
        now = datetime.now(UTC)
        with self._locked():
            path, thread = self._adopted(number)
            for position, entry in enumerate(thread.entries):
                if entry.marker != marker:
                    continue
                if entry.body == _stored(body):
                    return entry
                changed = replace(entry, body=_stored(body), updated_at=now)
                self._write(path, replace(thread, entries=(*thread.entries[:position], changed, *thread.entries[position + 1 :])))
                return changed
            return self._append(path, thread, Comment(_new_id(), PLATFORM, _stored(body), now, now, marker))

    def add_comment(self, number: int, body: str, author: str | None = None) -> Comment:
        """Append a person's comment.

        Raises:
            NotFound: there is no issue of that number.
        """
        now = datetime.now(UTC)
        with self._locked():
            path, thread = self._adopted(number)
            return self._append(path, thread, Comment(_new_id(), author or self.current_actor(), _stored(body), now, now))

    def react(self, number: int, marker: str, reaction: Reaction, author: str | None = None) -> None:
        """Put a person's reaction on the platform's comment ``marker``; a repeated one changes nothing.

        Raises:
            NotFound: there is no such issue, or no comment of that marker in it.
        """
        given = (author or self.current_actor(), reaction)
        with self._locked():
            path, thread = self._adopted(number)
            if all(e.marker != marker for e in thread.entries):
                known = tuple(e.marker for e in thread.entries if e.marker is not None)
                raise NotFound("the thread has no such comment", field="marker", given=marker, allowed=known)
            entries = tuple(
                replace(e, reactions=(*e.reactions, given)) if e.marker == marker and given not in e.reactions else e
                for e in thread.entries
            )
            if entries != thread.entries:
                self._write(path, replace(thread, entries=entries))

    def set_labels(self, number: int, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove labels; both are idempotent.

        Raises:
            NotFound: there is no issue of that number.
        """
        with self._locked():
            path, thread = self._adopted(number)
            labels = (thread.labels | set(add)) - set(remove)
            if labels != thread.labels:
                self._write(path, replace(thread, labels=labels))

    # --- files --------------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder against every other process; the operating system frees it when a holder dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=LOCK_SECONDS):
                yield
        except Timeout as error:
            raise UserError(
                f"another process has been writing issues for {LOCK_SECONDS:.0f} seconds",
                field="issues folder",
                given=str(self.folder),
                next_step="end that process, or try again",
            ) from error

    def _paths(self) -> dict[int, Path]:
        if not self.folder.is_dir():
            return {}
        with os.scandir(self.folder) as found:  # called for every issue: a folder of a thousand must not cost a stat for each
            names = sorted((entry.name for entry in found if entry.is_file()), reverse=True)
        named = ((_FILE_NAME.fullmatch(name), name) for name in names)
        return {int(match[1]): self.folder / name for match, name in named if match}

    def _path(self, number: int) -> Path:
        paths = self._paths()
        if number not in paths:
            known = tuple(str(n) for n in sorted(paths))[-20:]
            raise NotFound(
                f"there is no issue {number}",
                field="issue",
                given=number,
                allowed=known,
                next_step="`mlops submit FILE` opens one",
            )
        return paths[number]

    def _next_number(self) -> int:
        """The next number, written down before it is used: a number of a removed file is not given out again."""
        counter = self.folder / _COUNTER
        text = counter.read_text().strip() if counter.is_file() else ""
        last = max([int(text) if text.isdecimal() else 0, *self._paths()])
        write_whole(counter, f"{last + 1}\n", durable=True)
        return last + 1

    def _read(self, path: Path) -> Thread:
        # surrogateescape: bytes that an editor left in another encoding survive the next write
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        edited = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return read_thread(text, owner=self._owner(), edited=edited)

    def _adopted(self, number: int) -> tuple[Path, Thread]:
        """The thread to be changed, in which text appended by hand has the identity under which it was read."""
        path = self._path(number)
        thread = self._read(path)
        return path, replace(thread, entries=tuple(self._identified(number, thread)))

    @staticmethod
    def _identified(number: int, thread: Thread) -> Iterator[Comment]:
        """Entries, those written by hand with an id that follows from issue and text, the same before and after adoption."""
        taken = {entry.id for entry in thread.entries}
        for entry in thread.entries:
            if entry.id:
                yield entry
                continue
            copies = 0
            while (
                candidate := hashlib.sha256(f"{number}\n{copies}\n{entry.body}".encode("utf-8", "replace")).hexdigest()[:12]
            ) in taken:
                copies += 1
            taken.add(candidate)
            yield replace(entry, id=candidate)

    def _append(self, path: Path, thread: Thread, entry: Comment) -> Comment:
        self._write(path, replace(thread, entries=(*thread.entries, entry)))
        return entry

    def _write(self, path: Path, thread: Thread) -> None:
        # On the disk before anyone hears of it.
        write_whole(path, write_thread(thread).encode("utf-8", "surrogateescape"), durable=True)

    def _issue(self, number: int, path: Path, thread: Thread) -> Issue:
        comments = tuple(self._identified(number, thread))
        return Issue(
            number=number,
            title=thread.title,
            body=thread.body,
            author=thread.author,
            labels=thread.labels,
            state=thread.state,
            created_at=thread.created_at,
            updated_at=max(datetime.fromtimestamp(path.stat().st_mtime, UTC), thread.created_at),
            comments=comments,
            url=path.absolute().as_uri(),
        )

    def _owner(self) -> str:
        return _user_name(self.folder.stat().st_uid) if self.folder.exists() else _user_name(os.getuid())


def _stored(body: str) -> str:
    """A body as it will be read back: ``\\n`` line ends, no blank lines around it."""
    return body.replace("\r\n", "\n").replace("\r", "\n").strip("\n")


def _new_id() -> str:
    return uuid.uuid4().hex[:12]


def _slug(title: str) -> str:
    """The readable part of a file name: letters and digits of any script, at most 40."""
    words = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFKC", title).lower())
    return words[:40].strip("-") or "issue"


def _user_name(uid: int) -> str:
    """The operating system's name of a user; the number where it has none, as in some containers."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
