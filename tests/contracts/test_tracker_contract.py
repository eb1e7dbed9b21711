"""What every tracker promises, whichever it is; written against the interface only.

An implementation joins by adding its factory to ``TRACKERS``: a context manager over a tracker whose actor is
``ADMIN``, with nothing in it yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from mlops_assets.errors import NotFound
from resources.folder_tracker import FolderTracker
from resources.github_client import GitHubClient
from resources.github_tracker import GitHubTracker
from resources.tracker import Tracker
from tests.unit.resources.on_github import settings_of, standin


@contextmanager
def folder_tracker(tmp_path: Path) -> Iterator[Tracker]:
    yield FolderTracker(tmp_path / "issues")


@contextmanager
def github_tracker(tmp_path: Path) -> Iterator[Tracker]:
    with standin() as github:
        yield GitHubTracker(GitHubClient(settings_of(github, "maintainer", "admin")))


TRACKERS: dict[str, Callable[[Path], AbstractContextManager[Tracker]]] = {"folder": folder_tracker, "github": github_tracker}

BODY = "prose\n\n```yaml\ndataset_id: x\n```"


@pytest.fixture(params=sorted(TRACKERS))
def tracker(request, tmp_path) -> Iterator[Tracker]:
    with TRACKERS[request.param](tmp_path) as made:
        yield made


def test_opened_issue_is_read_back(tracker):
    opened = tracker.open_issue("モデル学習: churn", BODY, ["mlops:train", "churn"])
    read = tracker.issue(opened.number)
    assert (read.title, read.body, read.state, read.comments) == ("モデル学習: churn", BODY, "open", ())
    assert read.labels == {"mlops:train", "churn"}
    assert read.author == tracker.current_actor()
    assert read.created_at.tzinfo is not None
    assert read.url


def test_numbers_ascend_and_issues_come_in_their_order(tracker):
    numbers = [tracker.open_issue(f"issue {i}", BODY, []).number for i in range(3)]
    assert numbers == sorted(set(numbers))
    assert [issue.number for issue in tracker.issues()] == numbers


def test_issues_are_found_by_label(tracker):
    train = tracker.open_issue("a", BODY, ["mlops:train"]).number
    tracker.open_issue("b", BODY, ["question"])
    assert [issue.number for issue in tracker.issues(label="mlops:train")] == [train]
    assert tracker.issues(state="closed") == []


def test_unknown_issue_is_not_found(tracker):
    with pytest.raises(NotFound) as caught:
        tracker.issue(999)
    assert "999" in str(caught.value)
    with pytest.raises(NotFound):
        tracker.upsert_comment(999, "plan", "x")
    with pytest.raises(NotFound):
        tracker.add_comment(999, "x")
    with pytest.raises(NotFound):
        tracker.set_labels(999, add=["x"])


def test_upsert_twice_leaves_one_comment_with_the_last_body(tracker):
    number = tracker.open_issue("t", BODY, []).number
    first = tracker.upsert_comment(number, "plan", "one")
    second = tracker.upsert_comment(number, "plan", "two")
    (comment,) = tracker.issue(number).comments
    assert first.id == second.id == comment.id
    assert (comment.marker, comment.body) == ("plan", "two")
    assert comment.updated_at >= comment.created_at


def test_upsert_keeps_the_place_in_the_thread(tracker):
    number = tracker.open_issue("t", BODY, []).number
    tracker.upsert_comment(number, "plan", "p")
    tracker.add_comment(number, "looks good")
    tracker.upsert_comment(number, "result", "r")
    tracker.upsert_comment(number, "plan", "p2")
    assert [(c.marker, c.body) for c in tracker.issue(number).comments] == [("plan", "p2"), (None, "looks good"), ("result", "r")]


def test_persons_comment_has_no_marker_and_equal_ones_stay_two(tracker):
    number = tracker.open_issue("t", BODY, []).number
    tracker.add_comment(number, "retry", author=tracker.current_actor())
    tracker.add_comment(number, "retry", author=tracker.current_actor())
    comments = tracker.issue(number).comments
    assert [(c.body, c.marker, c.author) for c in comments] == [("retry", None, tracker.current_actor())] * 2
    assert comments[0].id != comments[1].id


def test_text_of_a_person_cannot_pass_for_the_platform(tracker):
    number = tracker.open_issue("t", BODY, []).number
    ours = tracker.upsert_comment(number, "plan", "the plan").body
    tracker.add_comment(
        number, '<!-- mlops:comment {"id": "x", "created": "2026-01-01", "marker": "result"} -->\n\nforged\n\n<!-- mlops:end -->'
    )
    tracker.upsert_comment(number, "plan", ours + "\n\n<!-- mlops:end -->\nmore")
    read = tracker.issue(number).comments
    assert [c.marker for c in read] == ["plan", None]
    assert read[0].body == "the plan\n\n<!-- mlops:end -->\nmore"
    assert "forged" in read[1].body


def test_reaction_counts_once_a_person(tracker):
    number = tracker.open_issue("t", BODY, []).number
    tracker.upsert_comment(number, "plan", "p")
    tracker.react(number, "plan", "+1")
    tracker.react(number, "plan", "+1")
    assert tracker.issue(number).comments[0].reactions == ((tracker.current_actor(), "+1"),)
    tracker.upsert_comment(number, "plan", "p, again")
    assert tracker.issue(number).comments[0].reactions == ((tracker.current_actor(), "+1"),)


def test_reaction_on_a_comment_that_is_not_there(tracker):
    number = tracker.open_issue("t", BODY, []).number
    with pytest.raises(NotFound):
        tracker.react(number, "plan", "+1")


def test_labels_are_idempotent(tracker):
    number = tracker.open_issue("t", BODY, ["mlops:train"]).number
    for _ in range(2):
        tracker.set_labels(number, add=["mlops:running"], remove=["mlops:train", "never there"])
    assert tracker.issue(number).labels == {"mlops:running"}


def test_only_the_owner_may_decide(tracker):
    assert tracker.permission(tracker.current_actor()) == "admin"
    assert tracker.permission("somebody-else") in ("none", "read")
    assert tracker.permission("") in ("none", "read")


def test_any_text_comes_back_as_written(tracker):
    number = tracker.open_issue("t", BODY, []).number
    for marker, text in {
        "rules": "a\n\n---\n\n### heading · 2026\n\nb\n---",
        "table": "| a | b |\n|---|---|\n| 1 | 2 |",
        "backslash": "<!-- \\mlops:end --> and <!-- \\\\mlops:x",
        "empty": "",
        "trailing": "code:\n\n    indented",
    }.items():
        tracker.upsert_comment(number, marker, text)
        assert {c.marker: c.body for c in tracker.issue(number).comments}[marker] == text


def test_changes_name_what_was_opened_edited_or_commented_on_since_the_cursor(tracker):
    first = tracker.open_issue("a", BODY, ["mlops:train"]).number
    second = tracker.open_issue("b", BODY, ["mlops:train"]).number
    tracker.open_issue("c", BODY, ["question"])
    start = tracker.changes("mlops:train", None)
    assert set(start.numbers) == {first, second}
    tracker.add_comment(first, "/status")
    after = tracker.changes("mlops:train", start.cursor)
    assert first in after.numbers
    again = tracker.changes("mlops:train", start.cursor)
    assert set(after.numbers) <= set(again.numbers)  # a cursor that was not saved loses nothing


def test_changes_name_nothing_but_the_latest_where_nothing_is_new(tracker):
    for name in ("a", "b", "c"):
        tracker.open_issue(name, BODY, ["mlops:train"])
    cursor = tracker.changes("mlops:train", None).cursor
    assert len(cursor) < 500
    for _ in range(3):
        found = tracker.changes("mlops:train", cursor)
        cursor = found.cursor
    assert len(found.numbers) <= 3
    assert tracker.changes("mlops:train", cursor).cursor == cursor


def test_reactions_are_those_on_the_comment_asked_for(tracker):
    number = tracker.open_issue("a", BODY, ["mlops:train"]).number
    tracker.upsert_comment(number, "training:t1", "a plan")
    tracker.upsert_comment(number, "training:t2", "another plan")
    asked = [(number, "training:t1"), (number, "training:t2"), (number, "training:t9")]
    assert tracker.reactions(asked) == dict.fromkeys(asked, ())
    tracker.react(number, "training:t1", "+1")
    seen = tracker.reactions(asked)
    assert seen[(number, "training:t1")] == ((tracker.current_actor(), "+1"),)
    assert seen[(number, "training:t2")] == seen[(number, "training:t9")] == ()
    assert tracker.reactions([]) == {}


def test_whoever_types_here_is_no_bot(tracker):
    assert not tracker.is_bot(tracker.current_actor())
