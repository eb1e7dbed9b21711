"""The platform's own comments in a GitHub repository: finding them by their marker, writing them once, clearing up doubles.

Identity is the account that wrote a comment *and* the hidden first line; either alone is a person's text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from mlops_assets.errors import Unavailable
from resources.github_client import Answer, GitHubClient, OutcomeUnknown, Refused
from resources.github_payloads import CommentPayload, understood
from resources.github_text import normalised, with_marker, without_marker

FoundT = TypeVar("FoundT")

#: Pauses before looking whether a change happened that was not answered properly.
LOOK_AGAIN_SECONDS: Final = (1.0, 2.0, 4.0)


class OwnComments:
    """Our comments by issue number and marker."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client
        self._ids: dict[tuple[int, str], int] = {}

    def marker(self, comment: CommentPayload) -> str | None:
        """The marker of a comment of ours; None for everybody else's, whatever it says."""
        return self.read(comment)[0]

    def read(self, comment: CommentPayload) -> tuple[str | None, str]:
        """Marker and text of a comment."""
        text = normalised(comment.body)
        if comment.user is None or comment.user.login.casefold() != self._client.login.casefold():
            return None, text
        return without_marker(text)

    def listed(self, number: int) -> list[CommentPayload]:
        """Every comment of an issue, oldest first; ours are remembered.

        Raises:
            Refused: 404 or 410 where there is no such issue.
        """
        pages = self._client.pages(f"issues/{number}/comments")
        comments = [comment for page in pages for comment in understood(tuple[CommentPayload, ...], page.content)]
        comments.sort(key=lambda comment: comment.id)
        for comment in reversed(comments):  # of doubles, the oldest is the one
            self.remember(number, comment)
        return comments

    def remember(self, number: int, comment: CommentPayload) -> str | None:
        """Keep the id of a comment of ours, and give its marker."""
        marker = self.marker(comment)
        if marker is not None:
            self._ids[number, marker] = comment.id
        return marker

    def known_id(self, number: int, marker: str) -> int | None:
        """The comment's id if this process has met it."""
        return self._ids.get((number, marker))

    def find(self, number: int, marker: str) -> CommentPayload | None:
        """The oldest comment of ours with ``marker``; None where the issue, or it, does not exist."""
        try:
            return next((comment for comment in self.listed(number) if self.marker(comment) == marker), None)
        except Refused as refused:
            if refused.status in (404, 410):
                return None
            raise

    def forget(self, number: int, marker: str) -> None:
        """The comment is no longer there."""
        self._ids.pop((number, marker), None)

    def upsert(self, number: int, marker: str, body: str) -> CommentPayload:
        """Leave exactly one comment ``marker`` with ``body``, whatever was there, is there, or fails on the way.

        Raises:
            Refused: 404 or 410 where there is no such issue.
            Unavailable: GitHub keeps failing; calling again is safe.
        """
        text = with_marker(marker, body)
        present = self._present(number, marker)
        if present is None:
            self._create(number, marker, text)
            # Another process may have written the same one between our looking and our writing.
            present = self._only(number, marker)
        if present is None:
            raise Unavailable(f"GitHub does not show the comment {marker} of issue {number} that it has just taken")
        if normalised(present.body).rstrip() == text.rstrip():
            return present
        answer = self._client.write("PATCH", f"issues/comments/{present.id}", {"body": text}, repeatable=True)
        return understood(CommentPayload, answer.content)

    def _present(self, number: int, marker: str) -> CommentPayload | None:
        """The comment as it stands: by its id where we know it, else by looking through the thread."""
        known = self.known_id(number, marker)
        if known is not None:
            try:
                comment = understood(CommentPayload, self._client.get(f"issues/comments/{known}").content)
            except Refused as refused:
                if refused.status not in (404, 410):
                    raise
                self.forget(number, marker)
            else:
                if self.marker(comment) == marker and comment.issue_number == number:
                    return comment
        return self._only(number, marker)

    def _only(self, number: int, marker: str) -> CommentPayload | None:
        """The oldest comment ``marker``, after removing younger doubles of it."""
        ours = [comment for comment in self.listed(number) if self.marker(comment) == marker]
        for double in ours[1:]:
            try:
                self._client.write("DELETE", f"issues/comments/{double.id}", repeatable=True)
            except Refused as refused:
                if refused.status not in (404, 410):  # the other process has removed it
                    raise
        return ours[0] if ours else None

    def _create(self, number: int, marker: str, text: str) -> None:
        def send() -> Answer:
            return self._client.write("POST", f"issues/{number}/comments", {"body": text}, repeatable=False)

        written_once(self._client, send, lambda: self.find(number, marker))


def written_once(client: GitHubClient, send: Callable[[], Answer], look: Callable[[], FoundT | None]) -> Answer | FoundT:
    """Send a change that must not be made twice; where its fate is unknown, look before it is sent again.

    Raises:
        Unavailable: it failed several times, and was not made.
    """
    for seconds in LOOK_AGAIN_SECONDS:
        try:
            return send()
        except OutcomeUnknown:
            client.pause(seconds)
            found = look()
            if found is not None:
                return found
    return send()
