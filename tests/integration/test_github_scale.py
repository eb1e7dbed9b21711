"""A repository with a thousand open issues: what a tick costs when nothing is new, and how the new ones are worked off.

Measured over the real sensor function with the real tracker, docket and ledger; the numbers are printed (`pytest -s`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from dagster import DagsterInstance
from front_door import ACCOUNT, REPOSITORY, FrontDoor, register_customers, settings_for, tell

import sensors.issues
from mlops_assets.request.lifecycle import body_digest
from resources.ledger import Refusal
from resources.platform import Platform
from resources.settings import Settings
from sensors.issues import ISSUES_PER_TICK
from tests.standins.github import GitHubStandIn

pytestmark = [pytest.mark.slow, pytest.mark.service]

ISSUES, NEW, PROPOSALS, QUIET_TICKS = 1000, 200, 20, 9
SETTLED = ISSUES - NEW
"""Issues that were refused long ago; working through all thousand would take two minutes and show the same."""
EVERY = NEW // PROPOSALS
PROPOSAL = (
    "```yaml\nmodel_id: line-{number}\ndataset_id: customers\ntask_type: classification\nalgorithm: logistic_regression\n```"
)
"""Every tenth of the new issues can be carried out and waits for a thumb; the others are refused, and settled with that."""
MISTAKEN = "```yaml\nmodel_id: line-{number}\ndataset_id: customers\nalgorithm: magic\n```"


def body(number: int) -> str:
    return (MISTAKEN if number <= SETTLED or number % EVERY else PROPOSAL).format(number=number)


def settle(platform: Platform) -> None:
    """Every issue but the new ones has been refused before."""
    for number in range(1, SETTLED + 1):
        digest = body_digest(f"Train {number}", body(number))
        platform.ledger.refuse(Refusal(issue=number, body_digest=digest, problems=1, at="2026-01-01T00:00:00+00:00"))


@dataclass
class Crowd:
    """An installation over a thousand issues, and what working through them took."""

    door: FrontDoor
    github: GitHubStandIn | None = None
    seconds: list[float] = field(default_factory=list)
    worked_off: list[int] = field(default_factory=list)

    def tick(self) -> float:
        before = len(self.door.platform.docket.listing().changed)
        started = time.perf_counter()
        requests = self.door.tick()
        took = time.perf_counter() - started
        for request in requests:
            self.door.run(request)
        self.seconds.append(took)
        self.worked_off.append(before - len(self.door.platform.docket.listing().changed) if before else 0)
        return took

    def work_through(self) -> None:
        """Tick until nothing has changed and nothing is open."""
        for _ in range(3 * ISSUES // ISSUES_PER_TICK):
            self.tick()
            listing = self.door.platform.docket.listing()
            if not listing.changed and not listing.open:
                return
        raise AssertionError("the issues were not worked through")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """The first ticks over a thousand new issues on GitHub, to the last proposal."""
    folder = tmp_path_factory.mktemp("crowd")
    with GitHubStandIn(repository=REPOSITORY) as github, DagsterInstance.ephemeral() as instance:
        platform = Platform(settings_for(github, folder / "home"))
        register_customers(platform, folder)
        github.limit(ACCOUNT, 1_000_000)  # GitHub's own 5,000 an hour would stretch the first round over two hours
        for number in range(1, ISSUES + 1):
            assert github.open_issue("requester", f"Train {number}", body(number), labels=["mlops:train"]) == number
        crowd = Crowd(FrontDoor(platform, instance), github)
        settle(platform)
        crowd.door.begin_with(range(SETTLED + 1, ISSUES + 1))
        crowd.work_through()
        yield crowd


def test_new_issues_are_worked_through_a_few_at_a_time(crowd: Crowd) -> None:
    assert crowd.github is not None
    tell(
        f"{NEW} new issues of {ISSUES} on GitHub: {len(crowd.seconds)} ticks, median {statistics.median(crowd.seconds):.2f} s, "
        f"longest {max(crowd.seconds):.2f} s, {sum(crowd.seconds):.1f} s in all, {len(crowd.github.requests)} requests"
    )
    assert max(crowd.seconds) < 60
    assert max(crowd.worked_off) <= ISSUES_PER_TICK
    for number in range(SETTLED + 1, ISSUES + 1):
        comments = crowd.github.comments(number)
        assert [comment["user"]["login"] for comment in comments] == [ACCOUNT], number
    waiting = crowd.door.platform.docket.listing().waiting
    assert sorted(waiting) == list(range(SETTLED + EVERY, ISSUES + 1, EVERY))


def test_a_thousand_open_issues_with_nothing_new_cost_two_requests_and_less_than_a_second(crowd: Crowd) -> None:
    assert crowd.github is not None
    for _ in range(3):  # what the platform itself has written is news once
        crowd.tick()
    seconds, requests = [], []
    for _ in range(QUIET_TICKS):
        crowd.github.clear_requests()
        seconds.append(crowd.tick())
        requests.append(len(crowd.github.requests))
    tell(f"quiet tick on GitHub: median {statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s, requests {requests}")
    assert max(requests) <= 2
    assert statistics.median(seconds) < 1
    assert {record.status for record in crowd.github.requests} == {304}


def test_a_thumb_that_does_not_count_costs_nothing_until_it_is_looked_up_again(crowd: Crowd) -> None:
    assert crowd.github is not None
    (proposal,) = crowd.github.comments(ISSUES)  # of the older ones a thumb is seen within a minute
    crowd.github.react(proposal["id"], "stranger", "+1")
    crowd.tick()
    explained = [comment["body"] for comment in crowd.github.comments(ISSUES)][1:]
    assert len(explained) == 1 and "stranger" in explained[0]
    crowd.work_through()
    crowd.github.clear_requests()
    for _ in range(QUIET_TICKS):
        crowd.tick()
    asked = {record.path.partition("/models/")[2] for record in crowd.github.requests}
    assert not [path for path in asked if path.startswith(f"issues/{ISSUES}") or "stranger" in path], asked


def test_a_slow_github_ends_a_tick_early_and_the_next_one_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors.issues, "TICK_SECONDS", 1.0)
    with GitHubStandIn(repository=REPOSITORY) as github, DagsterInstance.ephemeral() as instance:
        platform = Platform(settings_for(github, tmp_path / "home"))
        numbers = [github.open_issue("requester", "Train", MISTAKEN, labels=["mlops:train"]) for _ in range(12)]
        github.fail("delay", times=100_000, seconds=0.05)
        door, refused = FrontDoor(platform, instance), [0]
        while refused[-1] < len(numbers):
            started = time.perf_counter()
            assert door.tick() == []
            assert time.perf_counter() - started < 1.0 + 25 * 0.05
            refused.append(sum(bool(github.comments(number)) for number in numbers))
            assert 0 < refused[-1] - refused[-2] < len(numbers)
            assert all(github.comments(number) for number in numbers[: refused[-1]])


def test_a_folder_of_a_thousand_issues_costs_less_than_a_second(tmp_path: Path) -> None:
    platform = Platform(Settings(home=tmp_path / "home"))
    register_customers(platform, tmp_path)
    for number in range(1, ISSUES + 1):
        assert platform.tracker.open_issue(f"Train {number}", body(number), ["mlops:train"]).number == number
    with DagsterInstance.ephemeral() as instance:
        crowd = Crowd(FrontDoor(platform, instance))
        settle(platform)
        crowd.door.begin_with(range(SETTLED + 1, ISSUES + 1))
        crowd.work_through()
        longest, ticks = max(crowd.seconds), len(crowd.seconds)
        tell(f"{NEW} new files of {ISSUES}: {ticks} ticks, longest {longest:.2f} s, {sum(crowd.seconds):.1f} s")
        assert max(crowd.seconds) < 60
        assert sorted(platform.docket.listing().waiting) == list(range(SETTLED + EVERY, ISSUES + 1, EVERY))
        for _ in range(3):
            crowd.tick()
        seconds = [crowd.tick() for _ in range(QUIET_TICKS)]
    tell(f"quiet tick over a folder: median {statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s")
    assert statistics.median(seconds) < 1
