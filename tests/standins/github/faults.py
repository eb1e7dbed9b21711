"""What goes wrong on purpose: the next requests of a kind are refused, delayed, cut off, or done but answered with an error."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from tests.standins.github.exchange import Refused, Request, Response
from tests.standins.github.state import World

#: A status is answered instead of the operation. ``primary`` and ``secondary`` are rate limits as GitHub tells them.
#: ``close``: the connection ends before anything is done. ``delay``: answered late. ``lost``: done, but answered with 500.
#: ``lost-close``: done, but the connection ends without an answer.
Kind = Literal["primary", "secondary", "secondary-429", "close", "delay", "lost", "lost-close"]
KINDS = ("primary", "secondary", "secondary-429", "close", "delay", "lost", "lost-close")
_MESSAGES = {500: "Server Error", 502: "Server Error", 503: "Service unavailable", 504: "Gateway Timeout"}


@dataclass
class Fault:
    """Something that will go wrong ``times`` times for requests whose method and path match."""

    what: int | Kind
    method: str = ""
    path: str = ""
    times: int = 1
    seconds: float = 60.0

    def matches(self, request: Request) -> bool:
        """Whether this request is meant; ``path`` is searched in the path with its query."""
        whole = f"{request.path}?{request.query}" if request.query else request.path
        return bool(re.fullmatch(self.method or ".*", request.method) and re.search(self.path, whole))


class Dropped(Exception):
    """The connection is to be closed without an answer."""


@dataclass
class Faults:
    """Faults that are still to come, first in first out."""

    waiting: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> Fault:
        """Something more that is to go wrong.

        Raises:
            ValueError: there is no such fault, or its method or path is no regular expression.
        """
        if not (fault.what in KINDS or (isinstance(fault.what, int) and 400 <= fault.what <= 599)):
            raise ValueError(f"no such fault: {fault.what}; a status from 400 to 599, or one of {', '.join(KINDS)}")
        if not isinstance(fault.times, int) or fault.times < 1 or not 0 <= fault.seconds <= 86400:
            raise ValueError("times is 1 or more, seconds from 0 to 86400")
        for name, pattern in (("method", fault.method), ("path", fault.path)):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{name} is no regular expression: {error}") from None
        with self._lock:
            self.waiting.append(fault)
        return fault

    def take(self, request: Request) -> Fault | None:
        """The fault that hits this request, if any; it is used up."""
        with self._lock:
            for fault in self.waiting:
                if fault.matches(request):
                    fault.times -= 1
                    if fault.times <= 0:
                        self.waiting.remove(fault)
                    return fault
        return None


def refusal(world: World, fault: Fault) -> Response:
    """The answer of a fault that refuses."""
    wait = str(max(1, int(fault.seconds)))
    if fault.what == "primary":
        reset = world.now() + timedelta(seconds=fault.seconds)
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-used": "5000", "x-ratelimit-reset": str(int(reset.timestamp()))}
        return Refused(403, "API rate limit exceeded for user.", headers=headers).response
    if fault.what in ("secondary", "secondary-429", 429):
        text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        return Refused(403 if fault.what == "secondary" else 429, text, headers={"Retry-After": wait}).response
    status = fault.what if isinstance(fault.what, int) else 500
    return Refused(status, _MESSAGES.get(status, "Resource not accessible by personal access token")).response
