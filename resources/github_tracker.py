"""The tracker on GitHub: issues, threads, labels, reactions and permissions of one repository.

What GitHub's parts mean for the platform only. How requests are sent is in ``github_client``; how our comments are kept single in
``github_comments``; how little is asked for when nothing is new in ``github_changes`` and ``github_reactions``.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal
from urllib.parse import quote

from mlops_assets.errors import NotFound, UserError
from resources.github_changes import ChangeList
from resources.github_client import GitHubClient, Refused
from resources.github_comments import OwnComments, written_once
from resources.github_labels import LABELS, RepositoryLabels
from resources.github_payloads import CommentPayload, IssuePayload, Label, PermissionPayload, User, understood
from resources.github_reactions import ReactionWatch, thumbs_on
from resources.github_text import normalised, of_a_person, sendable
from resources.tracker import Changes, Comment, Issue, Permission, Reaction

_MISSING: Final = (301, 404, 410)
_LOGIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(\[bot\])?")
_PERMISSIONS: Final[dict[str, Permission]] = {
    "admin": "admin",
    "maintain": "write",
    "write": "write",
    "triage": "read",
    "read": "read",
}
#: What GitHub shows for an account that no longer exists.
GHOST: Final = "ghost"


class GitHubTracker:
    """Issues of one repository, read and written as the account of ``client``.

    One instance remembers ids and ETags and is shared by the threads of a process; losing it costs requests, nothing else.
    """

    kind = "github"

    def __init__(self, client: GitHubClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._comments = OwnComments(client)
        self._labels = RepositoryLabels(client)
        self._changes = ChangeList(client)
        self._reactions = ReactionWatch(client, self._comments, clock)
        self._writing = threading.RLock()

    # --- reading ------------------------------------------------------------------------------------------------

    def issue(self, number: int) -> Issue:
        """The issue with its thread; thumbs are read on the platform's own comments only.

        Raises:
            NotFound: there is no issue of that number, or it is a pull request.
        """
        try:
            found = understood(IssuePayload, self._client.get(f"issues/{number}").content)
            if found.pull_request is not None:
                raise self._missing(number, "it is a pull request")
            comments = tuple(self._comment(comment) for comment in self._comments.listed(number))
        except Refused as refused:
            raise self._as_missing(refused, number) from refused
        return _issue(found, comments)

    def issues(self, label: str | None = None, state: Literal["open", "closed", "all"] = "open") -> list[Issue]:
        """Issues in ascending number, without their comments."""
        asked = {"state": state, "sort": "created", "direction": "asc", **({"labels": label} if label is not None else {})}
        found = {
            issue.number: issue
            for page in self._client.pages("issues", asked)
            for issue in understood(tuple[IssuePayload, ...], page.content)
            if issue.pull_request is None
        }
        return [_issue(found[number], ()) for number in sorted(found)]

    def changes(self, label: str, cursor: str | None) -> Changes:
        """Issues with ``label`` that changed since ``cursor``; one request, answered 304, where nothing did."""
        return self._changes.read(label, cursor)

    def reactions(self, comments: Sequence[tuple[int, str]]) -> dict[tuple[int, str], tuple[tuple[str, Reaction], ...]]:
        """Who gave a thumb on the platform's comments."""
        return self._reactions.read(comments)

    def permission(self, actor: str) -> Permission:
        """What ``actor`` may do in the repository at this moment; `none` for whoever GitHub does not know there."""
        if not _LOGIN.fullmatch(actor):
            return "none"
        try:
            answer = self._client.get(f"collaborators/{quote(actor, safe='')}/permission")
        except Refused as refused:
            if refused.status == 404:
                return "none"
            raise
        found = understood(PermissionPayload, answer.content)
        if found.user is not None and found.user.login.casefold() != actor.casefold():
            return "none"  # the account was renamed: the name that was asked about is nobody's, or somebody else's
        return _PERMISSIONS.get(found.permission, "none")

    def is_bot(self, actor: str) -> bool:
        """Whether the account is a machine's: of type Bot, or an App's name ending in `[bot]`."""
        if actor.casefold().endswith("[bot]"):
            return True
        if not _LOGIN.fullmatch(actor):
            return False
        try:
            return understood(User, self._client.get(f"/users/{quote(actor, safe='')}").content).type == "Bot"
        except Refused as refused:
            if refused.status == 404:
                return False
            raise

    def current_actor(self) -> str:
        """The account that the token or the App stands for; no setting can claim another."""
        return self._client.login

    # --- writing ------------------------------------------------------------------------------------------------

    def open_issue(self, title: str, body: str, labels: Sequence[str], author: str | None = None) -> Issue:
        """Open a new issue, exactly one even where GitHub's answer is lost.

        Raises:
            UserError: ``author`` is another account than ours.
        """
        self._only_ourselves(author)
        if set(labels) & LABELS.keys():
            self._labels.ensure()
        content = {"title": sendable(title), "body": sendable(body), "labels": list(labels)}

        def latest() -> list[IssuePayload]:
            asked = {"creator": self._client.login, "state": "all", "sort": "created", "direction": "desc", "per_page": 30}
            return list(understood(tuple[IssuePayload, ...], self._client.get("issues", asked).content))

        with self._writing:
            before = {issue.number for issue in latest()}
            opened = written_once(
                self._client,
                lambda: self._client.write("POST", "issues", content, repeatable=False),
                lambda: next((i for i in latest() if i.number not in before and i.title == content["title"]), None),
            )
        return _issue(opened if isinstance(opened, IssuePayload) else understood(IssuePayload, opened.content), ())

    def upsert_comment(self, number: int, marker: str, body: str) -> Comment:
        """Create the platform's comment ``marker``, or replace its body; an equal body is not written again.

        Raises:
            NotFound: there is no issue of that number.
        """
        with self._writing:
            try:
                return self._comment(self._comments.upsert(number, marker, body), with_reactions=False)
            except Refused as refused:
                raise self._as_missing(refused, number) from refused

    def add_comment(self, number: int, body: str, author: str | None = None) -> Comment:
        """Append a person's comment, exactly one even where GitHub's answer is lost.

        Raises:
            NotFound: there is no issue of that number.
            UserError: ``author`` is another account than ours.
        """
        self._only_ourselves(author)
        text = of_a_person(body)
        try:
            with self._writing:
                before = {comment.id for comment in self._comments.listed(number)}
                added = written_once(
                    self._client,
                    lambda: self._client.write("POST", f"issues/{number}/comments", {"body": text}, repeatable=False),
                    lambda: next(
                        (c for c in self._comments.listed(number) if c.id not in before and self._is_ours(c, text)), None
                    ),
                )
        except Refused as refused:
            raise self._as_missing(refused, number) from refused
        comment = added if isinstance(added, CommentPayload) else understood(CommentPayload, added.content)
        return self._comment(comment, with_reactions=False)

    def react(self, number: int, marker: str, reaction: Reaction, author: str | None = None) -> None:
        """Give our account's thumb to the platform's comment ``marker``; GitHub keeps one of each kind for a person.

        Raises:
            NotFound: there is no such issue, or no comment of that marker in it.
            UserError: ``author`` is another account than ours.
        """
        self._only_ourselves(author)
        found = self._comments.find(number, marker)
        if found is None:
            raise NotFound("the thread has no such comment", field="marker", given=marker)
        self._client.write("POST", f"issues/comments/{found.id}/reactions", {"content": reaction}, repeatable=True)

    def set_labels(self, number: int, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove labels; what is already so is not written.

        Raises:
            NotFound: there is no issue of that number.
        """
        try:
            page = self._client.get(f"issues/{number}/labels", {"per_page": 100})
            present = {label.name.casefold() for label in understood(tuple[Label, ...], page.content)}
            missing = [label for label in dict.fromkeys(add) if label.casefold() not in present]
            if missing:
                if set(missing) & LABELS.keys():
                    self._labels.ensure()
                self._client.write("POST", f"issues/{number}/labels", {"labels": missing}, repeatable=True)
            for label in dict.fromkeys(remove):
                if label.casefold() in present:
                    self._take_off(number, label)
        except Refused as refused:
            raise self._as_missing(refused, number) from refused

    # --- parts --------------------------------------------------------------------------------------------------

    def _take_off(self, number: int, label: str) -> None:
        try:
            self._client.write("DELETE", f"issues/{number}/labels/{quote(label, safe='')}", repeatable=True)
        except Refused as refused:
            if refused.status != 404:  # somebody else has taken it off
                raise

    def _comment(self, comment: CommentPayload, *, with_reactions: bool = True) -> Comment:
        marker, body = self._comments.read(comment)
        thumbs = with_reactions and marker is not None and (comment.reactions.up or comment.reactions.down)
        return Comment(
            id=str(comment.id),
            author=comment.user.login if comment.user is not None else GHOST,
            body=body,
            created_at=comment.created_at,
            updated_at=comment.updated_at,
            marker=marker,
            reactions=(thumbs_on(self._client, comment.id)[0] or ()) if thumbs else (),
        )

    def _is_ours(self, comment: CommentPayload, text: str) -> bool:
        author = comment.user.login if comment.user is not None else GHOST
        return author.casefold() == self._client.login.casefold() and normalised(comment.body).rstrip() == text.rstrip()

    def _only_ourselves(self, author: str | None) -> None:
        if author is not None and author.casefold() != self._client.login.casefold():
            raise UserError(
                "on GitHub nothing can be written in somebody else's name",
                field="author",
                given=author,
                allowed=(self._client.login,),
                next_step="write it on GitHub, signed in as that account",
            )

    def _as_missing(self, refused: Refused, number: int) -> UserError:
        return self._missing(number, refused.reason) if refused.status in _MISSING else refused

    def _missing(self, number: int, reason: str) -> NotFound:
        return NotFound(
            f"there is no issue {number} in {self._client.name} ({reason})",
            field="issue",
            given=number,
            next_step="check the number, and that the token may see the repository's issues",
        )


def _issue(issue: IssuePayload, comments: tuple[Comment, ...]) -> Issue:
    return Issue(
        number=issue.number,
        title=issue.title,
        body=normalised(issue.body),
        author=issue.user.login if issue.user is not None else GHOST,
        labels=issue.label_names,
        state=issue.state,
        created_at=issue.created_at,
        updated_at=issue.updated_at,
        comments=comments,
        url=issue.html_url,
    )
