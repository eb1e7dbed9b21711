"""The Python interface of the stand-in: what tests do as people, and what they look at afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from tests.standins.github import control, pages, shapes
from tests.standins.github import faults as going_wrong
from tests.standins.github.accounts import budget
from tests.standins.github.apps import new_app
from tests.standins.github.commits import commit_files, signature
from tests.standins.github.deliveries import Courier
from tests.standins.github.exchange import Exchange, Request, RequestRecord, Response
from tests.standins.github.faults import Fault, Faults
from tests.standins.github.objects import Commit, Entry
from tests.standins.github.routing import Call
from tests.standins.github.server import Api, Server, Watcher
from tests.standins.github.state import ROLES, App, Clock, Delivery, Hook, Role, User, World

Json = dict[str, Any]


def _now() -> datetime:
    return datetime.now(UTC)


class GitHubStandIn:
    """A GitHub with one repository, on a free port of loopback."""

    #: Told of every exchange with every stand-in of this process from its start on; see ``observe`` for one.
    watchers: ClassVar[list[Callable[[Exchange], None]]] = []

    def __init__(
        self,
        repository: str = "acme/models",
        *,
        private: bool = False,
        clock: Clock = _now,
        prefix: str = "/api/v3",
        host: str = "127.0.0.1",
        port: int = 0,
        writes_per_minute: int | None = None,
    ) -> None:
        self.world = World(clock, writes_per_minute=writes_per_minute)
        self.repository = repository
        self._faults = Faults()
        self._api = Api(self.world, self._faults)
        self._server = Server(self._api, prefix, host, port)
        self.html_url = f"http://{host}:{self._server.server_port}"
        self.url = self.html_url + prefix
        self.world.api_url, self.world.html_url = self.url, self.html_url
        self._courier = Courier(self.world)
        self.world.deliver = self._courier.put
        self._api.view = self._view
        self._repository = self.world.add_repository(repository, private)
        self._path = f"/repos/{self._repository.full_name}"
        self._tokens: dict[str, str] = {}
        for watcher in self.watchers:
            self.observe(watcher)

    def __enter__(self) -> GitHubStandIn:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port and every connection; what it remembers can still be looked at. Stopping twice is once."""
        self._server.stop()
        self._courier.stop()

    def _view(self, request: Request) -> Response | None:
        return control.answer(self, request) or pages.answer(self.world, request)

    # accounts

    def add_user(self, login: str, permission: Role = "read", bot: bool = False, token: str | None = None) -> str:
        """An account with a role in the repository, or another role for one that is there; returns its token.

        ``token`` is one to be typed by hand; otherwise it cannot be guessed.
        """
        if permission not in ROLES:
            raise ValueError(f"no such permission: {permission}; one of {', '.join(ROLES)}")
        with self.world.lock:
            user = self.world.add_user(login, "Bot" if bot else "User")
            if token is not None:
                self._tokens[login] = self.world.add_token(user, token=token)
            if permission in ("none", "read") and not self._repository.private:
                self._repository.collaborators.pop(login.lower(), None)
            else:
                self._repository.collaborators[login.lower()] = permission
        return self.token(login)

    def token(self, login: str) -> str:
        """The token of an account; a new account with no role of its own where there is none."""
        if login not in self._tokens:
            self._tokens[login] = self.world.add_token(self.world.add_user(login))
        return self._tokens[login]

    def add_app(self, slug: str = "mlops") -> App:
        """A GitHub App on the repository: ``id``, ``private_key`` (PEM) and ``installation``; acts as ``slug[bot]``."""
        return new_app(self.world, self._repository, slug)

    # what people do: the same operations as over HTTP, without faults, limits and log

    def do(self, author: str, method: str, path: str, body: Any = None, *, through_form: bool = False) -> Any:
        """Perform one operation as an account; the answer's JSON.

        Raises:
            Refused: as GitHub would.
        """
        self.token(author)
        address, _, query = path.partition("?")
        raw = b"" if body is None else json.dumps(body).encode()
        request = Request(method, address, query, {"user-agent": "standin"}, raw)
        return self._api.perform(request, self.world.users[author.lower()], through_form).content

    def open_issue(self, author: str, title: str, body: str, labels: Sequence[str] = ()) -> int:
        """Open an issue as somebody; its number. Labels are set as an issue form sets them, whoever writes."""
        content = {"title": title, "body": body, "labels": list(labels)}
        return int(self.do(author, "POST", f"{self._path}/issues", content, through_form=True)["number"])

    def edit_issue(self, number: int, author: str, **changes: Any) -> Json:
        """Change title, body, state or labels of an issue."""
        return dict(self.do(author, "PATCH", f"{self._path}/issues/{number}", changes))

    def close_issue(self, number: int, author: str, reason: str = "completed") -> Json:
        """Close an issue."""
        return self.edit_issue(number, author, state="closed", state_reason=reason)

    def reopen_issue(self, number: int, author: str) -> Json:
        """Open an issue again."""
        return self.edit_issue(number, author, state="open")

    def label(self, number: int, author: str, *names: str) -> None:
        """Put labels on an issue."""
        self.do(author, "POST", f"{self._path}/issues/{number}/labels", {"labels": list(names)})

    def unlabel(self, number: int, author: str, name: str) -> None:
        """Take a label off an issue."""
        self.do(author, "DELETE", f"{self._path}/issues/{number}/labels/{quote(name, safe='')}")

    def comment(self, number: int, author: str, body: str) -> int:
        """Comment on an issue; the comment's id."""
        return int(self.do(author, "POST", f"{self._path}/issues/{number}/comments", {"body": body})["id"])

    def edit_comment(self, comment_id: int, author: str, body: str) -> Json:
        """Replace the text of a comment."""
        return dict(self.do(author, "PATCH", f"{self._path}/issues/comments/{comment_id}", {"body": body}))

    def delete_comment(self, comment_id: int, author: str) -> None:
        """Remove a comment."""
        self.do(author, "DELETE", f"{self._path}/issues/comments/{comment_id}")

    def react(self, comment_id: int, author: str, content: str = "+1") -> int:
        """React to a comment; the reaction's id."""
        return int(self.do(author, "POST", f"{self._path}/issues/comments/{comment_id}/reactions", {"content": content})["id"])

    def unreact(self, comment_id: int, author: str, content: str = "+1") -> None:
        """Take one's reaction back; nothing happens where there is none."""
        path = f"{self._path}/issues/comments/{comment_id}/reactions"
        for reaction in self.do(author, "GET", f"{path}?per_page=100"):
            if (reaction["user"]["login"].lower(), reaction["content"]) == (author.lower(), content):
                self.do(author, "DELETE", f"{path}/{reaction['id']}")

    def push(self, author: str, files: Mapping[str, str | bytes | None], message: str = "change", branch: str = "main") -> str:
        """Commit files as somebody (None removes one); the commit's SHA."""
        self.token(author)
        with self.world.lock:
            user, repository = self.world.users[author.lower()], self._repository
            call = Call(self.world, Request("POST", self._path), {}, user)
            changes: dict[str, Entry | None] = {}
            for path, content in files.items():
                raw = content.encode() if isinstance(content, str) else content
                changes[path] = None if raw is None else Entry("100644", "", repository.objects.put_blob(raw))
            who = signature(call, None, user)
            return commit_files(call, repository, branch, changes, message, who, who).sha

    def add_hook(self, url: str, secret: str | None = None, events: Sequence[str] = ("issues", "issue_comment", "push")) -> int:
        """A webhook of the repository; its id. A ping is sent."""
        config = {"url": url, "content_type": "json"} | ({"secret": secret} if secret else {})
        owner = self._repository.owner.login
        content = {"name": "web", "config": config, "events": list(events), "active": True}
        return int(self.do(owner, "POST", f"{self._path}/hooks", content)["id"])

    def redeliver(self, delivery: Delivery) -> None:
        """Send a delivery again under the same id."""
        hook = next(hook for hook in self._repository.hooks.values() if delivery in hook.deliveries)
        owner = self._repository.owner.login
        self.do(owner, "POST", f"{self._path}/hooks/{hook.id}/deliveries/{delivery.id}/attempts")

    # what there is to see

    def issue(self, number: int) -> Json:
        """An issue as its JSON."""
        with self.world.lock:
            return shapes.issue(self.world, self._repository, self._repository.issues[number], single=True)

    def issues(self) -> list[Json]:
        """Every issue, in ascending number."""
        return [self.issue(number) for number in sorted(self._repository.issues)]

    def labels(self, number: int) -> set[str]:
        """Names of an issue's labels."""
        return {label.name for label in self._repository.issues[number].labels}

    def comments(self, number: int) -> list[Json]:
        """Comments of an issue as their JSON, oldest first."""
        issue = self._repository.issues[number]
        with self.world.lock:
            return [shapes.comment(self.world, self._repository, issue, comment) for comment in issue.comments]

    def reactions(self, comment_id: int) -> list[tuple[str, str]]:
        """Who reacted to a comment with what."""
        found = self._repository.comment(comment_id)
        return [] if found is None else [(each.user.login, each.content) for each in found[1].reactions]

    def files(self, path: str = "", branch: str = "main") -> dict[str, bytes]:
        """Files below a path of a branch with their bytes."""
        head, objects = self._repository.head(branch), self._repository.objects
        found = objects.walk(objects.commits[head].tree) if head else {}
        below = path.rstrip("/")
        wanted = {name: entry for name, entry in found.items() if not below or name == below or name.startswith(f"{below}/")}
        return {name: objects.blob(entry.sha) or b"" for name, entry in wanted.items()}

    def commits(self, branch: str = "main") -> list[Commit]:
        """Commits of a branch, newest first."""
        return self._repository.objects.history(self._repository.head(branch))

    @property
    def hooks(self) -> list[Hook]:
        """The repository's webhooks."""
        return list(self._repository.hooks.values())

    @property
    def deliveries(self) -> list[Delivery]:
        """Every delivery of every hook, oldest first."""
        return sorted((each for hook in self.hooks for each in hook.deliveries), key=lambda each: each.id)

    def wait_for_deliveries(self, seconds: float = 10.0) -> bool:
        """Wait until every event has reached its hook; False if it takes longer."""
        return self._courier.drain(seconds)

    # requests from outside, and what goes wrong with them

    @property
    def requests(self) -> list[RequestRecord]:
        """Requests that came over HTTP, oldest first; what the Python interface does is not among them."""
        return list(self._api.log)

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        self._api.log.clear()

    def observe(self, observer: Callable[[Exchange], None]) -> None:
        """Call ``observer`` with every whole exchange over HTTP from now on."""
        self._api.observers.append(observer)

    def fail(
        self, what: int | going_wrong.Kind, method: str = "", path: str = "", times: int = 1, seconds: float = 60.0
    ) -> Fault:
        """Let the next ``times`` requests whose method and path (regular expressions) match go wrong.

        ``seconds``: of a delay, until a primary limit resets, or in ``Retry-After``. Kinds: see ``faults``.
        """
        return self._faults.add(Fault(what, method, path, times, seconds))

    @property
    def faults(self) -> list[Fault]:
        """What is still to go wrong."""
        return list(self._faults.waiting)

    def clear_faults(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.waiting.clear()

    def on_write(self, watch: Watcher, when: Literal["before", "after"] = "before") -> Callable[[], None]:
        """Call ``watch(request, actor)`` in the server before or after each write; it may wait. Returns how to end that."""
        watchers = self._api.before_write if when == "before" else self._api.after_write
        watchers.append(watch)
        return lambda: watchers.remove(watch)

    def limit(self, login: str, remaining: int) -> None:
        """How many requests an account has left in this hour."""
        with self.world.lock:
            budget(self.world, self.world.add_user(login)).remaining = remaining

    def account(self, login: str) -> User:
        """An account as it is kept."""
        return self.world.users[login.lower()]
