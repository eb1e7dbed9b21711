"""What has changed in a repository's issues since a cursor: one conditional request where nothing has.

The cursor holds the moment from which to list and the ETag of that list. ``since`` is inclusive and counts whole seconds, so it
is never moved past the newest change; the ETag tells whether anything was added to that second.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from resources.github_client import Answer, GitHubClient
from resources.github_payloads import IssuePayload, understood
from resources.tracker import Changes

#: GitHub's list lags behind its own writes a little: a change may show up after a younger one.
OVERLAP: Final = timedelta(seconds=10)
#: No issue on GitHub is older.
BEFORE_EVERYTHING: Final = datetime(2008, 1, 1, tzinfo=UTC)


class _Cursor(BaseModel):
    """``of`` names repository and label: a cursor of others says nothing here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str
    since: AwareDatetime
    etag: str | None = Field(default=None, max_length=300)


class ChangeList:
    """Lists changed issues of one repository."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client

    def read(self, label: str, text: str | None) -> Changes:
        """Issues with ``label`` changed since the cursor ``text``; every open one where there is none."""
        of = hashlib.sha256(f"{self._client.name} {label}".encode()).hexdigest()[:12]
        cursor = _read(text, of)
        if cursor is None:
            return self._everything(label, of)
        asked = {"labels": label, "state": "all", "sort": "updated", "direction": "desc", "since": _zulu(cursor.since)}
        first = self._client.get("issues", {**asked, "per_page": 100}, etag=cursor.etag)
        if first.unchanged:
            return Changes((), _write(cursor))
        # Newest first: whatever changes while the pages are read stands before them and is newer than ``newest``, so that
        # the next call finds it.
        following = first.next_parameters
        pages = [first, *self._client.pages("issues", following)] if following is not None else [first]
        issues = _issues(pages)
        newest = max((issue.updated_at for issue in issues), default=cursor.since)
        since = max(cursor.since, newest - OVERLAP)
        etag = first.etag if since == cursor.since else None
        return Changes(_numbers(issues), _write(_Cursor(of=of, since=since, etag=etag)))

    def _everything(self, label: str, of: str) -> Changes:
        asked = {"labels": label, "sort": "updated", "direction": "desc"}
        # Looked at first: what changes while the open ones are listed is found by the next call.
        latest = _issues([self._client.get("issues", {**asked, "state": "all", "per_page": 1})])
        issues = _issues(self._client.pages("issues", {**asked, "state": "open"}))
        since = latest[0].updated_at - OVERLAP if latest else BEFORE_EVERYTHING
        return Changes(_numbers(issues), _write(_Cursor(of=of, since=since)))


def _issues(pages: Iterable[Answer]) -> list[IssuePayload]:
    return [issue for page in pages for issue in understood(tuple[IssuePayload, ...], page.content)]


def _numbers(issues: list[IssuePayload]) -> tuple[int, ...]:
    return tuple(sorted({issue.number for issue in issues if issue.pull_request is None}))


def _read(text: str | None, of: str) -> _Cursor | None:
    if text is None:
        return None
    try:
        cursor = _Cursor.model_validate_json(text)
    except ValidationError:  # of another tracker, or of another release
        return None
    return cursor if cursor.of == of else None


def _write(cursor: _Cursor) -> str:
    return json.dumps({"of": cursor.of, "since": _zulu(cursor.since), "etag": cursor.etag})


def _zulu(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
