"""Where issues live: the interface that the folder tracker and the GitHub tracker both keep.

Types and the protocol only; ``folder_tracker`` is the embedded implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

Permission = Literal["none", "read", "write", "admin"]
Reaction = Literal["+1", "-1"]


@dataclass(frozen=True)
class Comment:
    """One comment. ``marker`` is set on the platform's own comments, and only on those: text of anybody else that looks like
    a marker is text. It is their identity."""

    id: str
    author: str
    body: str
    created_at: datetime
    updated_at: datetime
    marker: str | None = None
    reactions: tuple[tuple[str, Reaction], ...] = ()


@dataclass(frozen=True)
class Issue:
    """One issue with its thread, oldest comment first."""

    number: int
    title: str
    body: str
    author: str
    labels: frozenset[str]
    state: Literal["open", "closed"]
    created_at: datetime
    updated_at: datetime
    comments: tuple[Comment, ...] = field(default=())
    url: str = ""


@dataclass(frozen=True)
class Changes:
    """What may have changed since a cursor; an issue may be named that did not, never the other way round."""

    numbers: tuple[int, ...]
    cursor: str


class Tracker(Protocol):
    """Issues, comments, labels, reactions and permissions of one repository or folder."""

    kind: str

    def open_issue(self, title: str, body: str, labels: Sequence[str], author: str | None = None) -> Issue:
        """Open a new issue and return it with its number."""
        ...

    def issue(self, number: int) -> Issue:
        """The issue with its thread.

        Raises:
            NotFound: there is no issue of that number.
        """
        ...

    def issues(self, label: str | None = None, state: Literal["open", "closed", "all"] = "open") -> list[Issue]:
        """Issues in ascending number, without comments where that saves work."""
        ...

    def changes(self, label: str, cursor: str | None) -> Changes:
        """Numbers of issues, open or closed, with ``label`` that were opened, edited, commented on or closed since ``cursor``.

        None asks for every open one. The cursor is opaque text of at most a few hundred characters; asking with the same one
        again gives at least the same issues. Reactions change no issue: ``reactions`` asks for them. Where nothing is new this
        costs at most one request.
        """
        ...

    def reactions(self, comments: Sequence[tuple[int, str]]) -> dict[tuple[int, str], tuple[tuple[str, Reaction], ...]]:
        """Who reacted with a thumb on the platform's comments, each named by its issue's number and its marker.

        A comment that does not exist has no reactions. However many are asked for, where nothing is new this costs one request
        in most ticks; a change is seen within a minute at the latest.
        """
        ...

    def upsert_comment(self, number: int, marker: str, body: str) -> Comment:
        """Create the platform's comment ``marker``, or replace its body; calling twice leaves one comment."""
        ...

    def add_comment(self, number: int, body: str, author: str | None = None) -> Comment:
        """Append a person's comment."""
        ...

    def react(self, number: int, marker: str, reaction: Reaction, author: str | None = None) -> None:
        """Put a person's reaction on the platform's comment ``marker``; a repeated one changes nothing."""
        ...

    def set_labels(self, number: int, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove labels; both are idempotent."""
        ...

    def permission(self, actor: str) -> Permission:
        """What ``actor`` may do now; asked at the moment of decision, never cached."""
        ...

    def is_bot(self, actor: str) -> bool:
        """Whether ``actor`` is a machine account; it may not approve, whatever its permission."""
        ...

    def current_actor(self) -> str:
        """Who a command typed here acts as."""
        ...
