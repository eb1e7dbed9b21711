"""What GitHub's REST API answers, as far as it is read here. Fields only; what they mean for the platform is in the tracker.

Source: GitHub REST API description 2022-11-28 (schemas ``issue``, ``issue-comment``, ``reaction``, ``label`` …).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mlops_assets.errors import Unavailable

PayloadT = TypeVar("PayloadT")


class Payload(BaseModel):
    """Fields that are not named here are GitHub's, and there are many."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class User(Payload):
    """An account; ``type`` is `User`, `Bot` or another kind."""

    login: str
    type: str = "User"


class Label(Payload):
    """A label of an issue or of the repository."""

    name: str


class Rollup(Payload):
    """How often a comment was given each thumb."""

    up: int = Field(default=0, alias="+1")
    down: int = Field(default=0, alias="-1")


class IssuePayload(Payload):
    """An issue, or a pull request: GitHub lists both together."""

    number: int
    title: str
    body: str | None = None
    user: User | None = None
    labels: tuple[Label | str, ...] = ()
    state: Literal["open", "closed"]
    created_at: datetime
    updated_at: datetime
    html_url: str
    pull_request: Any = None

    @property
    def label_names(self) -> frozenset[str]:
        """Names, in whichever of its two forms GitHub writes a label."""
        return frozenset(label if isinstance(label, str) else label.name for label in self.labels)


class CommentPayload(Payload):
    """A comment; without ``user`` where that account no longer exists."""

    id: int
    body: str | None = None
    user: User | None = None
    created_at: datetime
    updated_at: datetime
    issue_url: str
    reactions: Rollup = Rollup()

    @property
    def issue_number(self) -> int:
        """The number at the end of ``issue_url``."""
        return int(self.issue_url.rsplit("/", 1)[-1])


class ReactionPayload(Payload):
    """One person's reaction; ``content`` is `+1`, `-1` or one that means nothing here."""

    user: User | None = None
    content: str


class PermissionPayload(Payload):
    """What a collaborator may do; ``permission`` is the base role also where the organisation has roles of its own."""

    permission: str
    user: User | None = None


class Repository(Payload):
    """The repository itself."""

    full_name: str
    default_branch: str
    html_url: str


class GitObject(Payload):
    """Something that has an id in git."""

    sha: str


class Reference(Payload):
    """A branch."""

    object: GitObject


class Commit(Payload):
    """A commit of the git data API."""

    sha: str
    tree: GitObject


class TreeEntry(Payload):
    """A file or folder in a tree."""

    path: str
    sha: str
    type: str


class Tree(Payload):
    """One folder of a commit."""

    sha: str
    tree: tuple[TreeEntry, ...]
    truncated: bool = False


class FileContent(Payload):
    """A file of the contents API; above 1 MB it comes without its content."""

    sha: str
    content: str = ""
    encoding: str = "none"


class Blob(Payload):
    """The bytes of a file."""

    content: str
    encoding: str


class App(Payload):
    """A GitHub App; it writes as ``slug[bot]``."""

    slug: str


class Installation(Payload):
    """A GitHub App in one account."""

    id: int


class InstallationToken(Payload):
    """What a GitHub App writes with, for an hour. Never shown."""

    token: str = Field(repr=False)
    expires_at: datetime


def understood(kind: type[PayloadT], content: Any) -> PayloadT:
    """``content`` as ``kind``, a payload or a tuple of payloads.

    Raises:
        Unavailable: it is something else, such as the page of a proxy in between.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        places = {".".join(map(str, problem["loc"])) or "the whole" for problem in error.errors()}
        where = ", ".join(sorted(places)[:5])
        name = getattr(kind, "__name__", str(kind))
        raise Unavailable(f"GitHub's answer is not what its API describes ({name}: {where})") from None
