"""Stand-ins for the tests of the stand-in itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.standins.github import GitHubStandIn, ManualClock

Ask = Callable[..., httpx.Response]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def github(clock: ManualClock) -> Iterator[GitHubStandIn]:
    with GitHubStandIn("acme/models", clock=clock) as running:
        running.add_user("maintainer", "write")
        yield running


@pytest.fixture
def ask(github: GitHubStandIn) -> Iterator[Ask]:
    """``ask(login or None, method, path below the repository, json=…, headers=…)`` over one connection."""
    with httpx.Client(headers={"User-Agent": "test"}) as http:

        def asked(login: str | None, method: str, path: str, **more: object) -> httpx.Response:
            headers = dict(more.pop("headers", {}))  # type: ignore[call-overload]
            if login is not None:
                headers["Authorization"] = f"Bearer {github.token(login)}"
            return http.request(method, f"{github.url}/repos/acme/models{path}", headers=headers, **more)  # type: ignore[arg-type]

        yield asked
