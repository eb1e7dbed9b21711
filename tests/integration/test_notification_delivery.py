"""From the outbox to the channels: plug-ins, kills at every point, the sensor, the command line, S3, and secret addresses."""

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

import pytest
from click.testing import CliRunner, Result
from dagster import DagsterInstance, DefaultSensorStatus, SkipReason, build_sensor_context
from installation import ROOT
from notification_senders import SECRET, failure, mail_settings, told

import jobs.commands  # noqa: F401  registers the commands
from jobs.command_line import cli
from mlops_assets.definitions import defs
from resources import notifier as notifier_module
from resources.channels.github_issue import ALERT_LABEL
from resources.notifier import Notifier, installed_channels
from resources.outbox import Outbox
from resources.platform import Platform
from resources.settings import Settings
from resources.store import ObjectStore
from sensors.notifications import deliver_notifications, notification_sensor
from tests.standins.http_service import Fault
from tests.standins.pagerduty import KEY, PagerDutyEvents
from tests.standins.slack import SlackWebhook
from tests.standins.smtp import SmtpService

pytestmark = [
    pytest.mark.service,
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),  # a relay on this machine
]


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
    platform: Platform, slack: SlackWebhook, pagerduty: PagerDutyEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_SLACK_WEBHOOK_URL", slack.url)
    monkeypatch.setenv("MLOPS_PAGERDUTY_URL", pagerduty.url)
    monkeypatch.setenv("MLOPS_PAGERDUTY_ROUTING_KEY", KEY)
    with SmtpService("none") as service:
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


def test_the_outbox_keeps_its_promises_on_s3(tmp_path: Path, slack: SlackWebhook, s3: str) -> None:
    given = Settings(slack_webhook_url=slack.url)  # type: ignore[arg-type]
    store = ObjectStore("s3://mlops/x", tmp_path / "cache", s3_endpoint=s3)
    box = Outbox(store, Notifier(given, lambda: Platform(given).tracker), tmp_path / "locks")
    slack.faults = [Fault("500")]
    for _ in range(2):
        box.enqueue(told(), ["slack", "email"])
    assert len(box.deliver().held_up) == 1
    assert len(box.deliver(now=datetime.now(UTC) + timedelta(minutes=1)).delivered) == 1
    assert box.deliver().waiting == 0 and len(slack.messages) == 1
    assert {one.channel: one.state for one in box.settlements()} == {"slack": "delivered", "email": "not_configured"}
