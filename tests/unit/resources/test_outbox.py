"""The outbox with a clock of the test's own, over a real webhook on loopback: when it sends, how often, in which order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.errors import UserError
from mlops_assets.reports.notifications import Event, Notification, NotificationFacts, notification_for
from resources.notifier import Notifier, unconfigured
from resources.outbox import MOST_ATTEMPTS, PENDING, Outbox, waiting_time
from resources.platform import Platform
from resources.settings import Settings
from resources.store import ObjectStore
from tests.standins.http_service import Fault
from tests.standins.slack import SlackWebhook

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore((tmp_path / "store").as_uri(), tmp_path / "cache")


def outbox_of(store: ObjectStore, tmp_path: Path, **changed: object) -> Outbox:
    given = Settings.model_validate({"home": tmp_path / "home", **changed})
    return Outbox(store, Notifier(given, lambda: Platform(given).tracker), tmp_path / "locks")


@pytest.fixture
def outbox(store: ObjectStore, tmp_path: Path, slack: SlackWebhook) -> Outbox:
    return outbox_of(store, tmp_path, slack_webhook_url=slack.url)


def told(training: str = "train-20261120-120000-aaaaaa", line: str = "churn", event: Event = "failed") -> Notification:
    return notification_for(NotificationFacts(event=event, training_id=training, model_id=line, language="en"))


def test_with_nothing_pending_a_round_costs_one_listing(
    store: ObjectStore, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    listing = ObjectStore.keys
    monkeypatch.setattr(ObjectStore, "keys", lambda self, prefix: asked.append(prefix) or listing(self, prefix))
    for name in ("get", "exists", "put", "create"):
        monkeypatch.setattr(ObjectStore, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    report = outbox.deliver(now=START)
    assert (report.delivered, report.waiting, asked) == ((), 0, [PENDING])


def test_what_is_enqueued_is_delivered_once_however_often_it_is_enqueued(outbox: Outbox, slack: SlackWebhook) -> None:
    for _ in range(3):
        outbox.enqueue(told(), ["slack", "slack"], START)
    assert len(outbox.pending()) == 1
    assert [one.state for one in outbox.deliver(now=START).delivered] == ["delivered"]
    outbox.enqueue(told(), ["slack"], START)
    assert outbox.deliver(now=START + timedelta(days=1)).delivered == ()
    assert len(slack.messages) == 1
    settled = outbox.settlement(told().id, "slack")
    assert settled is not None and (settled.state, settled.attempts, settled.at) == ("delivered", 1, START)


def test_a_failing_channel_is_tried_again_after_growing_waits_and_then_given_up_with_the_reason(
    outbox: Outbox, slack: SlackWebhook
) -> None:
    slack.faults = [Fault("500", body=b"rollup_error")] * 50
    outbox.enqueue(told(), ["slack"], START)
    now, waits = START, []
    while pending := outbox.pending():
        due = pending[0].due_at
        assert outbox.deliver(now=due - timedelta(seconds=1)).waiting == 1
        assert slack.requests == pending[0].attempts, "nothing is sent before it is due"
        waits.append((due - now).total_seconds())
        now = due
        outbox.deliver(now=now)
    assert waits == [0, 10, 30, 90, 270, 810, 2430, 3600]
    assert slack.requests == MOST_ATTEMPTS == len(waits)
    settled = outbox.settlement(told().id, "slack")
    assert settled is not None and settled.state == "gave_up"
    assert settled.reason == "Slack answered 500 (rollup_error)" and settled.attempts == 8


def test_a_channel_that_asks_for_more_time_gets_it(outbox: Outbox, slack: SlackWebhook) -> None:
    slack.faults = [Fault("429", retry_after="120")]
    outbox.enqueue(told(), ["slack"], START)
    outbox.deliver(now=START)
    assert outbox.pending()[0].due_at == START + timedelta(seconds=120)
    outbox.deliver(now=START + timedelta(seconds=119))
    assert slack.messages == []
    outbox.deliver(now=START + timedelta(seconds=120))
    assert len(slack.messages) == 1


def test_a_mistake_that_waiting_does_not_mend_is_given_up_at_once(outbox: Outbox, slack: SlackWebhook) -> None:
    slack.faults = [Fault("410", body=b"channel_is_archived")]
    outbox.enqueue(told(), ["slack"], START)
    (ended,) = outbox.deliver(now=START).ended
    assert (ended.state, ended.reason) == ("gave_up", "Slack answered 410 (channel_is_archived)")
    assert outbox.pending() == ()


def test_a_line_keeps_its_order_and_does_not_hold_up_another_line(outbox: Outbox, slack: SlackWebhook) -> None:
    outbox.enqueue(told("train-1", "churn"), ["slack"], START)
    outbox.enqueue(told("train-2", "churn", "deployed"), ["slack"], START + timedelta(seconds=1))
    outbox.enqueue(told("train-3", "income"), ["slack"], START + timedelta(seconds=2))
    slack.faults = [Fault("500")]
    first = outbox.deliver(now=START + timedelta(seconds=3))
    assert [one.name for one in first.held_up] == ["train-1.failed@slack"] and first.waiting == 3
    second = outbox.deliver(now=START + timedelta(seconds=4))
    assert [one.notification_id for one in second.delivered] == ["train-3.failed"]
    third = outbox.deliver(now=START + timedelta(seconds=60))
    assert [one.notification_id for one in third.delivered] == ["train-1.failed", "train-2.deployed"]


def test_a_round_sends_no_more_than_its_limit_and_begins_nothing_after_its_time(outbox: Outbox, slack: SlackWebhook) -> None:
    for number in range(5):
        outbox.enqueue(told(f"train-{number}", f"line-{number}"), ["slack"], START)
    assert outbox.deliver(limit=2, now=START).waiting == 3
    assert outbox.deliver(now=START, seconds=0.0).waiting == 3
    assert len(slack.messages) == 2


def test_channels_that_are_not_set_up_are_recorded_and_never_sent_later(
    store: ObjectStore, tmp_path: Path, outbox: Outbox, slack: SlackWebhook
) -> None:
    bare = outbox_of(store, tmp_path)
    bare.enqueue(told(), ["slack", "carrier_pigeon"], START)
    states = {name: bare.settlement(told().id, name) for name in ("slack", "carrier_pigeon")}
    assert {one.state for one in states.values() if one is not None} == {"not_configured"} and None not in states.values()
    outbox.enqueue(told(), ["slack"], START)
    assert outbox.deliver(now=START).delivered == () and slack.messages == []


def test_a_channel_whose_settings_were_removed_meanwhile_is_recorded(store: ObjectStore, tmp_path: Path, outbox: Outbox) -> None:
    outbox.enqueue(told(), ["slack"], START)
    (ended,) = outbox_of(store, tmp_path).deliver(now=START).ended
    assert ended.state == "not_configured"


def test_unconfigured_names_what_cannot_send(slack: SlackWebhook) -> None:
    bare = Settings()
    asked = ("slack", "email", "pagerduty", "github_issue", "carrier_pigeon", "slack")
    assert unconfigured(asked, bare) == ("slack", "email", "pagerduty", "carrier_pigeon")
    mail = {"smtp_host": "127.0.0.1", "mail_from": "mlops@example.com", "mail_to": ("team@example.com",)}
    full = Settings.model_validate({**mail, "slack_webhook_url": slack.url, "pagerduty_routing_key": "k"})
    assert unconfigured(asked, full) == ("carrier_pigeon",)
    assert unconfigured(["email"], Settings.model_validate({**mail, "smtp_user": "mlops"})) == ("email",)


def test_nobody_is_paged_for_an_approval(store: ObjectStore, tmp_path: Path) -> None:
    box = outbox_of(store, tmp_path, pagerduty_routing_key="k")
    box.enqueue(told(event="approval_needed"), ["pagerduty", "github_issue"], START)
    assert box.pending() == () and box.settlements() == ()


@pytest.mark.parametrize("name", ["../../x", "", "Slack", "a/b", "x" * 80])
def test_a_name_that_is_no_channel_is_refused(outbox: Outbox, name: str) -> None:
    with pytest.raises(UserError, match="channel"):
        outbox.enqueue(told(), [name], START)


def test_while_another_process_delivers_a_round_leaves_it_alone(outbox: Outbox, tmp_path: Path, slack: SlackWebhook) -> None:
    outbox.enqueue(told(), ["slack"], START)
    (tmp_path / "locks").mkdir(exist_ok=True)
    with FileLock(tmp_path / "locks" / "outbox.lock"):
        outbox.deliver(now=START)
        assert outbox.flush() == "" and slack.requests == 0
    assert len(outbox.deliver(now=START).delivered) == 1


def test_an_entry_that_cannot_be_read_is_kept_and_holds_up_nothing(
    outbox: Outbox, store: ObjectStore, slack: SlackWebhook
) -> None:
    store.put(f"{PENDING}/damaged@slack.json", b"")
    outbox.enqueue(told(), ["slack"], START)
    report = outbox.deliver(now=START)
    assert (len(report.delivered), report.waiting) == (1, 1)


def test_flush_says_in_one_line_what_was_not_delivered_and_never_raises(
    outbox: Outbox, store: ObjectStore, slack: SlackWebhook, tmp_path: Path
) -> None:
    assert outbox.flush() == ""
    slack.faults = [Fault("500"), Fault("403", body=b"action_prohibited")]
    outbox.enqueue(told("train-1", "a"), ["slack"], START)
    said = outbox.flush()
    assert "slack: Slack answered 500 (will be tried again)" in said and "\n" not in said
    outbox.enqueue(told("train-2", "b"), ["slack"], START)
    assert "Slack answered 403 (action_prohibited) (given up); 1 more waiting" in outbox.flush()
    (tmp_path / "store").rename(tmp_path / "gone")
    (tmp_path / "store").write_text("not a folder")
    assert "the daemon or the next command tries again" in outbox.flush()


@given(st.lists(st.sampled_from(["ok", "500", "429", "410", "drop"]), max_size=10))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_channel_answers_a_notification_ends_delivered_once_or_given_up(
    tmp_path_factory: pytest.TempPathFactory, slack: SlackWebhook, answers: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("outbox")
    box = outbox_of(ObjectStore((folder / "s").as_uri(), folder / "c"), folder, slack_webhook_url=slack.url)
    slack.messages.clear()
    slack.faults = [Fault(answer) for answer in answers[: answers.index("ok") if "ok" in answers else None]]
    box.enqueue(told(), ["slack"], START)
    rounds = 0
    while pending := box.pending():
        box.deliver(now=pending[0].due_at)
        rounds += 1
        assert rounds <= MOST_ATTEMPTS
    settled = box.settlement(told().id, "slack")
    assert settled is not None
    assert len(slack.messages) == (1 if settled.state == "delivered" else 0)
    assert settled.attempts == rounds


def test_a_clock_that_was_years_ahead_holds_nothing_back(outbox: Outbox, slack: SlackWebhook) -> None:
    slack.faults = [Fault("500")]
    outbox.enqueue(told("train-1", "a"), ["slack"], START + timedelta(days=900))
    outbox.deliver(now=START + timedelta(days=900))
    outbox.enqueue(told("train-2", "b"), ["slack"], START + timedelta(days=900))
    assert len(outbox.deliver(now=START).delivered) == 2 and len(slack.messages) == 2


def test_waits_grow_and_end_at_an_hour() -> None:
    waits = [waiting_time(number) for number in range(1, 30)]
    assert waits == sorted(waits) and waits[0] == timedelta(seconds=10) and waits[-1] == timedelta(hours=1)
