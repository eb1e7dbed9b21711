"""That what our client sends is held to GitHub's own description in every test, and that this can fail."""

from __future__ import annotations

from contextlib import suppress

import pytest

from mlops_assets.errors import MlopsError
from tests.conftest import ClientRequests
from tests.standins.github import GitHubStandIn
from tests.unit.resources.on_github import REPOSITORY, client_of


@pytest.fixture
def watching(client_requests: ClientRequests | None) -> ClientRequests:
    if client_requests is None:
        pytest.skip("GitHub's API description is not at hand (set MLOPS_SHARED_DATA)")
    return client_requests


def test_a_request_as_described_is_seen_and_found_right(watching: ClientRequests) -> None:
    before = watching.seen
    with GitHubStandIn(repository=REPOSITORY) as github:
        client_of(github).get("issues", {"state": "open", "per_page": 100})
    assert watching.seen > before
    assert watching.problems == []


@pytest.mark.parametrize(
    ("path", "parameters", "found"),
    [
        ("issues", {"colour": "red"}, "query parameter colour is not described"),
        ("issues", {"state": "ajar"}, "query parameter state"),
        ("issues", {"per_page": 1000}, "more than a page holds"),
    ],
)
def test_a_request_that_is_not_as_described_is_found(
    watching: ClientRequests, path: str, parameters: dict[str, str | int], found: str
) -> None:
    with GitHubStandIn(repository=REPOSITORY) as github, suppress(MlopsError):  # some of it the stand-in refuses by itself
        client_of(github).get(path, parameters)
    problems, watching.problems = watching.problems, []  # else this very test would fail by it
    assert len(problems) == 1 and found in problems[0]


def test_a_body_that_is_not_as_described_is_found(watching: ClientRequests) -> None:
    with GitHubStandIn(repository=REPOSITORY) as github:
        client_of(github).write("POST", "issues", {"title": "t", "mood": "good"}, repeatable=False)
    problems, watching.problems = watching.problems, []
    assert any("mood is not described" in problem for problem in problems)
