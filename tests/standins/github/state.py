"""What the stand-in remembers: accounts, repositories, issues with their threads, hooks. No HTTP, no JSON shapes.

Everything is changed under ``World.lock`` only.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tests.standins.github.objects import Objects

Role = Literal["none", "read", "triage", "write", "maintain", "admin"]
ROLES: tuple[Role, ...] = ("none", "read", "triage", "write", "maintain", "admin")
REACTIONS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")
Clock = Callable[[], datetime]


class ManualClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, start: datetime | None = None) -> None:
        self.now = start or datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@dataclass
class User:
    """An account; ``kind`` is what GitHub calls its type."""

    id: int
    login: str
    kind: Literal["User", "Bot", "Organization"]
    created_at: datetime
    app: int | None = None


@dataclass
class Reaction:
    """One reaction of one account."""

    id: int
    user: User
    content: str
    created_at: datetime


@dataclass
class Comment:
    """A comment of an issue."""

    id: int
    user: User
    body: str
    created_at: datetime
    updated_at: datetime
    reactions: list[Reaction] = field(default_factory=list)


@dataclass
class Label:
    """A label of a repository."""

    id: int
    name: str
    color: str = "ededed"
    description: str | None = None


@dataclass
class Event:
    """A line of an issue's history: labelled, closed, renamed."""

    id: int
    kind: str
    actor: User
    created_at: datetime
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass
class Issue:
    """An issue with its thread."""

    id: int
    number: int
    user: User
    title: str
    body: str | None
    created_at: datetime
    updated_at: datetime
    labels: list[Label] = field(default_factory=list)
    state: Literal["open", "closed"] = "open"
    state_reason: str | None = None
    closed_at: datetime | None = None
    closed_by: User | None = None
    assignees: list[User] = field(default_factory=list)
    locked: bool = False
    lock_reason: str | None = None
    comments: list[Comment] = field(default_factory=list)
    reactions: list[Reaction] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@dataclass
class Delivery:
    """One attempt to hand an event to a hook; a redelivery has the same ``guid``."""

    id: int
    guid: str
    event: str
    action: str | None
    payload: bytes
    request_headers: dict[str, str]
    delivered_at: datetime
    redelivery: bool
    status_code: int = 0
    status: str = "pending"
    duration: float = 0.0
    response_headers: dict[str, str] = field(default_factory=dict)
    response_body: str = ""


@dataclass
class Hook:
    """A repository's webhook."""

    id: int
    url: str
    secret: str | None
    events: list[str]
    created_at: datetime
    updated_at: datetime
    content_type: str = "json"
    insecure_ssl: str = "0"
    active: bool = True
    deliveries: list[Delivery] = field(default_factory=list)


@dataclass
class Status:
    """A status that somebody put on a commit."""

    id: int
    state: str
    context: str
    description: str | None
    target_url: str | None
    creator: User
    created_at: datetime


@dataclass
class Repository:
    """A repository with everything that belongs to it."""

    id: int
    owner: User
    name: str
    private: bool
    created_at: datetime
    pushed_at: datetime
    default_branch: str = "main"
    collaborators: dict[str, Role] = field(default_factory=dict)
    installations: dict[int, int] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    hooks: dict[int, Hook] = field(default_factory=dict)
    objects: Objects = field(default_factory=Objects)
    refs: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, list[Status]] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """``owner/name``."""
        return f"{self.owner.login}/{self.name}"

    def role(self, user: User | None) -> Role:
        """What an account may do here; everybody may read a public repository."""
        least: Role = "none" if self.private else "read"
        if user is None:
            return least
        if user.app is not None:
            return "write" if user.app in self.installations else least
        if user is self.owner:
            return "admin"
        return max(least, self.collaborators.get(user.login.lower(), "none"), key=ROLES.index)

    def comment(self, comment_id: int) -> tuple[Issue, Comment] | None:
        """A comment with its issue."""
        found = ((i, c) for i in self.issues.values() for c in i.comments if c.id == comment_id)
        return next(found, None)

    def head(self, branch: str | None = None) -> str | None:
        """The commit that a branch points at."""
        return self.refs.get(f"refs/heads/{branch or self.default_branch}")


@dataclass(frozen=True)
class App:
    """A GitHub App: its id, its private key for clients, and the account it acts as."""

    id: int
    slug: str
    private_key: str
    public_key: str
    user: User
    installation: int


@dataclass
class Token:
    """What a request may carry instead of a password."""

    user: User
    expires_at: datetime | None = None


@dataclass
class Budget:
    """Requests that an account has left until ``reset``."""

    limit: int
    remaining: int
    reset: datetime


@dataclass
class World:
    """All state of one stand-in."""

    clock: Clock
    api_url: str = ""
    html_url: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)
    users: dict[str, User] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    repositories: dict[str, Repository] = field(default_factory=dict)
    apps: dict[int, App] = field(default_factory=dict)
    budgets: dict[str, Budget] = field(default_factory=dict)
    writes: dict[str, list[datetime]] = field(default_factory=dict)
    writes_per_minute: int | None = None
    deliver: Callable[[Repository, Hook, Delivery], None] = lambda _repository, _hook, _delivery: None
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1001))

    def now(self) -> datetime:
        """The time, to the second, as GitHub keeps it."""
        return self.clock().astimezone(UTC).replace(microsecond=0)

    def next_id(self) -> int:
        """An id that nothing else has."""
        return next(self._ids)

    def add_user(self, login: str, kind: Literal["User", "Bot", "Organization"] = "User", app: int | None = None) -> User:
        """The account of that login, made where there is none yet."""
        with self.lock:
            user = self.users.get(login.lower())
            if user is None:
                user = self.users[login.lower()] = User(self.next_id(), login, kind, self.now(), app)
            return user

    def add_token(self, user: User, prefix: str = "ghp", expires_at: datetime | None = None, token: str | None = None) -> str:
        """A new token of an account, ``token`` or one that cannot be guessed."""
        with self.lock:
            token = token or f"{prefix}_{secrets.token_hex(18)}"
            self.tokens[token] = Token(user, expires_at)
            return token

    def add_repository(self, full_name: str, private: bool) -> Repository:
        """An empty repository; its owner is an organisation."""
        with self.lock:
            owner, _, name = full_name.partition("/")
            user = self.add_user(owner, "Organization")
            made = Repository(self.next_id(), user, name, private, self.now(), self.now())
            self.repositories[full_name.lower()] = made
            return made
