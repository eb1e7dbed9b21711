"""Servers on this machine as their tests meet them: a free port, one request and its answer, waiting for what is to come.

Which server it is, and how it is started and ended, is with its own tests.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

FoundT = TypeVar("FoundT")


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    """By their names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> Any:
        """The first thing that a refusal names."""
        return self.json["error"]["problems"][0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any) -> Reply:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request(method, path, body, headers or {}, **options)
        reply = connection.getresponse()
        return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
    finally:
        connection.close()


def wait_healthy(port: int, path: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server that is being started answers ``path`` with 200."""
    deadline = time.monotonic() + 15
    while True:
        try:
            if ask(port, "GET", path).status == 200:
                return
        except OSError:
            pass
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def until(what: str, found: Callable[[], FoundT | None], log: Path, seconds: float = 60.0) -> FoundT:
    """Wait for something to be found; the end of ``log`` says why it was not."""
    latest = time.monotonic() + seconds
    while time.monotonic() < latest:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {seconds:g} s:\n{log.read_text()[-6000:]}")
