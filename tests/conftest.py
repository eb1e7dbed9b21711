"""What every test shares: the real data where it is at hand, installations in temporary folders, stand-ins of services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from resources.github_access import USER_AGENT
from resources.platform import Platform
from resources.settings import Settings
from tests.shared_data import SHARED, at_hand
from tests.standins.github import Exchange, GitHubStandIn
from tests.standins.github.contract import Contract
from tests.standins.pagerduty import PagerDutyEvents
from tests.standins.s3 import KEYS, s3_with
from tests.standins.slack import SlackWebhook

ROOT = Path(__file__).resolve().parents[1]
API_DESCRIPTION = SHARED / "data" / "github" / "github-openapi-subset.json"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real data sets and examples, which are not part of the project."""
    return at_hand()


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """An empty installation of its own; commands and sensors started by the test use it too."""
    home = tmp_path / "home"
    monkeypatch.setenv("MLOPS_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return Platform(Settings(home=home))


@pytest.fixture
def slack() -> Iterator[SlackWebhook]:
    with SlackWebhook() as service:
        yield service


@pytest.fixture
def pagerduty() -> Iterator[PagerDutyEvents]:
    with PagerDutyEvents() as service:
        yield service


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 whose only bucket is the empty ``mlops``; its keys are those of this process."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with s3_with("mlops") as endpoint:
        yield endpoint


@dataclass
class ClientRequests:
    """Holds what our own client sends, in whatever test, to GitHub's description of its API."""

    contract: Contract
    problems: list[str] = field(default_factory=list)
    seen: int = 0

    def __call__(self, exchange: Exchange) -> None:
        if exchange.request.headers.get("user-agent") == USER_AGENT:
            self.seen += 1
            self.problems += self.contract.request_problems(exchange)


@pytest.fixture(scope="session", autouse=True)
def client_requests() -> Iterator[ClientRequests | None]:
    """Watches every stand-in of GitHub that a test of this process starts; None where the description is not at hand."""
    if not API_DESCRIPTION.is_file():
        yield None
        return
    watching = ClientRequests(Contract(API_DESCRIPTION))
    GitHubStandIn.watchers.append(watching)
    yield watching
    GitHubStandIn.watchers.remove(watching)


@pytest.fixture(autouse=True)
def requests_are_as_described(client_requests: ClientRequests | None) -> Iterator[None]:
    """After each test: nothing that our client sent meanwhile differs from the description."""
    yield
    if client_requests is not None:
        found, client_requests.problems = client_requests.problems, []
        assert found == []
