"""Issues, comments and reactions of the stand-in behave as GitHub documents: times, order, filters, pages, conditions."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.standins.github import GitHubStandIn, ManualClock, Refused
from tests.unit.standins.conftest import Ask


def test_a_comment_and_an_edit_change_the_time_of_an_issue_and_a_reaction_does_not(
    github: GitHubStandIn, clock: ManualClock
) -> None:
    number = github.open_issue("requester", "t", "b")
    opened = github.issue(number)["updated_at"]
    clock.advance(10.7)
    comment = github.comment(number, "maintainer", "text")
    commented = github.issue(number)["updated_at"]
    clock.advance(10)
    github.react(comment, "stranger", "+1")
    assert github.issue(number)["updated_at"] == commented > opened
    assert github.comments(number)[0]["updated_at"] == commented
    assert github.comments(number)[0]["reactions"]["+1"] == 1
    github.edit_comment(comment, "maintainer", "other")
    assert github.issue(number)["updated_at"] > commented
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", opened), "times have a resolution of one second"


def test_an_edit_that_changes_nothing_leaves_the_time(github: GitHubStandIn, clock: ManualClock) -> None:
    number = github.open_issue("requester", "t", "b", ["x"])
    comment = github.comment(number, "maintainer", "same")
    before = github.issue(number)
    clock.advance(60)
    github.edit_comment(comment, "maintainer", "same")
    github.edit_issue(number, "requester", title="t", body="b")
    github.label(number, "maintainer", "x")
    assert github.issue(number) == before


def test_an_unchanged_answer_costs_nothing(github: GitHubStandIn, ask: Ask) -> None:
    number = github.open_issue("requester", "t", "b")
    comment = github.comment(number, "maintainer", "text")
    path = "/issues/comments?sort=updated&direction=desc&per_page=100"
    first = ask("maintainer", "GET", path)
    again = ask("maintainer", "GET", path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["x-ratelimit-remaining"] == first.headers["x-ratelimit-remaining"]
    assert first.headers["ETag"].startswith('W/"')
    github.react(comment, "stranger", "+1")
    changed = ask("maintainer", "GET", path, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200, "the roll-up of reactions is part of the body"
    assert [(each.status, each.conditional, each.not_modified) for each in github.requests] == [
        (200, False, False),
        (304, True, True),
        (200, True, False),
    ]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(more=st.integers(0, 40), size=st.integers(1, 45))
def test_following_links_sees_every_issue_once(github: GitHubStandIn, ask: Ask, more: int, size: int) -> None:
    for k in range(more):
        github.open_issue("requester", f"t{k}", "b", ["mlops:train"])
    here = len(github.url) + len("/repos/acme/models")
    seen: list[int] = []
    path: str | None = f"/issues?labels=mlops%3Atrain&per_page={size}&direction=asc"
    while path:
        answer = ask("maintainer", "GET", path)
        seen += [issue["number"] for issue in answer.json()]
        assert len(answer.json()) <= size
        following = answer.links.get("next", {}).get("url")
        assert following is None or following.startswith(f"{github.url}/repos/acme/models/issues?")
        path = following[here:] if following else None
    assert seen == [issue["number"] for issue in github.issues()]


def test_a_page_holds_a_hundred_at_most(github: GitHubStandIn, ask: Ask) -> None:
    for k in range(101):
        github.open_issue("requester", f"t{k}", "b")
    answer = ask(None, "GET", "/issues?per_page=1000")
    assert len(answer.json()) == 100
    assert set(answer.links) == {"next", "last"}
    assert set(ask(None, "GET", "/issues?per_page=50&page=2").links) == {"prev", "next", "first", "last"}
    assert ask(None, "GET", "/issues?per_page=50&page=9").json() == []


def test_filters_and_orders_of_the_list(github: GitHubStandIn, clock: ManualClock, ask: Ask) -> None:
    first = github.open_issue("requester", "first", "b", ["mlops:train", "other"])
    clock.advance(5)
    second = github.open_issue("stranger", "second", "b", ["MLOPS:train"])
    clock.advance(5)
    moment = clock.now
    github.comment(first, "requester", "text")
    github.close_issue(second, "maintainer")

    def listed(query: str) -> list[int]:
        return [issue["number"] for issue in ask(None, "GET", f"/issues?{query}").json()]

    assert listed("") == [first]
    assert listed("state=all") == [second, first]
    assert listed("state=all&direction=asc") == [first, second]
    assert listed("state=all&labels=mlops:train") == [second, first], "labels know no case"
    assert listed("state=all&labels=mlops:train,other") == [first]
    assert listed("state=closed") == [second]
    assert listed("state=all&creator=stranger") == [second]
    assert listed(f"state=all&since={moment:%Y-%m-%dT%H:%M:%SZ}") == [second, first], "at that second, too"
    clock.advance(1)
    assert listed(f"state=all&since={clock.now:%Y-%m-%dT%H:%M:%SZ}") == []


def test_comments_of_the_repository_by_their_last_change(github: GitHubStandIn, clock: ManualClock, ask: Ask) -> None:
    one, other = (github.open_issue("requester", title, "b") for title in ("one", "other"))
    ids = []
    for number in (one, other, one):
        ids.append(github.comment(number, "requester", "text"))
        clock.advance(5)
    github.edit_comment(ids[0], "requester", "changed")
    newest = ask(None, "GET", "/issues/comments?sort=updated&direction=desc").json()
    assert [comment["id"] for comment in newest] == [ids[0], ids[2], ids[1]]
    since = datetime.fromisoformat(newest[1]["updated_at"])
    assert len(ask(None, "GET", f"/issues/comments?since={since:%Y-%m-%dT%H:%M:%SZ}").json()) == 2
    assert newest[0]["issue_url"] == f"{github.url}/repos/acme/models/issues/{one}"


def test_one_account_reacts_once_in_one_way(github: GitHubStandIn) -> None:
    comment = github.comment(github.open_issue("requester", "t", "b"), "maintainer", "text")
    assert github.react(comment, "stranger", "+1") == github.react(comment, "stranger", "+1")
    github.react(comment, "stranger", "-1")
    github.react(comment, "maintainer", "+1")
    assert github.reactions(comment) == [("stranger", "+1"), ("stranger", "-1"), ("maintainer", "+1")]
    github.unreact(comment, "stranger", "+1")
    assert github.reactions(comment) == [("stranger", "-1"), ("maintainer", "+1")]


def test_a_locked_issue_takes_comments_only_of_those_who_may_write(github: GitHubStandIn) -> None:
    number = github.open_issue("requester", "t", "b")
    github.do("maintainer", "PUT", f"/repos/acme/models/issues/{number}/lock", {})
    with pytest.raises(Refused, match="locked") as refused:
        github.comment(number, "requester", "text")
    assert refused.value.status == 403
    github.comment(number, "maintainer", "text")


def test_the_body_of_a_comment_is_kept_as_it_was_sent(github: GitHubStandIn, ask: Ask) -> None:
    number = github.open_issue("requester", "題", "本文\r\n")
    body = "表 | 値\n\n<!-- mlops:plan -->\u2028👍"
    sent = ask("maintainer", "POST", f"/issues/{number}/comments", json={"body": body})
    assert sent.json()["body"] == github.comments(number)[0]["body"] == body
    assert github.issue(number)["body"] == "本文\r\n"
