"""What goes wrong on purpose at the stand-in, and what tests can hold on to while it does."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.standins.github import GitHubStandIn, ManualClock, Request
from tests.standins.github.state import User
from tests.unit.standins.conftest import Ask


@pytest.fixture
def number(github: GitHubStandIn) -> int:
    return github.open_issue("requester", "t", "b")


def _comment(ask: Ask, number: int) -> httpx.Response:
    return ask("maintainer", "POST", f"/issues/{number}/comments", json={"body": "text"})


def test_a_write_can_succeed_although_the_answer_is_an_error(github: GitHubStandIn, ask: Ask, number: int) -> None:
    github.fail("lost", "POST", "/comments$")
    assert _comment(ask, number).status_code == 500
    assert len(github.comments(number)) == 1
    github.fail("lost-close", "POST", "/comments$")
    with pytest.raises(httpx.RemoteProtocolError):
        _comment(ask, number)
    assert len(github.comments(number)) == 2


def test_a_refused_or_cut_off_write_did_not_happen(github: GitHubStandIn, ask: Ask, number: int) -> None:
    for what in (500, 502, 503, 403, 429):
        github.fail(what, "POST")
        assert _comment(ask, number).status_code == what
    github.fail("close", "POST")
    with pytest.raises(httpx.RemoteProtocolError):
        _comment(ask, number)
    assert github.comments(number) == []
    assert _comment(ask, number).status_code == 201


def test_a_fault_hits_only_what_matches_and_only_so_often(github: GitHubStandIn, ask: Ask, number: int) -> None:
    github.fail(500, "POST|PATCH", r"/issues/\d+/comments$", times=2)
    assert ask("maintainer", "GET", f"/issues/{number}/comments").status_code == 200
    assert [_comment(ask, number).status_code for _ in range(3)] == [500, 500, 201]
    github.fail(500)
    github.clear_faults()
    assert _comment(ask, number).status_code == 201
    with pytest.raises(ValueError, match="no such fault"):
        github.fail("explode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="regular expression"):
        github.fail(500, path="(")


def test_rate_limits_are_told_as_documented(github: GitHubStandIn, clock: ManualClock, ask: Ask, number: int) -> None:
    github.fail("primary", seconds=30)
    primary = ask("maintainer", "GET", f"/issues/{number}")
    assert primary.status_code == 403
    assert primary.headers["x-ratelimit-remaining"] == "0"
    assert int(primary.headers["x-ratelimit-reset"]) == int(clock.now.timestamp()) + 30
    assert "rate limit exceeded" in primary.json()["message"]
    for what, status in (("secondary", 403), ("secondary-429", 429)):
        github.fail(what, seconds=7)  # type: ignore[arg-type]
        answer = ask("maintainer", "GET", f"/issues/{number}")
        assert (answer.status_code, answer.headers["Retry-After"]) == (status, "7")
        assert "secondary rate limit" in answer.json()["message"]


def test_an_exhausted_account_waits_for_the_hour(github: GitHubStandIn, clock: ManualClock, ask: Ask, number: int) -> None:
    github.limit("maintainer", 1)
    assert ask("maintainer", "GET", f"/issues/{number}").headers["x-ratelimit-remaining"] == "0"
    refused = ask("maintainer", "GET", f"/issues/{number}")
    assert (refused.status_code, refused.headers["x-ratelimit-remaining"]) == (403, "0")
    assert ask("stranger", "GET", f"/issues/{number}").status_code == 200
    clock.advance(3601)
    assert ask("maintainer", "GET", f"/issues/{number}").headers["x-ratelimit-remaining"] == "4999"


def test_too_many_writes_in_a_minute_are_a_secondary_limit(clock: ManualClock) -> None:
    with GitHubStandIn(clock=clock, writes_per_minute=2) as github:
        number = github.open_issue("requester", "t", "b")
        url, headers = f"{github.url}/repos/acme/models/issues/{number}/comments", {"Authorization": f"token {github.token('a')}"}
        codes = [httpx.post(url, json={"body": "x"}, headers=headers) for _ in range(3)]
        assert [each.status_code for each in codes] == [201, 201, 403]
        clock.advance(int(codes[2].headers["Retry-After"]))
        assert httpx.post(url, json={"body": "x"}, headers=headers).status_code == 201


def test_a_test_can_stand_between_a_write_and_its_answer(github: GitHubStandIn, ask: Ask, number: int) -> None:
    """What kill tests need: the client can be ended while its write waits, or after it was done and before it was answered."""
    seen: list[tuple[str, int]] = []
    go = threading.Event()

    def before(request: Request, _actor: User | None) -> None:
        seen.append((request.path, len(github.comments(number))))

    def after(_request: Request, actor: User | None) -> None:
        seen.append((actor.login if actor else "", len(github.comments(number))))
        go.wait(5)

    end_before, end_after = github.on_write(before), github.on_write(after, "after")
    done = threading.Thread(target=_comment, args=(ask, number))
    done.start()
    while len(seen) < 2:
        time.sleep(0.002)
    assert done.is_alive(), "the answer waits"
    assert len(github.comments(number)) == 1, "others are served meanwhile"
    go.set()
    done.join()
    assert seen == [(f"/repos/acme/models/issues/{number}/comments", 0), ("maintainer", 1)]
    end_before()
    end_after()
    _comment(ask, number)
    assert len(seen) == 2


def test_of_writers_who_saw_the_same_file_one_wins(github: GitHubStandIn, ask: Ask) -> None:
    github.push("maintainer", {"a.md": "0"})
    seen = ask("maintainer", "GET", "/contents/a.md").json()["sha"]
    body = {"message": "m", "content": "MQ==", "sha": seen}
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: ask("maintainer", "PUT", "/contents/a.md", json=body).status_code, range(8)))
    assert sorted(codes) == [200, *[409] * 7]
    assert len(github.commits()) == 2


def test_writers_at_once_lose_nothing(github: GitHubStandIn, ask: Ask, number: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: _comment(ask, number).json()["id"], range(40)))
    assert len(ids) == 40
    assert {comment["id"] for comment in github.comments(number)} == ids
    assert len(github.requests) == 40


def test_an_answer_can_be_late(github: GitHubStandIn, ask: Ask, number: int) -> None:
    github.fail("delay", "GET", seconds=0.2)
    started = time.monotonic()
    assert ask("maintainer", "GET", f"/issues/{number}").status_code == 200
    assert time.monotonic() - started >= 0.2


def test_hostile_requests_are_answered_and_leave_the_server_well(github: GitHubStandIn, ask: Ask, number: int) -> None:
    for body in (b"{", b"[1]", b'"x"', b"\xff\xfe", b'{"body": 5}', b'{"body": null}', b"9" * 5000, b"[" * 100_000):
        answer = ask("maintainer", "POST", f"/issues/{number}/comments", content=body)
        assert answer.status_code in (400, 422), body[:20]
    for path in ("/issues/99999999999999999999", "/issues/1/../../x", "/contents/%2e%2e/a", "/issues?page=-1&per_page=x", "/%00"):
        assert ask("maintainer", "GET", path).status_code in (200, 404)
    assert github.comments(number) == []
    assert ask("maintainer", "GET", f"/issues/{number}").status_code == 200


def test_stopping_ends_connections_that_clients_keep_open() -> None:
    with httpx.Client() as http, GitHubStandIn() as github:
        http.get(f"{github.url}/meta")
        started = time.monotonic()
        github.stop()
        assert time.monotonic() - started < 2
        with pytest.raises(httpx.TransportError):
            http.get(f"{github.url}/meta")
