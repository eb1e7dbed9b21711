"""What the tests of the GitHub doors share: a stand-in whose every exchange is held to GitHub's API description, an account
on it, time that passes only when somebody waits, and a server that answers what it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from resources.github_client import GitHubClient
from resources.github_tracker import GitHubTracker
from resources.settings import Settings
from tests.conftest import API_DESCRIPTION
from tests.standins.github import GitHubStandIn
from tests.standins.github.contract import Contract, Recorder

REPOSITORY = "acme/models"


@cache
def api_description() -> Contract | None:
    """GitHub's own description, where the real data is at hand."""
    return Contract(API_DESCRIPTION) if API_DESCRIPTION.is_file() else None


@contextmanager
def standin(**options: Any) -> Iterator[GitHubStandIn]:
    """A stand-in; at its end, every exchange with it must have been as GitHub describes it."""
    with GitHubStandIn(repository=REPOSITORY, **options) as github:
        contract = api_description()
        recorder = Recorder(contract) if contract is not None else None
        if recorder is not None:
            github.observe(recorder)
        yield github
    if recorder is not None:
        assert recorder.problems() == []


class Waiting:
    """A clock that begins now and passes only by sleeping; remembers every sleep."""

    def __init__(self) -> None:
        self.now = time.time()
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


def settings_of(github: GitHubStandIn, login: str = "platform", permission: str = "write") -> Settings:
    github.add_user(login, permission=permission)  # type: ignore[arg-type]
    return Settings(tracker="github", github_repository=REPOSITORY, github_api_url=github.url, github_token=github.token(login))


def client_of(github: GitHubStandIn, login: str = "platform", waiting: Waiting | None = None) -> GitHubClient:
    waiting = waiting or Waiting()
    return GitHubClient(settings_of(github, login), clock=waiting, sleep=waiting.sleep)


def tracker_of(github: GitHubStandIn, login: str = "platform", waiting: Waiting | None = None) -> GitHubTracker:
    waiting = waiting or Waiting()
    return GitHubTracker(client_of(github, login, waiting), clock=waiting)


def sent(github: GitHubStandIn) -> list[tuple[str, str, int]]:
    """Requests since they were last cleared, without the one that asks who we are."""
    return [(r.method, r.path, r.status) for r in github.requests if r.path != "/user"]


def writes(github: GitHubStandIn) -> list[tuple[str, str]]:
    return [(method, path) for method, path, _ in sent(github) if method != "GET"]


@dataclass
class Canned:
    """A server that gives the same answer to everything, and remembers what it was sent."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    url: str = ""
    got: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def canned(status: int = 200, body: bytes = b"{}", **headers: str) -> Iterator[Canned]:
    answer = Canned(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answer.got.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self.answer
            raise AttributeError(name)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    answer.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield answer
    finally:
        server.shutdown()
        server.server_close()
