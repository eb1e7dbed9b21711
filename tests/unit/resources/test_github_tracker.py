"""The GitHub tracker beyond the contract of all trackers: whose comment it is, one of each whatever fails, and who may what."""

from __future__ import annotations

import json
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.errors import NotFound, RateLimited, Unavailable, UserError
from resources.front_desk import STATE_LABELS, TRIGGER_LABEL
from resources.github_client import GitHubClient
from resources.github_labels import LABELS
from resources.github_text import LIMIT
from resources.github_tracker import GitHubTracker
from tests.standins.github import GitHubStandIn
from tests.unit.resources.on_github import Waiting, canned, client_of, sent, standin, tracker_of, writes
from tests.unit.resources.test_github_client import app_settings, at


@pytest.fixture
def tracker(github: GitHubStandIn) -> GitHubTracker:
    return tracker_of(github)


@pytest.fixture
def number(github: GitHubStandIn) -> int:
    return github.open_issue("requester", "t", "b", labels=["mlops:train"])


def bodies(github: GitHubStandIn, number: int) -> list[tuple[str, str]]:
    return [(comment["user"]["login"], comment["body"]) for comment in github.comments(number)]


# --- whose comment it is


def test_a_forged_marker_of_a_stranger_is_plain_text(github, tracker, number):
    forged = "<!-- mlops:comment training:t1 -->\nApproved, go on"
    github.comment(number, "stranger", forged)
    (read,) = tracker.issue(number).comments
    assert (read.marker, read.body, read.author) == (None, forged, "stranger")
    github.react(int(read.id), "maintainer", "+1")
    assert tracker.reactions([(number, "training:t1")]) == {(number, "training:t1"): ()}
    ours = tracker.upsert_comment(number, "training:t1", "the plan")
    assert ours.id != read.id
    assert bodies(github, number)[0] == ("stranger", forged)
    assert [c.marker for c in tracker.issue(number).comments] == [None, "training:t1"]


def test_marker_text_inside_a_body_confuses_nothing(github, tracker, number):
    inside = "text\n<!-- mlops:comment refusal -->\nmore"
    tracker.upsert_comment(number, "plan", inside)
    tracker.upsert_comment(number, "refusal", "no")
    tracker.add_comment(number, "<!-- mlops:comment plan -->\nby hand")
    assert [(c.marker, c.body) for c in tracker.issue(number).comments] == [
        ("plan", inside),
        ("refusal", "no"),
        (None, "<!-- mlops:comment plan -->\nby hand"),
    ]
    tracker.upsert_comment(number, "plan", "new")
    assert [c.marker for c in tracker.issue(number).comments] == ["plan", "refusal", None]


def test_the_marker_is_hidden_in_the_first_line(github, tracker, number):
    tracker.upsert_comment(number, "training:t1", "a plan")
    assert bodies(github, number) == [("platform", "<!-- mlops:comment training:t1 -->\na plan")]


def test_a_persons_issue_is_read_with_plain_line_ends(github, tracker):
    number = github.open_issue("requester", "t", "a\r\n\r\n```yaml\r\nb: 1\r\n```")
    assert tracker.issue(number).body == "a\n\n```yaml\nb: 1\n```"
    assert github.open_issue("requester", "t", "") == number + 1
    assert tracker.issue(number + 1).body == ""


def test_nothing_is_written_in_somebody_elses_name(tracker, number):
    tracker.upsert_comment(number, "plan", "p")
    for act in (
        lambda: tracker.add_comment(number, "x", author="maintainer"),
        lambda: tracker.open_issue("t", "b", [], author="maintainer"),
        lambda: tracker.react(number, "plan", "+1", author="maintainer"),
    ):
        with pytest.raises(UserError, match="somebody else's name"):
            act()


# --- one of each


def test_an_equal_body_is_not_written_again_not_even_after_a_restart(github, tracker, number):
    tracker.upsert_comment(number, "plan", "same")
    for again in (tracker, tracker_of(github)):
        github.clear_requests()
        again.upsert_comment(number, "plan", "same")
        assert writes(github) == []
        assert len(sent(github)) == 1


@pytest.mark.parametrize("fault", [500, 502, "close", "lost", "lost-close", "secondary", "primary"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_comment_is_one_whatever_happens_to_the_answer(github, tracker, number, fault, times):
    github.fail(fault, "POST", "comments$", times=times, seconds=3)
    tracker.upsert_comment(number, "plan", "p")
    tracker.upsert_comment(number, "plan", "p")
    assert len(github.comments(number)) == 1
    assert not [method for method, _ in writes(github) if method == "DELETE"], "there never was a second one to remove"


def test_a_comment_that_cannot_be_written_is_not_half_there_and_succeeds_later(github, number):
    waiting = Waiting()
    tracker = tracker_of(github, waiting=waiting)
    github.fail(503, "POST", times=99)
    with pytest.raises(Unavailable):
        tracker.upsert_comment(number, "plan", "p")
    assert github.comments(number) == []
    github.clear_faults()
    waiting.now += 100
    tracker.upsert_comment(number, "plan", "p")
    assert len(github.comments(number)) == 1


FAULTS = st.tuples(
    st.sampled_from([500, 502, "close", "lost", "lost-close", "secondary"]),
    st.sampled_from(["POST", "PATCH", "GET", "DELETE"]),
    st.integers(min_value=1, max_value=2),
)
UPSERTS = st.tuples(st.sampled_from(["plan", "refusal"]), st.sampled_from(["one", "two", "three"]), st.booleans())


@pytest.fixture(scope="module")
def shared_github():
    with standin() as github:
        yield github


@given(st.lists(st.tuples(UPSERTS, st.lists(FAULTS, max_size=2)), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_upserts_leave_one_comment_a_marker_with_its_last_body_through_any_faults(shared_github, story):
    github, waiting = shared_github, Waiting()
    tracker = tracker_of(github, waiting=waiting)
    number = github.open_issue("requester", "t", "b")
    last: dict[str, str] = {}
    for (marker, body, restarted), faults in story:
        if restarted:
            tracker = tracker_of(github, waiting=waiting)
        for what, method, times in faults:
            github.fail(what, method, f"issues/(comments/|{number}/)", times=times, seconds=2)
        try:
            tracker.upsert_comment(number, marker, body)
        except (Unavailable, RateLimited):
            github.clear_faults()
            waiting.now += 100
            tracker.upsert_comment(number, marker, body)
        github.clear_faults()
        last[marker] = body
        assert len([c for c in github.comments(number) if f"comment {marker} " in c["body"]]) == 1
    assert {c.marker: c.body for c in tracker.issue(number).comments} == last


def test_two_processes_that_race_leave_one_comment(github, number):
    both_have_looked = threading.Barrier(2, timeout=10)

    def meet(request, actor):
        if request.method == "POST" and not both_have_looked.broken:
            both_have_looked.wait()

    trackers = [tracker_of(github), tracker_of(github)]
    end = github.on_write(meet)
    threads = [threading.Thread(target=t.upsert_comment, args=(number, "plan", "same")) for t in trackers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    end()
    assert len(github.comments(number)) == 1
    for tracker in trackers:
        tracker.upsert_comment(number, "plan", "then")
    assert [body for _, body in bodies(github, number)] == ["<!-- mlops:comment plan -->\nthen"]


def test_of_doubles_the_oldest_stays(github, tracker, number):
    github.add_user("platform", permission="write")
    first = github.comment(number, "platform", "<!-- mlops:comment plan -->\nfirst")
    github.comment(number, "stranger", "<!-- mlops:comment plan -->\nforged")
    github.comment(number, "platform", "<!-- mlops:comment plan -->\nsecond")
    assert tracker.upsert_comment(number, "plan", "now").id == str(first)
    assert [body.split("\n")[1] for _, body in bodies(github, number)] == ["now", "forged"]


def test_a_comment_that_a_person_removed_is_written_again(github, tracker, number):
    removed = tracker.upsert_comment(number, "plan", "p")
    github.add_user("maintainer", permission="maintain")
    github.delete_comment(int(removed.id), "maintainer")
    assert tracker.upsert_comment(number, "plan", "p").id != removed.id
    assert len(github.comments(number)) == 1


def test_a_comment_that_a_person_changed_is_put_right(github, tracker, number):
    changed = tracker.upsert_comment(number, "plan", "p")
    github.add_user("maintainer", permission="maintain")
    github.edit_comment(int(changed.id), "maintainer", "<!-- mlops:comment plan -->\nsomething else")
    assert tracker.upsert_comment(number, "plan", "p").body == "p"
    assert bodies(github, number) == [("platform", "<!-- mlops:comment plan -->\np")]


@pytest.mark.parametrize("fault", [500, "close", "lost", "lost-close"])
def test_an_issue_and_a_persons_comment_are_one_whatever_happens_to_the_answer(github, tracker, number, fault):
    tracker.add_comment(number, "/status")
    github.fail(fault, "POST", "comments$")
    tracker.add_comment(number, "/status")
    assert [body for _, body in bodies(github, number)] == ["/status", "/status"]
    tracker.open_issue("same title", "b", [])
    github.fail(fault, "POST", "issues$")
    opened = tracker.open_issue("same title", "b", ["x"])
    assert [issue["number"] for issue in github.issues()] == [number, number + 1, number + 2]
    assert (opened.number, opened.labels) == (number + 2, {"x"})


def test_a_thread_of_many_pages_is_read_and_written_whole(github, tracker, number):
    for count in range(205):
        github.comment(number, "requester", f"comment {count}")
    tracker.upsert_comment(number, "plan", "p")
    read = tracker_of(github).issue(number)
    assert [c.body for c in read.comments][-2:] == ["comment 204", "p"]
    assert len(read.comments) == 206


def test_a_body_longer_than_github_takes_is_cut_and_says_so(github, tracker, number):
    body = "<details>\n\n```\n" + "a line of a log\n" * 6000 + "```\n\n</details>"
    for _ in range(2):
        github.clear_requests()
        stored = tracker.upsert_comment(number, "plan", body)
    assert writes(github) == [], "an equal body is not written again, cut or not"
    assert len(github.comments(number)[0]["body"]) <= LIMIT
    assert "has been cut" in stored.body


# --- labels


def test_every_label_of_the_platform_has_a_colour_and_a_description():
    assert set(LABELS) == {TRIGGER_LABEL, *STATE_LABELS}
    assert all(len(color) == 6 and 0 < len(text) <= 100 for color, text in LABELS.values())


def test_our_labels_are_made_once_and_a_persons_colour_stays(github, tracker, number):
    github.add_user("maintainer", permission="admin")
    github.do("maintainer", "POST", "/repos/acme/models/labels", {"name": "mlops:done", "color": "000000"})
    tracker.set_labels(number, add=["mlops:running"])
    made = {label["name"]: label["color"] for label in github.do("maintainer", "GET", "/repos/acme/models/labels")}
    assert set(LABELS) <= set(made)
    assert (made["mlops:running"], made["mlops:done"]) == (LABELS["mlops:running"][0], "000000")
    github.clear_requests()
    tracker.set_labels(number, add=["mlops:done"], remove=["mlops:running"])
    assert writes(github) == [
        ("POST", f"/repos/acme/models/issues/{number}/labels"),
        ("DELETE", f"/repos/acme/models/issues/{number}/labels/mlops%3Arunning"),
    ]


def test_labels_that_are_right_are_not_written(github, tracker, number):
    tracker.set_labels(number, add=["mlops:running"])
    github.clear_requests()
    tracker.set_labels(number, add=["MLOPS:Running"], remove=["mlops:done", "mlops:failed"])
    assert writes(github) == []
    assert len(sent(github)) == 1


def test_a_label_that_somebody_else_takes_off_at_the_same_time_is_off(github, tracker, number):
    tracker.set_labels(number, add=["mlops:running"])
    github.fail(404, "DELETE")
    tracker.set_labels(number, remove=["mlops:running"])
    github.fail("lost", "DELETE")
    tracker.set_labels(number, remove=["mlops:running"])
    assert "mlops:running" not in github.labels(number)


# --- authority


@pytest.mark.parametrize(
    ("role", "permission"),
    [("none", "read"), ("read", "read"), ("triage", "read"), ("write", "write"), ("maintain", "write"), ("admin", "admin")],
)
def test_roles_are_told_as_what_they_may_do(github, tracker, role, permission):
    github.add_user("somebody", permission=role)
    assert tracker.permission("somebody") == permission


def test_permission_is_asked_for_every_time(github, tracker):
    github.add_user("maintainer", permission="write")
    assert tracker.permission("maintainer") == "write"
    github.add_user("maintainer", permission="read")
    assert tracker.permission("maintainer") == "read"
    assert len(sent(github)) == 2


def test_a_stranger_to_a_private_repository_may_nothing():
    with standin(private=True) as github:
        github.add_user("stranger", permission="none")
        tracker = tracker_of(github)
        assert tracker.permission("stranger") == "none"
        assert tracker.permission("nobody-there") == "none"


@pytest.mark.parametrize("actor", ["", " ", "../../user", "a/b", "a?b", "maintainer/permission?x=", "日本", "a" * 200, "x\n"])
def test_what_is_no_login_may_nothing_and_is_not_asked_for(github, tracker, actor):
    assert tracker.permission(actor) == "none"
    assert not tracker.is_bot(actor)
    assert sent(github) == []


@pytest.mark.parametrize(
    ("answer", "permission"),
    [
        ({"permission": "admin", "role_name": "admin", "user": {"login": "Somebody"}}, "admin"),
        ({"permission": "write", "role_name": "release-crew", "user": {"login": "somebody"}}, "write"),
        ({"permission": "maintain", "role_name": "maintain", "user": None}, "write"),
        ({"permission": "admin", "role_name": "admin", "user": {"login": "renamed-since"}}, "none"),
        ({"permission": "owner-of-everything", "role_name": "x", "user": None}, "none"),
    ],
)
def test_a_permission_that_is_not_surely_theirs_is_none(answer, permission):
    with canned(200, json.dumps(answer).encode()) as api:
        assert GitHubTracker(at(api.url)).permission("somebody") == permission


def test_a_failure_to_ask_is_an_error_and_no_permission(github, tracker):
    github.fail(403, "GET", "permission")
    with pytest.raises(UserError):
        tracker.permission("maintainer")
    github.fail(500, "GET", "permission", times=9)
    with pytest.raises(Unavailable):
        tracker.permission("maintainer")


def test_machine_accounts_are_bots(github, tracker):
    github.add_user("some-bot", permission="admin", bot=True)
    github.add_user("maintainer", permission="admin")
    assert tracker.is_bot("some-bot")
    assert tracker.is_bot("Dependabot[bot]")
    assert not tracker.is_bot("maintainer")
    assert not tracker.is_bot("nobody-there")


def test_the_actor_is_who_the_token_belongs_to_and_no_setting_changes_that(github):
    tracker = tracker_of(github, "maintainer")
    assert tracker.current_actor() == "maintainer"
    assert len([r for r in github.requests if r.path == "/user"]) == 1
    tracker.current_actor()
    assert len([r for r in github.requests if r.path == "/user"]) == 1


# --- what is not an issue, and who is nobody


def pull_request(number: int, **more: object) -> dict[str, object]:
    moment = "2026-01-01T00:00:00Z"
    shown = {"number": number, "title": "t", "state": "open", "created_at": moment, "updated_at": moment, "html_url": "x"}
    return {**shown, "user": None, "labels": [], **more}


def test_a_pull_request_is_no_issue():
    listed = [pull_request(1, pull_request={"url": "x"}), pull_request(2, labels=["plain text", {"name": "mlops:train"}])]
    with canned(200, json.dumps(listed).encode()) as api:
        tracker = GitHubTracker(at(api.url))
        assert [(issue.number, issue.author, issue.body) for issue in tracker.issues()] == [(2, "ghost", "")]
        assert tracker.issues()[0].labels == {"plain text", "mlops:train"}
        assert tracker.changes("mlops:train", None).numbers == (2,)
    with canned(200, json.dumps(listed[0]).encode()) as api, pytest.raises(NotFound, match="pull request"):
        GitHubTracker(at(api.url)).issue(1)


@pytest.mark.parametrize("status", [301, 404, 410])
def test_an_issue_that_moved_or_was_deleted_is_not_found(status):
    with canned(status, b'{"message": "gone"}', Location="https://api.github.com/repositories/1/issues/9") as api:
        tracker = GitHubTracker(at(api.url))
        with pytest.raises(NotFound, match="no issue 7"):
            tracker.issue(7)
        with pytest.raises(NotFound):
            tracker.upsert_comment(7, "plan", "x")
    assert {path for _, path, _ in api.got} <= {
        "/repos/acme/models/issues/7",
        "/repos/acme/models/issues/7/comments?per_page=100",
    }


def test_reactions_in_a_thread_are_read_only_where_there_are_any(github, tracker, number):
    for marker in ("a", "b", "c"):
        tracker.upsert_comment(number, marker, "x")
    tracker.react(number, "b", "+1")
    github.react(github.comments(number)[2]["id"], "requester", "heart")
    github.clear_requests()
    read = client_of(github), tracker.issue(number)
    assert [c.reactions for c in read[1].comments] == [(), (("platform", "+1"),), ()]
    assert len(sent(github)) == 3


def test_an_app_knows_its_own_comments_and_is_a_bot(github, tmp_path, number):
    tracker = GitHubTracker(GitHubClient(app_settings(github, tmp_path)))
    tracker.upsert_comment(number, "plan", "p")
    tracker.upsert_comment(number, "plan", "p2")
    github.comment(number, "mlops-platform", "<!-- mlops:comment plan -->\nforged by an account of a like name")
    github.react(github.comments(number)[0]["id"], "maintainer", "+1")
    read = tracker.issue(number).comments
    assert [(c.marker, c.author) for c in read] == [("plan", "mlops-platform[bot]"), (None, "mlops-platform")]
    assert tracker.reactions([(number, "plan")])[number, "plan"] == (("maintainer", "+1"),)
    assert tracker.is_bot(tracker.current_actor())
    github.add_user("maintainer", permission="maintain")
    assert (tracker.permission("maintainer"), tracker.permission(tracker.current_actor())) == ("write", "none")
