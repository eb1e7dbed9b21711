"""The docket: which issues a tick of the sensor has to look at, so that a thousand quiet ones cost nothing.

An issue is in none or some of three lists, kept as objects whose names say everything, so that one listing is enough:

- ``changed/<number>``: something was opened, edited, commented on or closed; the tracker is asked for the whole thread;
- ``open/<number>``: a run is under way or something is left to do; what was last read of it is enough;
- ``waiting/<number>~<training>``: its proposal waits for a thumb; only its reactions are asked for.

What an issue means is for ``attendant``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlops_assets.errors import NotFound
from mlops_assets.request.schema import Frozen
from resources.store import ObjectStore
from resources.tracker import Issue


class SeenIssue(Frozen):
    """What was last read of an issue, without its comments."""

    number: int
    title: str
    body: str
    author: str
    labels: tuple[str, ...]
    state: str
    created_at: str
    updated_at: str
    url: str

    def as_issue(self) -> Issue:
        """The issue as it was then; its comments are not known here."""
        from datetime import datetime

        return Issue(
            number=self.number,
            title=self.title,
            body=self.body,
            author=self.author,
            labels=frozenset(self.labels),
            state="open" if self.state == "open" else "closed",
            created_at=datetime.fromisoformat(self.created_at),
            updated_at=datetime.fromisoformat(self.updated_at),
            url=self.url,
        )


@dataclass(frozen=True)
class Listing:
    """The docket at one moment."""

    changed: tuple[int, ...]
    open: tuple[int, ...]
    waiting: dict[int, str]
    """Issue number -> training whose proposal waits."""


class Docket:
    """Reads and writes the three lists of one tracker; only the issue sensor changes them."""

    def __init__(self, store: ObjectStore, tracker: str) -> None:
        self._store = store
        self._root = f"docket/{tracker}"
        self._seen = f"issues_seen/{tracker}"

    def listing(self) -> Listing:
        """All three lists, in ascending number."""
        lists: dict[str, list[str]] = {"changed": [], "open": [], "waiting": []}
        for key in self._store.keys(self._root):
            place, _, name = key.removeprefix(f"{self._root}/").partition("/")
            if place in lists:
                lists[place].append(name)
        waiting = dict(name.split("~", 1) for name in lists["waiting"])
        return Listing(
            changed=tuple(sorted(map(int, lists["changed"]))),
            open=tuple(sorted(map(int, lists["open"]))),
            waiting={int(number): waiting[number] for number in sorted(waiting, key=int)},
        )

    def note_changed(self, numbers: Iterable[int]) -> None:
        """Have these issues read whole; they stay noted until one of the next three has been called for them."""
        for number in numbers:
            self._store.create(f"{self._root}/changed/{number}", b"")

    def remember(self, issue: Issue) -> None:
        """Keep what was read of an issue, for the ticks that need not ask for it again."""
        seen = SeenIssue(
            number=issue.number,
            title=issue.title,
            body=issue.body,
            author=issue.author,
            labels=tuple(sorted(issue.labels)),
            state=issue.state,
            created_at=issue.created_at.isoformat(),
            updated_at=issue.updated_at.isoformat(),
            url=issue.url,
        )
        self._store.put(f"{self._seen}/{issue.number}.json", seen.model_dump_json().encode())

    def seen(self, number: int) -> Issue | None:
        """What was last read of an issue."""
        try:
            return SeenIssue.model_validate_json(self._store.get(f"{self._seen}/{number}.json")).as_issue()
        except NotFound:
            return None

    def wait(self, number: int, training_id: str) -> None:
        """Put an issue on the list of those whose proposal waits for a thumb."""
        self._store.create(f"{self._root}/waiting/{number}~{training_id}", b"")
        self._leave(number, but=f"waiting/{number}~{training_id}")

    def keep_open(self, number: int) -> None:
        """Put an issue on the list of those that are looked at in every tick."""
        self._store.create(f"{self._root}/open/{number}", b"")
        self._leave(number, but=f"open/{number}")

    def settle(self, number: int) -> None:
        """Take an issue off the docket until it changes again."""
        self._leave(number, but=None)

    def _leave(self, number: int, but: str | None) -> None:
        # Only the sensor notes and attends, one tick at a time: a change that came later is noted again by a later tick.
        self._store.remove(f"{self._root}/changed/{number}")
        if but != f"open/{number}":
            self._store.remove(f"{self._root}/open/{number}")
        for name in [name for name in self._waiting(number) if f"waiting/{name}" != but]:
            self._store.remove(f"{self._root}/waiting/{name}")

    def _waiting(self, number: int) -> list[str]:
        names = (key.rsplit("/", 1)[-1] for key in self._store.keys(f"{self._root}/waiting"))
        return [name for name in names if name.startswith(f"{number}~")]
