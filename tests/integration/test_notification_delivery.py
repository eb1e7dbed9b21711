"""Notifications over real loopback servers: every channel, their failures, kills at every point, and secrets that stay secret."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dagster import DagsterInstance, DefaultSensorStatus, SkipReason, build_sensor_context

import jobs.commands  # noqa: F401  registers the commands
from jobs.command_line import cli
from mlops_assets.definitions import defs
from mlops_assets.reports.notifications import Event, Notification, NotificationFacts, notification_for
from resources import notifier as notifier_module
from resources.channels.github_issue import ALERT_LABEL
from resources.notifier import Notifier, Undelivered, installed_channels
from resources.outbox import Outbox
from resources.platform import Platform
from resources.settings import Settings
from resources.store import ObjectStore
from sensors.notifications import deliver_notifications, notification_sensor
from tests.standins.http_service import Fault
from tests.standins.pagerduty import KEY, PagerDutyEvents
from tests.standins.slack import SlackWebhook, problems
from tests.standins.smtp import PASSWORD, USER, SmtpService, make_certificates

pytestmark = [
    pytest.mark.service,
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),  # a relay on this machine
]

ROOT = Path(__file__).resolve().parents[2]
SECRET = "secretsecretsecretsecret"
THREAD = "https://github.com/owner/name/issues/12"
HOSTILE = "<!channel> <@U012AB3CD> & *解約*\r\nBcc: victim@example.com\r\n\r\n<script>alert(1)</script>"


def told(event: Event = "failed", training: str = "train-20261120-120000-aaaaaa", **more: Any) -> Notification:
    given: dict[str, Any] = {"model_id": "churn", "language": "ja", "issue": 12, "issue_title": "解約予測", "issue_url": THREAD}
    return notification_for(NotificationFacts(event=event, training_id=training, **{**given, **more}))


def send(channel: str, notification: Notification, seconds: float = 8.0, **changed: Any) -> None:
    given = Settings.model_validate(changed)
    Notifier(given, lambda: Platform(given).tracker, seconds).send(channel, notification, 1)


def failure(channel: str, notification: Notification, **changed: Any) -> Undelivered:
    with pytest.raises(Undelivered) as caught:
        send(channel, notification, **changed)
    return caught.value


@pytest.fixture
def slack() -> Iterator[SlackWebhook]:
    with SlackWebhook() as service:
        yield service


@pytest.fixture
def pagerduty() -> Iterator[PagerDutyEvents]:
    with PagerDutyEvents() as service:
        yield service


# --- Slack ------------------------------------------------------------------------------------------------------------


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


# --- PagerDuty --------------------------------------------------------------------------------------------------------


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


# --- e-mail -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def trusted(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "authority.pem"))


def mail_settings(service: SmtpService, security: str, **more: Any) -> dict[str, Any]:
    return {
        "smtp_host": "127.0.0.1",
        "smtp_port": service.port,
        "smtp_security": security,
        "smtp_user": USER,
        "smtp_password": PASSWORD,
        "mail_from": "MLOps 基盤 <mlops@example.com>",
        "mail_to": ("team@example.com", "lead@example.com"),
        **more,
    }


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_a_mail_arrives_over_every_kind_of_connection(certificates: Path, security: Any) -> None:
    with SmtpService(security, certificates) as service:
        send("email", told("deployed", version="v1.0.0", environment="dev"), **mail_settings(service, security))
    (mail,) = service.mails
    assert service.recipients == [("team@example.com", "lead@example.com")]
    assert service.was_encrypted == [security != "none"]
    assert mail["Subject"] == "[mlops] デプロイ完了: churn（#12 解約予測）"
    assert mail["From"] == "MLOps 基盤 <mlops@example.com>"
    parts = {part.get_content_type(): part.get_content() for part in mail.iter_parts()}
    assert "v1.0.0" in parts["text/plain"] and THREAD in parts["text/plain"]
    assert f'href="{THREAD}"' in parts["text/html"] and 'lang="ja"' in parts["text/html"]


def test_a_repeated_mail_has_the_same_message_id_and_a_trainings_mails_one_thread(certificates: Path) -> None:
    with SmtpService("none", certificates) as service:
        for notification in (told("approval_needed"), told("failed"), told("failed")):
            send("email", notification, **mail_settings(service, "none"))
    ids = [mail["Message-ID"] for mail in service.mails]
    assert ids[1] == ids[2] != ids[0] and all(one.endswith("@example.com>") for one in ids)
    assert len({mail["References"] for mail in service.mails}) == 1
    assert {mail["Auto-Submitted"] for mail in service.mails} == {"auto-generated"}


def test_a_hostile_title_adds_no_header_no_recipient_and_no_markup_to_a_mail(certificates: Path) -> None:
    with SmtpService("none", certificates) as service:
        send("email", told(issue_title=HOSTILE, error=HOSTILE, by=HOSTILE), **mail_settings(service, "none"))
    (mail,) = service.mails
    assert mail["Bcc"] is None and service.recipients == [("team@example.com", "lead@example.com")]
    assert mail.keys().count("Subject") == 1 and "<!channel>" in mail["Subject"]
    markup = next(part.get_content() for part in mail.iter_parts() if part.get_content_subtype() == "html")
    assert "<script" not in markup and "&lt;script&gt;" in markup


@pytest.mark.parametrize(
    ("answer", "retryable"), [("451 try later", True), ("421 closing", True), ("554 no", False), ("552 too large", False)]
)
def test_how_the_mail_server_refuses_decides_whether_it_is_tried_again(certificates: Path, answer: str, retryable: bool) -> None:
    with SmtpService("none", certificates) as service:
        service.answers = [answer]
        failed = failure("email", told(), **mail_settings(service, "none"))
    assert failed.retryable is retryable and answer[:3] in failed.reason
    assert service.mails == []


@pytest.mark.parametrize(("answer", "retryable"), [("450 greylisted", True), ("550 unknown", False)])
def test_refused_recipients_are_counted_and_the_others_get_no_second_mail(
    certificates: Path, answer: str, retryable: bool
) -> None:
    with SmtpService("none", certificates) as service:
        service.refused_recipients = {"team@example.com": answer, "lead@example.com": answer}
        assert failure("email", told(), **mail_settings(service, "none")).retryable is retryable
        del service.refused_recipients["lead@example.com"]
        failed = failure("email", told(), **mail_settings(service, "none"))
    assert not failed.retryable and "1 of 2 recipients" in failed.reason
    assert service.recipients == [("lead@example.com",)]


@pytest.mark.usefixtures("trusted")
def test_a_wrong_password_is_not_tried_again_and_not_told(certificates: Path) -> None:
    with SmtpService("starttls", certificates) as service:
        failed = failure("email", told(), **mail_settings(service, "starttls", smtp_password="wrong horse"))
    assert not failed.retryable and "refused user and password" in failed.reason and "wrong horse" not in str(failed)


def test_a_certificate_that_cannot_be_trusted_gets_neither_mail_nor_password(certificates: Path) -> None:
    for security in ("starttls", "tls"):
        with SmtpService(security, certificates) as service:  # type: ignore[arg-type]
            failed = failure("email", told(), **mail_settings(service, security))
        assert "certificate" in failed.reason and service.mails == []


def test_a_server_without_starttls_gets_nothing(certificates: Path) -> None:
    with SmtpService("none", certificates) as service:
        failed = failure("email", told(), **mail_settings(service, "starttls"))
    assert not failed.retryable and "STARTTLS" in failed.reason and service.mails == []


def test_a_password_never_leaves_this_machine_without_tls(certificates: Path) -> None:
    with SmtpService("none", certificates) as service:
        failed = failure("email", told(), **mail_settings(service, "none", smtp_host="mail.example.com"))
    assert not failed.retryable and "TLS" in failed.reason


@pytest.mark.parametrize(
    "changed", [{"mail_from": "nobody"}, {"mail_from": "a@b.c\r\nBcc: x@y.z"}, {"mail_to": ("team@example.com", "x")}]
)
def test_addresses_that_are_none_are_a_mistake_in_the_settings(certificates: Path, changed: dict[str, Any]) -> None:
    with SmtpService("none", certificates) as service:
        failed = failure("email", told(), **mail_settings(service, "none", **changed))
    assert not failed.retryable and "mail_from and mail_to" in failed.reason and service.mails == []


def test_a_server_that_hangs_up_or_is_not_there_is_tried_again(certificates: Path) -> None:
    with SmtpService("none", certificates) as service:
        given = mail_settings(service, "none")
        service.answers = ["drop"]
        failed = failure("email", told(), **given)
        assert failed.retryable and "closed the connection" in failed.reason
        send("email", told(), **given)
    failed = failure("email", told(), **given)
    assert failed.retryable and "refused" in failed.reason


def test_a_password_that_smtp_cannot_carry_is_a_mistake_in_the_settings_and_not_told(certificates: Path) -> None:
    with SmtpService("none", certificates) as service:
        failed = failure("email", told(), **mail_settings(service, "none", smtp_password="合言葉"))
    assert not failed.retryable and "smtp_password" in failed.reason and "合言葉" not in failed.reason


# --- an issue of its own ----------------------------------------------------------------------------------------------


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


# --- plug-ins ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution of somebody else with three channels: one that works, one with a bug, one that cannot be imported."""
    folder = tmp_path / "site"
    points = folder / "pigeons-1.0.dist-info"
    points.mkdir(parents=True)
    (points / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeons\nVersion: 1.0\n")
    names = "pigeon = pigeons:Pigeon\nlost = pigeons:Lost\nbroken = no_such_module:X\n"
    (points / "entry_points.txt").write_text(f"[mlops.notification_channels]\n{names}")
    (folder / "pigeons.py").write_text(
        "class Pigeon:\n"
        "    arrived = []\n"
        "    def __init__(self, settings, tracker): pass\n"
        "    @classmethod\n"
        "    def lacking(cls, settings): return ()\n"
        "    @classmethod\n"
        "    def takes(cls, event): return True\n"
        "    def send(self, notification, attempt): self.arrived.append((notification.id, attempt))\n"
        "class Lost(Pigeon):\n"
        "    def send(self, notification, attempt): raise ZeroDivisionError('a bug')\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    caches = (notifier_module._points, notifier_module.channel_class)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.usefixtures("plugin")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_channel_of_another_package_is_used_and_its_mistakes_stop_nobody_else(platform: Platform) -> None:
    import pigeons  # type: ignore[import-not-found]

    assert {"pigeon", "slack", "email", "pagerduty", "github_issue"} <= set(installed_channels())
    platform.outbox.enqueue(told(), ["lost", "broken", "pigeon"])
    report = platform.outbox.deliver()
    assert pigeons.Pigeon.arrived == [(told().id, 1)]
    assert [one.channel for one in report.held_up] == ["lost"] and "error of its own" in str(report.held_up[0].reason)
    broken = platform.outbox.settlement(told().id, "broken")
    assert broken is not None and broken.state == "not_configured"


# --- killed processes -------------------------------------------------------------------------------------------------

DELIVER_AND_DIE = """
import os, signal, sys
from resources.platform import Platform
from resources.store import ObjectStore

def dying(name, before):
    original = getattr(ObjectStore, name)
    def call(self, key, *rest):
        if not key.startswith("outbox/"):
            return original(self, key, *rest)
        if before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(self, key, *rest)
        os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(ObjectStore, name, call)

name, before = sys.argv[1:]
dying(name, before == "before")
Platform().outbox.deliver()
"""


def deliver_in_a_process(platform: Platform, url: str, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "MLOPS_HOME": str(platform.home), "MLOPS_SLACK_WEBHOOK_URL": url, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", DELIVER_AND_DIE, *words], env=environment, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("effect", "moment", "messages"),
    [
        ("put", "before", 1),  # before the attempt is written down: nothing has been sent
        ("put", "after", 1),  # written down, not sent
        ("create", "before", 2),  # sent, success not written down: the one repeat
        ("create", "after", 1),  # written down, still pending
        ("remove", "before", 1),
        ("remove", "after", 1),
    ],
)
def test_a_process_killed_anywhere_sends_at_most_one_repeat_and_loses_nothing(
    platform: Platform, slack: SlackWebhook, effect: str, moment: str, messages: int
) -> None:
    given = Settings(home=platform.home, slack_webhook_url=slack.url)  # type: ignore[arg-type]
    box = Platform(given).outbox
    box.enqueue(told(), ["slack"])
    killed = deliver_in_a_process(platform, slack.url, effect, moment)
    _, errors = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, errors
    box.enqueue(told(), ["slack"])
    box.deliver(now=datetime.now(UTC) + timedelta(minutes=1))
    assert len(slack.messages) == messages
    assert all(message == slack.messages[0] for message in slack.messages), "a repeat carries the same id"
    settled = box.settlement(told().id, "slack")
    assert settled is not None and settled.state == "delivered" and box.pending() == ()


def test_a_process_killed_while_it_waits_for_the_answer_is_carried_on_by_another(platform: Platform, slack: SlackWebhook) -> None:
    slack.faults = [Fault("hang", after=True, seconds=30)]
    box = Platform(Settings(home=platform.home, slack_webhook_url=slack.url)).outbox  # type: ignore[arg-type]
    box.enqueue(told(), ["slack"])
    process = deliver_in_a_process(platform, slack.url, "checkout", "after")
    while not slack.messages:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert box.deliver().delivered == (), "not before the waiting time of the attempt that was interrupted"
    assert len(box.deliver(now=datetime.now(UTC) + timedelta(minutes=1)).delivered) == 1
    assert len(slack.messages) == 2


# --- the sensor, the command line, S3 ---------------------------------------------------------------------------------


def tick(platform: Platform) -> str:
    with DagsterInstance.ephemeral() as instance:
        context = build_sensor_context(
            instance=instance, repository_def=defs.get_repository_def(), resources={"platform": platform}
        )
        result = deliver_notifications(context)
    assert isinstance(result, SkipReason)
    return result.skip_message or ""


def test_the_sensor_runs_by_default_every_ten_seconds_and_delivers(platform: Platform, slack: SlackWebhook) -> None:
    registered = defs.resolve_sensor_def(notification_sensor.name)
    assert (registered.default_status, registered.minimum_interval_seconds) == (DefaultSensorStatus.RUNNING, 10)
    assert tick(platform) == "no notification is waiting"
    box = Platform(Settings(home=platform.home, slack_webhook_url=slack.url))  # type: ignore[arg-type]
    box.outbox.enqueue(told(), ["slack"])
    assert "delivered 1" in tick(box) and len(slack.messages) == 1
    slack.faults = [Fault("500")]
    box.outbox.enqueue(told("deployed"), ["slack"])
    assert "Slack answered 500" in tick(box)


def test_a_tick_over_ten_lines_with_a_silent_server_ends_in_time(platform: Platform, slack: SlackWebhook) -> None:
    slack.faults = [Fault("hang", seconds=60)] * 10
    silent = Platform(Settings(home=platform.home, slack_webhook_url=slack.url))  # type: ignore[arg-type]
    for number in range(10):
        silent.outbox.enqueue(told(training=f"train-{number}", model_id=f"line-{number}"), ["slack"])
    started = time.monotonic()
    assert "no answer within 5 s" in tick(silent)
    assert time.monotonic() - started < 8, "one attempt; the other nine wait for the channel to answer again"
    assert slack.requests == 1


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["notify", *words])


@pytest.mark.usefixtures("platform")
def test_the_command_says_what_to_set_where_a_channel_is_not_set_up() -> None:
    result = run("test", "email")
    assert result.exit_code == 2
    for setting in ("MLOPS_SMTP_HOST", "MLOPS_MAIL_FROM", "MLOPS_MAIL_TO", "mlops.toml"):
        assert setting in result.stderr
    assert run("test", "carrier_pigeon").exit_code == 2 and "slack" in run("test", "carrier_pigeon").stderr


def test_the_command_sends_a_test_through_every_channel(
    platform: Platform, slack: SlackWebhook, pagerduty: PagerDutyEvents, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_SLACK_WEBHOOK_URL", slack.url)
    monkeypatch.setenv("MLOPS_PAGERDUTY_URL", pagerduty.url)
    monkeypatch.setenv("MLOPS_PAGERDUTY_ROUTING_KEY", KEY)
    with SmtpService("none", certificates) as service:
        for name, value in mail_settings(service, "none", mail_to='["team@example.com"]').items():
            monkeypatch.setenv(f"MLOPS_{name.upper()}", str(value))
        for channel in ("slack", "pagerduty", "email", "github_issue"):
            result = run("test", channel)
            assert result.exit_code == 0, result.output
            assert f"{channel} took the test notification" in result.stdout
    assert "Test notification" in slack.shown() and len(service.mails) == 1
    assert set(pagerduty.incidents.values()) == {"resolved"}, "nobody is woken up by a test"
    assert len(platform.tracker.issues(label=ALERT_LABEL)) == 1


def test_the_command_lists_what_is_on_its_way_and_what_ended(
    platform: Platform, slack: SlackWebhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("list").stdout == "no notifications yet\n"
    monkeypatch.setenv("MLOPS_SLACK_WEBHOOK_URL", slack.url)
    slack.faults = [Fault("500")]
    box = Platform().outbox
    box.enqueue(told(), ["slack", "email"])
    box.deliver()
    assert "Slack answered 500" in run("list").stdout and "not configured" in run("list").stdout
    listed = json.loads(run("list", "--json").stdout)
    assert [one["channel"] for one in listed["pending"]] == ["slack"] and listed["settled"][0]["state"] == "not_configured"


@pytest.mark.parametrize("fault", ["404", "500", "drop", "302"])
def test_the_address_of_a_webhook_is_in_no_output_error_log_or_stored_object(
    platform: Platform, slack: SlackWebhook, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MLOPS_SLACK_WEBHOOK_URL", slack.url)
    slack.faults = [Fault(fault, body=f"no such path: {slack.path}".encode())] * 4
    sending = Platform()
    result = run("test", "slack")
    assert result.exit_code == 1
    sending.outbox.enqueue(told(), ["slack"])
    seen = [result.output, repr(result.exception), tick(sending), sending.outbox.flush(), run("list", "--json").output]
    seen += [repr(sending.settings), repr(sending.outbox), str(vars(sending.outbox)), caplog.text, *capfd.readouterr()]
    failed = failure("slack", told(), slack_webhook_url=slack.url)
    seen += [repr(failed), str(failed), repr(failed.__context__), repr(failed.__cause__)]
    seen += [path.read_text(errors="replace") for path in platform.home.rglob("*") if path.is_file()]
    assert SECRET in slack.url
    assert not [text for text in seen if SECRET in text]


def test_the_outbox_keeps_its_promises_on_s3(tmp_path: Path, slack: SlackWebhook, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="mlops")
        given = Settings(slack_webhook_url=slack.url)  # type: ignore[arg-type]
        store = ObjectStore("s3://mlops/x", tmp_path / "cache", s3_endpoint=endpoint)
        box = Outbox(store, Notifier(given, lambda: Platform(given).tracker), tmp_path / "locks")
        slack.faults = [Fault("500")]
        for _ in range(2):
            box.enqueue(told(), ["slack", "email"])
        assert len(box.deliver().held_up) == 1
        assert len(box.deliver(now=datetime.now(UTC) + timedelta(minutes=1)).delivered) == 1
        assert box.deliver().waiting == 0 and len(slack.messages) == 1
        assert {one.channel: one.state for one in box.settlements()} == {"slack": "delivered", "email": "not_configured"}
    finally:
        server.stop()
