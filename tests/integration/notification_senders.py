"""Notifications of one training and the settings to send them with; what becomes of them is in the tests."""

from __future__ import annotations

from typing import Any

import pytest

from mlops_assets.reports.notifications import Event, Notification, NotificationFacts, notification_for
from resources.notifier import Notifier, Undelivered
from resources.platform import Platform
from resources.settings import Settings
from tests.standins.smtp import PASSWORD, USER, SmtpService

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
