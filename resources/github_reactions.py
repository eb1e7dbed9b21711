"""Who reacted on the platform's open proposals, with one request in most ticks.

GitHub sends no event for a reaction, and a reaction changes neither the comment's nor the issue's time. For one comment its list
of reactions is asked for conditionally. For more, one conditional listing of the repository's latest comments shows how often
each was given a thumb; whose numbers have changed is read in full. Equal numbers may hide an exchange of people, and old comments
fall out of that listing, so every comment is read in full about once a minute as well.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from resources.github_client import GitHubClient, Refused
from resources.github_comments import OwnComments
from resources.github_payloads import CommentPayload, ReactionPayload, understood
from resources.tracker import Reaction

#: At the latest after so many seconds a comment is read in full.
FULL_READ_SECONDS: Final = 60.0
#: A tick reads at least so many that are due, if there are so many …
READS_A_TICK: Final = 20
#: … and at most so many, which take some ten seconds; above a few hundred open proposals a change is seen later.
MOST_READS_A_TICK: Final = 60
_THUMBS: Final = ("+1", "-1")

Key = tuple[int, str]
Given = tuple[tuple[str, Reaction], ...]


@dataclass
class _Watched:
    """What is known of one comment. ``comment_id`` is None where it was not found when it was looked for."""

    comment_id: int | None = None
    read_at: float = -math.inf
    etag: str | None = None
    rollup: tuple[int, int] | None = None
    rollup_when_read: tuple[int, int] | None = None
    given: Given = ()


class ReactionWatch:
    """Remembers, between ticks of one process, what was read; a new process reads everything once."""

    def __init__(self, client: GitHubClient, comments: OwnComments, clock: Callable[[], float]) -> None:
        self._client = client
        self._comments = comments
        self._clock = clock
        self._watched: dict[Key, _Watched] = {}
        self._listing_etag: str | None = None
        self._asked_at = -math.inf
        self._lock = threading.Lock()

    def read(self, comments: Sequence[Key]) -> dict[Key, Given]:
        """Thumbs on each of ``comments``; none on one that does not exist."""
        asked = list(dict.fromkeys(comments))
        if not asked:
            return {}
        with self._lock:
            if any(key not in self._watched for key in asked):
                self._listing_etag = None  # the listing has to be seen once for a comment that is new here
            self._watched = {key: self._watched.get(key) or _Watched(self._comments.known_id(*key)) for key in asked}
            now = self._clock()
            interval = min(max(now - self._asked_at, 0.0), FULL_READ_SECONDS / 4)
            changed: list[Key] = asked if len(asked) == 1 else self._changed()
            due = sorted(
                (key for key in asked if key not in changed and self._age(key, now) + interval > FULL_READ_SECONDS),
                key=lambda key: self._watched[key].read_at,
            )
            share = min(MOST_READS_A_TICK, max(READS_A_TICK, math.ceil(len(asked) * interval / (FULL_READ_SECONDS / 2))))
            for key in [*changed, *due[:share]]:
                self._read_in_full(key, now)
            self._asked_at = now
            return {key: self._watched[key].given for key in asked}

    def _age(self, key: Key, now: float) -> float:
        return now - self._watched[key].read_at

    def _changed(self) -> list[Key]:
        """Comments whose numbers of thumbs differ from those at which they were read."""
        listing = self._client.get(
            "issues/comments", {"sort": "updated", "direction": "desc", "per_page": 100}, etag=self._listing_etag
        )
        if not listing.unchanged:
            for comment in understood(tuple[CommentPayload, ...], listing.content):
                self._note(comment)
            self._listing_etag = listing.etag
        return [key for key, one in self._watched.items() if one.rollup is not None and one.rollup != one.rollup_when_read]

    def _note(self, comment: CommentPayload) -> None:
        marker = self._comments.marker(comment)
        watched = self._watched.get((comment.issue_number, marker)) if marker is not None else None
        if watched is None:
            return
        if watched.comment_id is None:
            watched.comment_id = comment.id
        if watched.comment_id == comment.id:
            watched.rollup = (comment.reactions.up, comment.reactions.down)

    def _read_in_full(self, key: Key, now: float) -> None:
        watched = self._watched[key]
        if watched.comment_id is None:
            if self._age(key, now) < FULL_READ_SECONDS / 2:
                return  # looked for a moment ago, and not there
            found = self._comments.find(*key)
            watched.comment_id = found.id if found is not None else None
        if watched.comment_id is not None:
            try:
                given, watched.etag = thumbs_on(self._client, watched.comment_id, watched.etag)
                watched.given = watched.given if given is None else given
            except Refused as refused:
                if refused.status not in (404, 410):
                    raise
                self._comments.forget(*key)
                watched = self._watched[key] = _Watched()
        watched.read_at, watched.rollup_when_read = now, watched.rollup


def thumbs_on(client: GitHubClient, comment_id: int, etag: str | None = None) -> tuple[Given | None, str | None]:
    """Thumbs on a comment in the order they were given, and the ETag of the list; None for the thumbs where ``etag`` holds.

    Raises:
        Refused: 404 where the comment does not exist.
    """
    path = f"issues/comments/{comment_id}/reactions"
    first = client.get(path, {"per_page": 100}, etag=etag)
    if first.unchanged:
        return None, etag
    following = first.next_parameters
    pages = [first, *client.pages(path, following)] if following is not None else [first]
    reactions = [reaction for page in pages for reaction in understood(tuple[ReactionPayload, ...], page.content)]
    given = dict.fromkeys(
        (reaction.user.login, cast("Reaction", reaction.content))
        for reaction in reactions
        if reaction.user is not None and reaction.content in _THUMBS
    )
    # Oldest first: a younger one appears on the last page, of which the first page's ETag knows nothing.
    return tuple(given), first.etag if following is None else None
