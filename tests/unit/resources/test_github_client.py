"""The connection to GitHub: limits waited out within a bound, only safe repetitions, and a token that goes nowhere else."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from mlops_assets.errors import MlopsError, RateLimited, Unavailable, UserError
from resources import github_access
from resources.github_client import PATIENCE_SECONDS, GitHubClient, OutcomeUnknown, Refused, rate_limit_wait
from resources.platform import Platform
from resources.settings import Settings
from tests.standins.github import GitHubStandIn
from tests.standins.github.contract import Recorder
from tests.unit.resources.on_github import REPOSITORY, Waiting, api_description, canned, client_of, sent, settings_of

TOKEN = "ghp_notarealtoken0123456789"
COMPLETE = {"github_repository": REPOSITORY, "github_token": TOKEN}
BROKEN_KEY = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def client(github: GitHubStandIn, waiting: Waiting) -> GitHubClient:
    return client_of(github, waiting=waiting)


def at(url: str, waiting: Waiting | None = None) -> GitHubClient:
    waiting = waiting or Waiting()
    settings = Settings(tracker="github", github_repository=REPOSITORY, github_api_url=url, github_token=TOKEN)
    return GitHubClient(settings, clock=waiting, sleep=waiting.sleep)


# --- repetitions


@pytest.mark.parametrize("fault", [500, 502, 503, 504, "close"])
def test_reading_is_repeated_after_a_failure(github, client, waiting, fault):
    github.fail(fault, "GET", times=2)
    assert client.get("issues").content == []
    assert len(sent(github)) == 3
    assert waiting.sleeps == [0.5, 1.0]


def test_reading_is_given_up_within_our_patience_and_not_tried_again_at_once(github, client, waiting):
    github.fail(503, times=99)
    with pytest.raises(Unavailable, match="issues failed 5 times"):
        client.get("issues")
    assert len(sent(github)) == 5
    assert sum(waiting.sleeps) <= PATIENCE_SECONDS
    with pytest.raises(Unavailable, match="asked again"):
        client.get("issues")
    assert len(sent(github)) == 5, "it failed without a request"
    github.clear_faults()
    waiting.now += 60
    assert client.get("issues").content == []


@pytest.mark.parametrize("fault", [500, 502, "close", "lost", "lost-close"])
def test_a_change_that_must_happen_once_is_never_sent_twice(github, client, fault):
    number = github.open_issue("requester", "t", "b")
    github.fail(fault, "POST")
    with pytest.raises(OutcomeUnknown):
        client.write("POST", f"issues/{number}/comments", {"body": "x"}, repeatable=False)
    assert len([r for r in sent(github) if r[0] == "POST"]) == 1


def test_a_change_that_may_be_repeated_is(github, client):
    number = github.open_issue("requester", "t", "b")
    github.fail("lost", "POST", "labels", times=2)
    client.write("POST", f"issues/{number}/labels", {"labels": ["x"]}, repeatable=True)
    assert github.labels(number) == {"x"}


def test_a_silent_server_is_not_waited_for_for_ever(github, client, monkeypatch):
    monkeypatch.setattr(github_access, "TIMEOUT_SECONDS", 1)
    number = github.open_issue("requester", "t", "b")
    github.fail("delay", "POST", seconds=5)
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="no answer"):
        client.write("POST", f"issues/{number}/comments", {"body": "x"}, repeatable=False)
    assert time.monotonic() - started < 4


def test_tries_that_each_last_long_are_not_repeated_for_ever(github, client, waiting):
    def slow(_request, _actor) -> None:
        waiting.now += 15

    github.on_write(slow)
    github.fail("lost", "PUT", times=99)
    with pytest.raises(Unavailable, match="failed 2 times"):
        client.write("PUT", "contents/a.txt", {"message": "m", "content": "eA=="}, repeatable=True)


# --- limits


@pytest.mark.parametrize("limit", ["primary", "secondary", "secondary-429"])
def test_a_short_limit_is_waited_out_also_by_a_change(github, client, waiting, limit):
    number = github.open_issue("requester", "t", "b")
    github.fail(limit, "POST", seconds=5)
    client.write("POST", f"issues/{number}/comments", {"body": "x"}, repeatable=False)
    assert len(github.comments(number)) == 1
    assert sum(waiting.sleeps) == pytest.approx(5, abs=2)


@pytest.mark.parametrize("limit", ["primary", "secondary", "secondary-429"])
def test_a_long_limit_is_told_at_once_and_remembered_without_a_request(github, client, waiting, limit):
    github.fail(limit, seconds=600)
    with pytest.raises(RateLimited) as told:
        client.get("issues")
    assert told.value.retry_at.timestamp() == pytest.approx(waiting.now + 600, abs=3)
    for _ in range(3):
        with pytest.raises(RateLimited):
            client.get("issues")
    assert len(sent(github)) == 1
    assert waiting.sleeps == []
    waiting.now = told.value.retry_at.timestamp()
    assert client.get("issues").content == []


def test_limits_that_follow_each_other_end_the_patience_of_a_tick(github, client, waiting):
    github.fail("secondary", times=99, seconds=1)
    with pytest.raises(RateLimited):
        client.get("issues")
    assert 0 < sum(waiting.sleeps) <= PATIENCE_SECONDS
    assert len(sent(github)) < 8, "each wait is longer than the one before"


def test_the_budget_of_the_account_is_a_limit_too(github, client, waiting):
    client.get("issues")
    github.limit("platform", 0)
    with pytest.raises(RateLimited) as told:
        client.get("issues")
    assert 3000 < told.value.retry_at.timestamp() - waiting.now < 3700


@pytest.mark.parametrize(
    ("status", "headers", "text", "wait"),
    [
        (403, {}, '{"message": "Resource not accessible by integration"}', None),
        (404, {"retry-after": "9"}, "", None),
        (403, {"retry-after": "9"}, "", 9.0),
        (403, {"retry-after": "9" * 40}, "", 3700.0),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 40}, "", 3700.0),
        (429, {}, "", 60.0),
        (403, {}, '{"message": "You have exceeded a secondary rate limit."}', 60.0),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1030"}, "", 31.0),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "10"}, "", 1.0),
        (403, {"x-ratelimit-remaining": "5", "x-ratelimit-reset": "1030"}, "", None),
        (403, {"retry-after": "soon", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "²"}, "", None),
        (200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1030"}, "", None),
    ],
)
def test_what_counts_as_a_limit(status, headers, text, wait):
    assert rate_limit_wait(status, headers, text, 1000.0) == wait


# --- refusals


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "MLOPS_GITHUB_TOKEN"), (403, "issues: write"), (404, "MLOPS_GITHUB_REPOSITORY"), (410, "deleted"), (422, "422")],
)
def test_a_refusal_says_what_to_do(github, client, status, said):
    github.fail(status)
    with pytest.raises(Refused, match=said) as told:
        client.get("issues/1" if status == 410 else "issues")
    assert told.value.status == status
    assert len(sent(github)) == 1, "asking again would not help"


@pytest.mark.parametrize("body", [b"<html>Bad gateway of a proxy</html>", b"", b"[1, {", b'{"login": 1}', b"null"])
def test_an_answer_that_is_not_the_apis_is_no_answer(body):
    with canned(200, body) as proxy, pytest.raises(Unavailable):
        at(proxy.url).login.encode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_a_redirect_is_not_followed_and_the_token_stays_here(status, verb):
    with canned(200, b"[]") as stranger, canned(status, b"", Location=f"{stranger.url}/else?access=1") as moved:
        client = at(moved.url)
        with pytest.raises(Refused, match="MLOPS_GITHUB_REPOSITORY") as told:
            client.get("issues") if verb == "GET" else client.write("POST", "issues", {}, repeatable=False)
    assert stranger.got == []
    assert len(moved.got) == 1
    assert "127.0.0.1/else" in str(told.value)
    assert "access" not in str(told.value)


def test_a_next_page_elsewhere_is_asked_for_where_we_are():
    with (
        canned(200, b"[]") as stranger,
        canned(200, b"[]", Link=f'<{stranger.url}/evil?page=2&per_page=100>; rel="next"') as here,
    ):
        pages = at(here.url).pages("issues")
        next(pages), next(pages)
        pages.close()
    assert stranger.got == []
    assert [path for _, path, _ in here.got] == [
        f"/repos/{REPOSITORY}/issues?per_page=100",
        f"/repos/{REPOSITORY}/issues?page=2&per_page=100",
    ]


# --- secrets and settings


def test_the_token_is_in_no_error_no_log_and_no_repr(caplog, waiting):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="github")
    told: list[object] = []
    answers = [
        *((status, b'{"message": "no"}', {}) for status in (401, 403, 404, 422, 500)),
        (403, b"", {"Retry-After": "999"}),
        (302, b"", {"Location": "https://elsewhere.example/?q=1"}),
        (200, b"<html>", {}),
        (200, b'{"login": "platform"}', {}),
    ]
    for status, body, headers in answers:
        with canned(status, body, **headers) as server:
            client = at(server.url, waiting)
            for verb in ("GET", "POST"):
                try:
                    told.append(client.get("issues") if verb == "GET" else client.write("POST", "x", {}, repeatable=False))
                except MlopsError as error:
                    told += [error, error.__cause__, error.__context__, vars(error)]
            told += [client, vars(client), client._base.auth]
            assert server.got[0][2]["authorization"] == f"token {TOKEN}"
        waiting.now += 1000
    gone = at("http://127.0.0.1:9", waiting)
    with pytest.raises(Unavailable) as failed:
        gone.get("issues")
    told += [failed.value, failed.value.__context__]
    assert TOKEN not in "\n".join([caplog.text, *(f"{one} {one!r}" for one in told)])


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, ["MLOPS_GITHUB_REPOSITORY", "MLOPS_GITHUB_TOKEN", "MLOPS_GITHUB_APP_ID"]),
        ({"github_repository": REPOSITORY}, ["MLOPS_GITHUB_TOKEN", "MLOPS_GITHUB_APP_ID"]),
        ({"github_repository": REPOSITORY, "github_token": " "}, ["MLOPS_GITHUB_TOKEN"]),
        ({"github_token": TOKEN}, ["MLOPS_GITHUB_REPOSITORY"]),
        ({"github_repository": REPOSITORY, "github_app_id": 1}, ["MLOPS_GITHUB_APP_PRIVATE_KEY"]),
        ({"github_repository": REPOSITORY, "github_app_private_key": "key.pem"}, ["MLOPS_GITHUB_APP_ID"]),
        ({"github_repository": REPOSITORY, "github_token": TOKEN, "github_app_id": 1}, ["both", "MLOPS_GITHUB_APP_ID"]),
        ({"github_repository": REPOSITORY, "github_token": "two words"}, ["MLOPS_GITHUB_TOKEN"]),
        (
            {"github_repository": REPOSITORY, "github_token": TOKEN, "github_api_url": "http://ghe.example/api/v3"},
            ["unprotected"],
        ),
        ({"github_repository": REPOSITORY, "github_token": TOKEN, "github_api_url": "https://a:b@ghe.example"}, ["API_URL"]),
        ({"github_repository": REPOSITORY, "github_token": TOKEN, "github_api_url": "ghe.example"}, ["API_URL"]),
    ],
)
def test_settings_that_cannot_do_are_told_in_one_error(tmp_path, given, named):
    platform = Platform(Settings(home=tmp_path, tracker="github", **given))
    for door in ("tracker", "history"):
        with pytest.raises(UserError) as told:
            getattr(platform, door)
        assert all(name in str(told.value) for name in named), told.value
        assert "two words" not in str(told.value)


@pytest.mark.parametrize(
    "content", [None, "", "not a key", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"]
)
def test_a_key_that_is_none_is_told_before_anything_is_sent(tmp_path: Path, content):
    key = tmp_path / "app.pem"
    if content is not None:
        key.write_text(content, encoding="utf-8")
    settings = Settings(tracker="github", github_repository=REPOSITORY, github_app_id=7, github_app_private_key=key)
    with pytest.raises(UserError, match="PRIVATE_KEY"):
        GitHubClient(settings).get("issues")


def app_settings(github: GitHubStandIn, tmp_path: Path) -> Settings:
    app = github.add_app("mlops-platform")
    key = tmp_path / "app.pem"
    key.write_text(app.private_key)
    return Settings(
        tracker="github",
        github_repository=REPOSITORY,
        github_api_url=github.url,
        github_app_id=app.id,
        github_app_private_key=key,
    )


def test_an_app_writes_as_its_bot_with_a_token_that_is_renewed(github, tmp_path, waiting, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="github")
    client = GitHubClient(app_settings(github, tmp_path), clock=waiting, sleep=waiting.sleep)
    assert client.login == "mlops-platform[bot]"
    number = github.open_issue("requester", "t", "b")
    github.fail(502, "POST", "access_tokens")
    for _ in range(3):
        client.write("POST", f"issues/{number}/comments", {"body": "x"}, repeatable=False)
    assert [comment["user"]["login"] for comment in github.comments(number)] == ["mlops-platform[bot]"] * 3
    issued = [r for r in sent(github) if r[1].endswith("/access_tokens")]
    assert [status for *_, status in issued] == [502, 201]
    waiting.now += 3300
    client.get("issues")
    assert len([r for r in sent(github) if r[1].endswith("/access_tokens")]) == 3
    assert not any(token in caplog.text for token in github.world.tokens)


def test_an_app_without_an_installation_there_is_told(github, tmp_path):
    settings = app_settings(github, tmp_path).model_copy(update={"github_repository": "acme/elsewhere"})
    with pytest.raises(Refused, match="MLOPS_GITHUB_REPOSITORY"):
        GitHubClient(settings).get("issues")


def test_a_token_of_no_account_is_told(github):
    github.fail(403, "GET", "/user$")
    with pytest.raises(UserError, match="belongs to no account"):
        client_of(github).login.encode()


def test_what_a_client_sends_can_fail_the_description(client_requests):
    description = api_description()
    if description is None:
        pytest.skip("GitHub's API description is not at hand")
    with GitHubStandIn(repository=REPOSITORY) as github:
        recorder = Recorder(description)
        github.observe(recorder)
        client = client_of(github)
        number = github.open_issue("requester", "t", "b")
        client.get("issues", {"per_page": 100, "labelled": "x"})
        client.write("POST", f"issues/{number}/comments", {"body": "x", "marker": "plan"}, repeatable=False)
        problems = "\n".join(recorder.problems())
    assert "labelled is not described" in problems
    assert "marker is not described" in problems
    client_requests.problems.clear()  # they were meant; every other test fails by them


def test_platforms_of_one_process_share_what_was_learned(github, tmp_path):
    settings = settings_of(github).model_copy(update={"home": tmp_path})
    assert Platform(settings).tracker is Platform(settings).tracker
    assert Platform(settings).tracker.kind == "github"
    assert sent(github) == [], "opening the door asks nothing"
    assert Platform(settings).history.url("train-20250110-123456-ab12").startswith(github.html_url)


def test_a_history_folder_that_is_set_is_used_also_with_github(github, tmp_path):
    settings = settings_of(github).model_copy(update={"home": tmp_path, "history_folder": tmp_path / "h"})
    assert Platform(settings).history.url("train-20250110-123456-ab12").startswith(str(tmp_path / "h"))
