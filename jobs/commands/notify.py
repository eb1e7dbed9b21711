"""`mlops notify …`: trying a notification channel, and what is on its way."""

from __future__ import annotations

from typing import Any

import click

from jobs.command_line import Commands, Unsuccessful, answers, cli


@cli.group("notify", cls=Commands)
def notify() -> None:
    """Notification channels: slack, email, pagerduty, github_issue."""


@notify.command("test")
@click.argument("channel")
@answers
def test(channel: str, quiet: bool) -> Any:
    """Send a test notification through CHANNEL and say what happened.

    Exit code 2, with what to set, where the channel is not set up. PagerDuty gets an incident that is closed at once;
    github_issue opens an issue labelled mlops:alert.
    """
    from mlops_assets.errors import UserError
    from mlops_assets.reports.notifications import NotificationFacts, notification_for
    from resources.ledger import new_training_id
    from resources.notifier import Notifier, Undelivered, require_channel
    from resources.platform import Platform
    from resources.settings import FILE, PREFIX

    platform = Platform()
    settings = platform.settings
    lacking = require_channel(channel).lacking(settings)
    if lacking:
        named = [_explained(name, PREFIX) for name in lacking]
        raise UserError(
            f"the channel {channel} is not set up: {len(lacking)} setting(s) are missing",
            field=", ".join(lacking),
            next_step=f"set {'; '.join(named)} in the environment, or by its lower-case name in {FILE}",
        )
    test_id = new_training_id().replace("train-", "test-", 1)
    language = settings.language if settings.language != "auto" else "en"
    facts = NotificationFacts(event="test", training_id=test_id, model_id="notification-test", language=language)
    notification = notification_for(facts)
    data = {"channel": channel, "notification": notification.id}
    try:
        Notifier(settings, lambda: platform.tracker).send(channel, notification, 1)
    except Undelivered as failure:
        text = f"{channel} did not take the test notification: {failure.reason}"
        again = "trying again later may succeed" if failure.retryable else "trying again will not help; mend the setting first"
        raise Unsuccessful({**data, "delivered": False, "reason": failure.reason}, f"{text}\n{again}") from None
    return {**data, "delivered": True}, f"{channel} took the test notification {notification.id}"


def _explained(name: str, prefix: str) -> str:
    """A setting as it is written in the environment, with what it means; one of a plug-in's own as the plug-in calls it."""
    from resources.settings import Settings

    field = Settings.model_fields.get(name)
    if field is None:
        return name
    several = """, as a list: '["team@example.com"]'""" if field.annotation == tuple[str, ...] else ""
    return f"{prefix}{name.upper()} ({field.description or name}{several})"


@notify.command("list")
@answers
def on_their_way(quiet: bool) -> Any:
    """List notifications on their way, and the latest that ended."""
    from jobs.terminal import table
    from resources.platform import Platform

    outbox = Platform().outbox
    pending, settled = outbox.pending(), outbox.settlements()
    data = {
        "pending": [one.model_dump(mode="json", exclude={"notification"}) | {"id": one.notification.id} for one in pending],
        "settled": [one.model_dump(mode="json") for one in settled],
    }
    rows = [
        (one.notification_id, one.channel, one.state.replace("_", " "), str(one.attempts), one.reason or "") for one in settled
    ]
    rows += [
        (one.notification.id, one.channel, f"next {one.due_at:%Y-%m-%d %H:%M:%S} UTC", str(one.attempts), one.reason or "")
        for one in pending
    ]
    return data, table(("notification", "channel", "state", "tries", "reason"), rows) if rows else "no notifications yet"
