"""Which issues a tick looks at."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources.docket import Docket
from resources.store import ObjectStore
from resources.tracker import Issue


@pytest.fixture
def docket(tmp_path: Path) -> Docket:
    return Docket(ObjectStore((tmp_path / "store").as_uri(), tmp_path / "cache"), "github/acme/models")


def test_a_changed_issue_stays_noted_until_it_has_been_attended_to(docket: Docket) -> None:
    docket.note_changed([3, 12])
    docket.note_changed([3])
    assert docket.listing().changed == (3, 12)
    docket.keep_open(3)
    assert docket.listing().changed == (12,)
    assert docket.listing().open == (3,)


def test_an_issue_waits_for_a_thumb_on_one_proposal_only(docket: Docket) -> None:
    docket.keep_open(3)
    docket.wait(3, "train-1")
    assert docket.listing().open == ()
    docket.wait(3, "train-2")
    docket.wait(33, "train-3")
    assert docket.listing().waiting == {3: "train-2", 33: "train-3"}
    docket.keep_open(3)
    assert docket.listing().waiting == {33: "train-3"}
    assert docket.listing().open == (3,)


def test_a_settled_issue_costs_nothing_until_it_changes(docket: Docket) -> None:
    docket.note_changed([3])
    docket.wait(3, "train-1")
    docket.settle(3)
    listing = docket.listing()
    assert (listing.changed, listing.open, listing.waiting) == ((), (), {})
    docket.note_changed([3])
    assert docket.listing().changed == (3,)


def test_what_was_read_of_an_issue_is_known_without_asking_again(docket: Docket) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    issue = Issue(7, "題名", "body\n", "requester", frozenset({"mlops:train"}), "closed", moment, moment, url="https://x/7")
    assert docket.seen(7) is None
    docket.remember(issue)
    assert docket.seen(7) == issue
    assert docket.listing().open == ()
