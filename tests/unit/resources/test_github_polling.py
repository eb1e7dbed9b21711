"""What a tick costs on GitHub: one unchanged answer where nothing is new, whatever the size of the repository."""

from __future__ import annotations

import time

import pytest

from tests.standins.github import GitHubStandIn, ManualClock
from tests.unit.resources.on_github import Waiting, sent, standin, tracker_of

LABEL = "mlops:train"
THUMBS = {"+1", "-1"}


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def settled(tracker, cursor: str | None = None) -> str:
    """The cursor once nothing is new."""
    for _ in range(3):
        cursor = tracker.changes(LABEL, cursor).cursor
    assert cursor is not None
    return cursor


# --- changes


def test_a_quiet_tick_is_one_304_also_after_a_restart(github):
    number = github.open_issue("requester", "t", "b", labels=[LABEL])
    cursor = settled(tracker_of(github))
    github.clear_requests()
    for tracker in (tracker_of(github), tracker_of(github)):
        found = tracker.changes(LABEL, cursor)
        assert (found.numbers, found.cursor) == ((), cursor)
    assert [status for *_, status in sent(github)] == [304, 304]
    assert number == 1


def test_every_kind_of_change_is_named(github):
    github.add_user("maintainer", permission="write")
    numbers = [github.open_issue("requester", f"t{i}", "b", labels=[LABEL]) for i in range(5)]
    unlabelled = github.open_issue("requester", "later", "b")
    other = github.open_issue("requester", "other", "b", labels=["question"])
    tracker = tracker_of(github)
    cursor = settled(tracker)
    for change in (
        lambda: github.edit_issue(numbers[0], "requester", body="other"),
        lambda: github.comment(numbers[1], "stranger", "/status"),
        lambda: github.close_issue(numbers[2], "requester"),
        lambda: github.label(numbers[3], "maintainer", "urgent"),
        lambda: github.label(unlabelled, "maintainer", LABEL),
    ):
        change()
    found = tracker.changes(LABEL, cursor)
    assert {*numbers[:4], unlabelled} <= set(found.numbers)
    assert other not in found.numbers


def test_changes_within_one_second_are_not_lost():
    clock = ManualClock()
    with standin(clock=clock) as github:
        first = github.open_issue("requester", "a", "b", labels=[LABEL])
        tracker = tracker_of(github)
        cursor = settled(tracker)
        second = github.open_issue("requester", "b", "b", labels=[LABEL])  # the same second as the first
        found = tracker.changes(LABEL, cursor)
        assert second in found.numbers
        github.comment(first, "requester", "again the same second")
        assert first in tracker.changes(LABEL, found.cursor).numbers


def test_a_change_that_shows_up_late_beside_a_younger_one_is_seen():
    clock = ManualClock()
    with standin(clock=clock) as github:
        late, young = (github.open_issue("requester", name, "b", labels=[LABEL]) for name in "ab")
        tracker = tracker_of(github)
        cursor = settled(tracker)
        clock.advance(60)
        moment = clock.now
        clock.advance(5)
        github.comment(young, "requester", "x")
        cursor = settled(tracker, cursor)
        clock.now = moment  # GitHub's list shows this one only now
        github.comment(late, "requester", "x")
        assert late in tracker.changes(LABEL, cursor).numbers


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "12",
        "{}",
        "null",
        '{"of": "x", "since": "2030-01-01T00:00:00Z"}',
        '{"of": "x", "since": "2030-01-01T00:00:00"}',
        "\x00",
        "[" * 9000,
    ],
)
def test_a_cursor_of_something_else_asks_for_every_open_one(github, cursor):
    number = github.open_issue("requester", "t", "b", labels=[LABEL])
    assert tracker_of(github).changes(LABEL, cursor).numbers == (number,)


def test_a_cursor_of_another_label_loses_nothing(github):
    github.open_issue("requester", "t", "b", labels=[LABEL])
    other = github.open_issue("requester", "t", "b", labels=["other"])
    tracker = tracker_of(github)
    assert tracker.changes("other", settled(tracker)).numbers == (other,)


def test_closed_issues_of_years_are_not_listed_for_a_new_cursor():
    clock = ManualClock()
    with standin(clock=clock) as github:
        still_open = github.open_issue("requester", "old", "b", labels=[LABEL])
        clock.advance(1000)
        for _ in range(5):
            github.close_issue(github.open_issue("requester", "t", "b", labels=[LABEL]), "requester")
            clock.advance(1000)
        tracker = tracker_of(github)
        first = tracker.changes(LABEL, None)
        assert first.numbers == (still_open,)
        assert len(tracker.changes(LABEL, first.cursor).numbers) == 1, "the latest change at most"


def test_an_empty_repository_is_quiet_and_then_names_the_first_issue(github):
    tracker = tracker_of(github)
    cursor = settled(tracker)
    number = github.open_issue("requester", "t", "b", labels=[LABEL])
    assert tracker.changes(LABEL, cursor).numbers == (number,)
    assert len(cursor) < 500


def test_a_thousand_open_issues_with_nothing_new_cost_two_requests_a_tick(github, waiting, record_property):
    """The tick of the whole platform: what has changed, and who reacted on the open proposals."""
    tracker = tracker_of(github, waiting=waiting)
    for number in range(1, 1001):
        github.open_issue("requester", f"issue {number}", "b", labels=[LABEL])
    first = tracker.changes(LABEL, None)
    assert first.numbers == tuple(range(1, 1001))
    assert len(sent(github)) == 11
    proposals = [(number, f"training:t{number}") for number in range(1, 21)]
    for number, marker in proposals:
        tracker.upsert_comment(number, marker, "a plan")
    cursor = settled(tracker, first.cursor)
    tracker.reactions(proposals)
    github.clear_requests()
    started = time.perf_counter()
    ticks = 10
    for _ in range(ticks):
        waiting.now += 5
        assert tracker.changes(LABEL, cursor).numbers == ()
        tracker.reactions(proposals)
    seconds = (time.perf_counter() - started) / ticks
    assert [status for *_, status in sent(github)] == [304] * (2 * ticks)
    github.clear_requests()
    for _ in range(ticks):
        tracker.changes(LABEL, cursor)
    assert len(sent(github)) == ticks
    record_property("seconds a tick", round(seconds, 4))


# --- reactions


def propose(github: GitHubStandIn, tracker, count: int) -> list[tuple[int, str]]:
    keys = []
    for index in range(count):
        number = github.open_issue("requester", f"t{index}", "b", labels=[LABEL])
        keys.append((number, f"training:t{index}"))
        tracker.upsert_comment(*keys[-1], "a plan")
    return keys


def comment_id(github: GitHubStandIn, number: int) -> int:
    return int(github.comments(number)[0]["id"])


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_thumb_is_seen_in_the_next_tick_and_quiet_ticks_cost_one_request(github, waiting, count):
    tracker = tracker_of(github, waiting=waiting)
    keys = propose(github, tracker, count)
    tracker.reactions(keys)
    github.clear_requests()
    for _ in range(5):
        waiting.now += 5
        assert tracker.reactions(keys) == dict.fromkeys(keys, ())
    assert [status for *_, status in sent(github)] == [304] * 5
    github.react(comment_id(github, keys[-1][0]), "maintainer", "+1")
    waiting.now += 5
    assert tracker.reactions(keys)[keys[-1]] == (("maintainer", "+1"),)
    github.unreact(comment_id(github, keys[-1][0]), "maintainer", "+1")
    waiting.now += 5
    assert tracker.reactions(keys)[keys[-1]] == ()


@pytest.mark.parametrize("count", [1, 3])
def test_who_gave_both_thumbs_is_named_with_both_and_hearts_mean_nothing(github, count):
    tracker = tracker_of(github)
    keys = propose(github, tracker, count)
    comment = comment_id(github, keys[0][0])
    for content in ("heart", "+1", "-1", "rocket"):
        github.react(comment, "maintainer", content)
    assert set(tracker.reactions(keys)[keys[0]]) == {("maintainer", "+1"), ("maintainer", "-1")}


def test_people_who_change_places_under_equal_numbers_are_seen_within_a_minute(github, waiting):
    tracker = tracker_of(github, waiting=waiting)
    keys = propose(github, tracker, 3)
    comment = comment_id(github, keys[0][0])
    github.react(comment, "stranger", "+1")
    tracker.reactions(keys)
    github.unreact(comment, "stranger", "+1")
    github.react(comment, "maintainer", "+1")
    seen_after = None
    for tick in range(1, 13):
        waiting.now += 5
        if tracker.reactions(keys)[keys[0]] == (("maintainer", "+1"),):
            seen_after = tick * 5
            break
    assert seen_after is not None
    assert seen_after <= 60


def test_a_comment_that_others_pushed_out_of_the_listing_is_read_within_a_minute(waiting):
    clock = ManualClock()
    with standin(clock=clock) as github:
        tracker = tracker_of(github, waiting=waiting)
        keys = propose(github, tracker, 2)
        clock.advance(60)
        crowd = github.open_issue("requester", "crowd", "b")
        for index in range(120):
            github.comment(crowd, "stranger", f"noise {index}")
        tracker.reactions(keys)
        github.react(comment_id(github, keys[1][0]), "maintainer", "-1")
        for _ in range(12):
            waiting.now += 5
            found = tracker.reactions(keys)
        assert found[keys[1]] == (("maintainer", "-1"),)


def test_with_many_proposals_a_tick_stays_bounded_and_every_one_is_read_each_minute(github, waiting):
    tracker = tracker_of(github, waiting=waiting)
    keys = propose(github, tracker, 90)
    for _ in range(4):
        waiting.now += 5
        tracker.reactions(keys)
    most, per_minute = 0, set()
    for _ in range(13):
        waiting.now += 5
        github.clear_requests()
        tracker.reactions(keys)
        most = max(most, len(sent(github)))
        per_minute |= {path for _, path, _ in sent(github) if path.endswith("/reactions")}
    assert most <= 22
    assert len(per_minute) == 90


def test_a_new_process_finds_the_comments_without_reading_every_thread(github, waiting):
    keys = propose(github, tracker_of(github), 15)
    github.react(comment_id(github, keys[7][0]), "maintainer", "+1")
    github.clear_requests()
    assert tracker_of(github, waiting=waiting).reactions(keys)[keys[7]] == (("maintainer", "+1"),)
    assert not [
        path for _, path, _ in sent(github) if path.endswith("/comments") and path != "/repos/acme/models/issues/comments"
    ]


def test_a_comment_that_is_removed_or_written_later_is_noticed(github, waiting):
    tracker = tracker_of(github, waiting=waiting)
    keys = propose(github, tracker, 2)
    keys.append((keys[0][0], "training:later"))
    github.react(comment_id(github, keys[0][0]), "maintainer", "+1")
    assert [len(given) for given in tracker.reactions(keys).values()] == [1, 0, 0]
    github.delete_comment(comment_id(github, keys[0][0]), "platform")
    later = tracker.upsert_comment(*keys[2], "another plan")
    github.react(int(later.id), "maintainer", "-1")
    for _ in range(13):
        waiting.now += 5
        found = tracker.reactions(keys)
    assert found == {keys[0]: (), keys[1]: (), keys[2]: (("maintainer", "-1"),)}


def test_more_than_a_page_of_thumbs_are_all_read(github, waiting):
    tracker = tracker_of(github, waiting=waiting)
    keys = propose(github, tracker, 1)
    comment = comment_id(github, keys[0][0])
    for index in range(130):
        github.react(comment, f"person-{index}", "+1")
    assert len(tracker.reactions(keys)[keys[0]]) == 130
    github.react(comment, "maintainer", "-1")
    assert ("maintainer", "-1") in tracker.reactions(keys)[keys[0]]
