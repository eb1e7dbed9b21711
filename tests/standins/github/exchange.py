"""One request and one answer, and the errors that GitHub documents; no state of the stand-in and no socket here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

DOCUMENTATION = "https://docs.github.com/rest"


@dataclass(frozen=True)
class Request:
    """What a client sent. ``path`` has no prefix and is still percent-encoded; header names are lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def conditional(self) -> bool:
        """Whether the client would be content with a 304."""
        return "if-none-match" in self.headers

    @property
    def writes(self) -> bool:
        """Whether the method is one that may change something."""
        return self.method not in {"GET", "HEAD"}

    def parameter(self, name: str, default: str = "") -> str:
        """The last value of a query parameter."""
        return parse_qs(self.query, keep_blank_values=True).get(name, [default])[-1]

    def json(self) -> Any:
        """The body as JSON; an empty body is an empty object.

        Raises:
            Refused: 400, the body is not JSON.
        """
        if not self.body.strip():
            return {}
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Refused(400, "Problems parsing JSON") from None


@dataclass(frozen=True)
class Response:
    """What the stand-in answers. ``content`` is the JSON value; None is an empty body, unless there are bytes in ``raw``."""

    status: int = 200
    content: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None

    @cached_property
    def body(self) -> bytes:
        """The bytes that are sent."""
        if self.raw is not None:
            return self.raw
        return b"" if self.content is None else json.dumps(self.content, ensure_ascii=False, separators=(",", ":")).encode()


class Refused(Exception):
    """An answer other than success, with the body that GitHub documents for it."""

    def __init__(
        self, status: int, message: str, errors: list[dict[str, Any]] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        content: dict[str, Any] = {"message": message}
        if errors is not None:
            content["errors"] = errors
        content |= {"documentation_url": DOCUMENTATION, "status": str(status)}
        self.response = Response(status, content, headers or {})


def not_found() -> Refused:
    """404, also for what exists but may not be seen."""
    return Refused(404, "Not Found")


def invalid(resource: str, name: str, code: str, message: str | None = None) -> Refused:
    """422 in GitHub's form: which field of which resource, and why."""
    error = {"resource": resource, "code": code, "field": name} | ({"message": message} if message else {})
    return Refused(422, "Validation Failed", [error])


@dataclass(frozen=True)
class RequestRecord:
    """One line of the request log: what tests count. ``sent`` is the request's body; whose token it was is in ``actor`` only."""

    method: str
    path: str
    query: str
    status: int
    conditional: bool
    actor: str | None
    at: datetime
    seconds: float
    agent: str = ""
    sent: str = ""

    @property
    def not_modified(self) -> bool:
        """Whether this request cost nothing of the rate limit."""
        return self.status == 304


@dataclass(frozen=True)
class Exchange:
    """One whole request with its answer as they went over the wire; status 0 where there was no answer."""

    request: Request
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def from_log(cls, line: Mapping[str, Any]) -> Exchange:
        """The request half of an exchange, from a line of another process's request log (its JSON)."""
        request = Request(line["method"], line["path"], line["query"], {"user-agent": line["agent"]}, line["sent"].encode())
        return cls(request, line["status"])
