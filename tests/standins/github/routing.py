"""Which function answers which operation, and what such a function is given. Who may do what is asked here; nothing is stored.

Handlers register themselves with ``@operation("GET", "/repos/{owner}/{repo}")``, the path as in GitHub's API description.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from tests.standins.github.exchange import Refused, Request, Response, invalid, not_found
from tests.standins.github.state import ROLES, Repository, Role, User, World

PER_PAGE, PER_PAGE_AT_MOST = 30, 100
Handler = Callable[["Call"], Response]
_NUMERIC = {"issue_number", "comment_id", "reaction_id", "hook_id", "delivery_id", "installation_id"}
#: Parameters that may hold slashes.
_LONG = {"path", "ref", "commit_sha", "tree_sha", "file_sha"}


@dataclass(frozen=True)
class Operation:
    """One operation: method, path as described, its handler."""

    method: str
    path: str
    pattern: re.Pattern[str]
    handler: Handler


OPERATIONS: list[Operation] = []


def operation(method: str, path: str) -> Callable[[Handler], Handler]:
    """Register a handler; the first that matches answers, so the more specific ones are registered first."""

    def part(match: re.Match[str]) -> str:
        name = match.group(1)
        inner = r"\d+" if name in _NUMERIC else ".*" if name == "path" else ".+" if name in _LONG else "[^/]+"
        return f"(?P<{name}>{inner})"

    pattern = re.compile(re.sub(r"\{(\w+)\}", part, path) + "/?")

    def register(handler: Handler) -> Handler:
        OPERATIONS.append(Operation(method, path, pattern, handler))
        return handler

    return register


def find(method: str, path: str) -> tuple[Operation, dict[str, str]]:
    """The operation that answers a request, and its parameters unquoted.

    Raises:
        Refused: 404, there is none.
    """
    for candidate in OPERATIONS:
        match = candidate.pattern.fullmatch(path) if candidate.method == method else None
        if match:
            return candidate, {name: unquote(value) for name, value in match.groupdict().items()}
    raise not_found()


@dataclass
class Call:
    """One request on its way through a handler."""

    world: World
    request: Request
    parameters: dict[str, str]
    actor: User | None
    #: Labels of a new issue are taken as if an issue form of the repository had set them, whoever writes it.
    through_form: bool = False
    _body: dict[str, Any] | None = field(default=None)

    @property
    def now(self) -> datetime:
        """The time of this request."""
        return self.world.now()

    @property
    def body(self) -> dict[str, Any]:
        """The request's JSON object.

        Raises:
            Refused: 400, it is no JSON object.
        """
        if self._body is None:
            content = self.request.json()
            if isinstance(content, list):
                content = {"": content}
            if not isinstance(content, dict):
                raise Refused(400, "Body should be a JSON object")
            self._body = content
        return self._body

    def user(self) -> User:
        """Who asks.

        Raises:
            Refused: 401, nobody in particular.
        """
        if self.actor is None:
            raise Refused(401, "Requires authentication")
        return self.actor

    def repository(self, need: Role = "read", message: str | None = None) -> Repository:
        """The repository of the path, if the actor's role there is at least ``need``.

        Raises:
            Refused: 404 where it may not be seen, 401 without a token, else 403, or 404 where ``message`` is empty.
        """
        name = f"{self.parameters['owner']}/{self.parameters['repo']}".lower()
        found = self.world.repositories.get(name)
        if found is None or not allows(found.role(self.actor), "read"):
            raise not_found()
        if not allows(found.role(self.actor), need):
            self.user()
            if message == "":
                raise not_found()
            raise Refused(403, message or refusal(self.actor))
        return found

    def text(self, resource: str, name: str, *, required: bool = False, longest: int = 65536) -> str | None:
        """A text of the body.

        Raises:
            Refused: 422, it is missing, blank where it must not be, no text or too long.
        """
        value = self.body.get(name)
        if value is None or (required and not str(value).strip()):
            if required:
                raise invalid(resource, name, "missing_field" if value is None else "missing")
            return None
        if not isinstance(value, str):
            raise Refused(422, f"Invalid request.\n\nFor 'properties/{name}', {value!r} is not a string.")
        if len(value) > longest:
            raise invalid(resource, name, "custom", f"{name} is too long (maximum is {longest} characters)")
        return value


def allows(role: Role, need: Role) -> bool:
    """Whether a role includes another."""
    return ROLES.index(role) >= ROLES.index(need)


def refusal(actor: User | None) -> str:
    """What GitHub tells somebody who may see but not change."""
    if actor is not None and actor.app is not None:
        return "Resource not accessible by integration"
    return "Must have admin rights to Repository."


def choice(call: Call, name: str, allowed: Sequence[str], default: str) -> str:
    """A query parameter of few values.

    Raises:
        Refused: 422, another value.
    """
    value = call.request.parameter(name) or default
    if value not in allowed:
        raise invalid("Issue", name, "invalid")
    return value


def since(call: Call) -> datetime | None:
    """The query parameter ``since``; GitHub takes it as *at or after*.

    Raises:
        Refused: 422, it is not a time.
    """
    value = call.request.parameter("since")
    if not value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise invalid("Issue", "since", "invalid") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def page(
    call: Call, items: Sequence[Any], shape: Callable[[Any], Any], wrap: Callable[[list[Any]], Any] | None = None
) -> Response:
    """One page of a list, with a Link header where there is more than one page.

    Source: https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
    """
    size = min(max(_number(call, "per_page", PER_PAGE), 1), PER_PAGE_AT_MOST)
    last = max(1, -(-len(items) // size))
    number = max(_number(call, "page", 1), 1)
    shown = [shape(item) for item in items[(number - 1) * size : number * size]]
    links = {"prev": number - 1, "next": number + 1, "last": last, "first": 1}
    if number >= last:
        del links["next"], links["last"]
    if number == 1:
        del links["prev"], links["first"]
    written = ", ".join(f'<{_address(call, to)}>; rel="{name}"' for name, to in links.items())
    return Response(200, wrap(shown) if wrap else shown, {"Link": written} if written else {})


def _address(call: Call, number: int) -> str:
    query = [(name, value) for name, value in parse_qsl(call.request.query, keep_blank_values=True) if name != "page"]
    return f"{call.world.api_url}{call.request.path}?{urlencode([*query, ('page', str(number))])}"


def _number(call: Call, name: str, default: int) -> int:
    value = call.request.parameter(name)
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else default
