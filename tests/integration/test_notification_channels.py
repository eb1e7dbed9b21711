"""Slack, PagerDuty and alert issues over loopback: what arrives, which failures are repeated, and that a title adds nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from notification_senders import HOSTILE, SECRET, THREAD, failure, send, told

from mlops_assets.reports.notifications import Notification
from resources.channels.github_issue import ALERT_LABEL
from resources.notifier import Notifier, Undelivered
from resources.platform import Platform
from tests.standins.http_service import Fault
from tests.standins.pagerduty import KEY, PagerDutyEvents
from tests.standins.slack import SlackWebhook, problems

pytestmark = [pytest.mark.service]


def test_a_slack_message_says_what_happened_in_the_issues_language_with_a_link_to_the_thread(slack: SlackWebhook) -> None:
    send("slack", told("approval_needed"), slack_webhook_url=slack.url)
    shown = slack.shown()
    assert "承認待ち" in shown and "解約予測" in shown and f"<{THREAD}|スレッド>" in shown
    assert told("approval_needed").id in shown, "a repeat is recognisable"
    assert slack.messages[0]["text"], "what a phone shows"


def test_a_hostile_title_mentions_nobody_on_slack_and_is_shown_as_typed(slack: SlackWebhook) -> None:
    send("slack", told(issue_title=HOSTILE, error=HOSTILE * 200, by=HOSTILE), slack_webhook_url=slack.url)
    assert len(slack.messages) == 1 and slack.mentions() == []
    assert "<!channel> <@\u200dU012AB3CD> & *解約*" in slack.shown()


def test_the_slack_stand_in_refuses_what_slack_refuses(slack: SlackWebhook) -> None:
    def header(text: str) -> dict[str, Any]:
        return {"type": "header", "text": {"type": "plain_text", "text": text}}

    assert problems(header("x" * 150)) == [] and problems(header("x" * 151)) and problems(header(""))
    assert problems(header("<!channel>")) and problems(header("a & b")) and not problems(header("a &amp; b"))
    assert problems({"type": "sektion"})


@pytest.mark.parametrize(
    ("fault", "retryable", "said"),
    [
        (Fault("429", retry_after="30"), True, "Slack answered 429"),
        (Fault("500", body=b"rollup_error"), True, "Slack answered 500 (rollup_error)"),
        (Fault("503", body=b"<html>" + SECRET.encode()), True, "Slack answered 503"),
        (Fault("400", body=b"invalid_blocks"), False, "Slack answered 400 (invalid_blocks)"),
        (Fault("403", body=b"action_prohibited"), False, "Slack answered 403 (action_prohibited)"),
        (Fault("404", body=b"no_service"), False, "Slack answered 404 (no_service)"),
        (Fault("302"), False, "Slack answered 302"),
        (Fault("drop"), True, "the connection failed"),
        (Fault("drop", after=True), True, "the connection failed"),
    ],
)
def test_how_slack_refuses_decides_whether_it_is_tried_again(
    slack: SlackWebhook, fault: Fault, retryable: bool, said: str
) -> None:
    slack.faults = [fault]
    failed = failure("slack", told(), slack_webhook_url=slack.url)
    assert failed.retryable is retryable and failed.reason.startswith(said)
    assert failed.retry_after == (30.0 if fault.retry_after else None)
    assert slack.requests == 1, "one attempt is one request"


def test_retry_after_may_be_a_date_or_nonsense(slack: SlackWebhook) -> None:
    later = (datetime.now(UTC) + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    slack.faults = [Fault("429", retry_after=text) for text in (later, "soon", "-5", "9" * 9)]
    found = [failure("slack", told(), slack_webhook_url=slack.url).retry_after for _ in range(4)]
    assert found[0] is not None and 60 < found[0] <= 90
    assert found[1:] == [None, None, 3600.0]


def test_a_server_that_never_answers_costs_no_more_than_the_time_of_one_attempt(slack: SlackWebhook) -> None:
    slack.faults = [Fault("hang", seconds=20)]
    started = time.monotonic()
    with pytest.raises(Undelivered, match=r"no answer within 0\.5 s") as caught:
        send("slack", told(), seconds=0.5, slack_webhook_url=slack.url)
    assert caught.value.retryable and time.monotonic() - started < 3


@pytest.mark.parametrize(
    "url", [f"http://hooks.example.com/{SECRET}", f"{SECRET}", f"https://[{SECRET}", f"https://x/{SECRET} y", f"ftp://x/{SECRET}"]
)
def test_an_address_that_cannot_be_used_is_a_mistake_in_the_settings_and_is_not_repeated(url: str) -> None:
    failed = failure("slack", told(), slack_webhook_url=url)
    assert not failed.retryable and "slack_webhook_url" in failed.reason and SECRET not in failed.reason


def test_where_nothing_answers_it_is_tried_again(slack: SlackWebhook) -> None:
    failed = failure("slack", told(), slack_webhook_url=f"http://127.0.0.1:1/{SECRET}")
    assert failed.retryable and "connection refused" in failed.reason and SECRET not in failed.reason


def page(service: PagerDutyEvents, notification: Notification) -> None:
    send("pagerduty", notification, pagerduty_routing_key=KEY, pagerduty_url=service.url)


def test_failures_of_a_line_are_one_incident_that_its_next_deployment_closes(pagerduty: PagerDutyEvents) -> None:
    page(pagerduty, told("failed", "train-1"))
    page(pagerduty, told("failed", "train-1"))
    page(pagerduty, told("retries_exhausted", "train-2"))
    assert pagerduty.incidents == {"mlops/churn": "open"} and pagerduty.opened == ["mlops/churn"]
    page(pagerduty, told("deployed", "train-9", model_id="income"))
    assert pagerduty.incidents == {"mlops/churn": "open"}
    page(pagerduty, told("deployed", "train-3"))
    assert pagerduty.incidents == {"mlops/churn": "resolved"}


def test_an_event_says_how_grave_it_is_and_keeps_its_limits(pagerduty: PagerDutyEvents) -> None:
    page(pagerduty, told("retries_exhausted", issue_title="長" * 5000, error="x" * 50_000, model_id="c" * 63))
    payload = pagerduty.events[0]["payload"]
    assert payload["severity"] == "critical" and len(payload["summary"]) <= 1024
    assert pagerduty.events[0]["links"] == [{"href": THREAD, "text": "スレッド"}]


@pytest.mark.parametrize(
    ("fault", "retryable"),
    [(Fault("429"), True), (Fault("500"), True), (Fault("drop"), True), (Fault("403"), False), (Fault("200"), False)],
)
def test_how_pagerduty_refuses_decides_whether_it_is_tried_again(
    pagerduty: PagerDutyEvents, fault: Fault, retryable: bool
) -> None:
    pagerduty.faults = [fault]
    assert failure("pagerduty", told(), pagerduty_routing_key=KEY, pagerduty_url=pagerduty.url).retryable is retryable


def test_a_wrong_key_is_explained_in_pagerdutys_words_without_the_key(pagerduty: PagerDutyEvents) -> None:
    wrong = "f" * 32
    failed = failure("pagerduty", told(), pagerduty_routing_key=wrong, pagerduty_url=pagerduty.url)
    assert not failed.retryable and "is not an active integration key" in failed.reason and wrong not in failed.reason


def test_a_grave_problem_opens_one_issue_that_leads_to_the_thread(platform: Platform) -> None:
    sender = Notifier(platform.settings, lambda: platform.tracker)
    for attempt in (1, 2):
        sender.send("github_issue", told(issue_title=HOSTILE), attempt)
    sender.send("github_issue", told("retries_exhausted", "train-2"), 1)
    first, second = platform.tracker.issues(label=ALERT_LABEL)
    assert THREAD in first.body and "#12" in first.body and "学習失敗" in first.title
    assert "<script>" not in first.body and "再試行の上限" in second.title


def test_an_alert_that_a_person_has_closed_is_not_opened_again(platform: Platform) -> None:
    sender = Notifier(platform.settings, lambda: platform.tracker)
    sender.send("github_issue", told(), 1)
    (path,) = (platform.home / "issues").glob("*.md")
    path.write_text(path.read_text(encoding="utf-8").replace('"state": "open"', '"state": "closed"'), encoding="utf-8")
    sender.send("github_issue", told(), 2)
    assert len(platform.tracker.issues(state="all")) == 1


def test_somebody_elses_text_that_looks_like_the_marker_stops_no_alert(platform: Platform) -> None:
    platform.tracker.open_issue("x", f"<!-- mlops-alert:{told().id} -->", ["mlops:train"])
    Notifier(platform.settings, lambda: platform.tracker).send("github_issue", told(), 1)
    assert len(platform.tracker.issues(label=ALERT_LABEL)) == 1


def test_a_tracker_that_cannot_be_written_is_tried_again(platform: Platform) -> None:
    platform.home.mkdir(parents=True)
    (platform.home / "issues").write_text("not a folder")
    with pytest.raises(Undelivered) as caught:
        Notifier(platform.settings, lambda: platform.tracker).send("github_issue", told(), 1)
    assert caught.value.retryable
