"""PagerDuty through Events API v2: a training that failed opens an incident of its model line, a deployment closes it.

All events of a line share one deduplication key, so that a repeat changes nothing and there is at most one open incident a line.

Source: PagerDuty, *Send an Alert Event* and *Events API v2 overview*: 202 accepted, 400 invalid, 429 slow down, 5xx try again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mlops_assets.reports.notifications import Notification, for_summary, one_line
from resources.channels.posting import Answer, post_json
from resources.notifier import Undelivered

if TYPE_CHECKING:
    from mlops_assets.reports.notifications import Event
    from resources.settings import Settings
    from resources.tracker import Tracker

TRIGGERS: Final[frozenset[str]] = frozenset({"failed", "retries_exhausted", "below_threshold"})
RESOLVES: Final[frozenset[str]] = frozenset({"deployed"})


class PagerDutyChannel:
    """Pages for failures (`error`, `critical`) and for models below their threshold (`warning`)."""

    def __init__(self, settings: Settings, tracker: Callable[[], Tracker]) -> None:
        self._url = settings.pagerduty_url
        self._key = settings.pagerduty_routing_key

    @classmethod
    def lacking(cls, settings: Settings) -> tuple[str, ...]:
        """The integration key."""
        return () if settings.pagerduty_routing_key is not None else ("pagerduty_routing_key",)

    @classmethod
    def takes(cls, event: Event) -> bool:
        """Whether an event opens or closes an incident; nobody is paged for an approval."""
        return event in TRIGGERS | RESOLVES or event == "test"

    def send(self, notification: Notification, attempt: int) -> None:
        """Send the event; a test is opened and closed again at once.

        Raises:
            Undelivered: retryable for 429, 5xx and where nothing answers; for good for every other answer.
        """
        if notification.event != "deployed":
            self._enqueue(trigger(notification))
        if notification.event in RESOLVES or notification.event == "test":
            self._enqueue({"event_action": "resolve", "dedup_key": dedup_key(notification)})

    def _enqueue(self, event: dict[str, Any]) -> None:
        if self._key is None:
            raise Undelivered(False, "the setting pagerduty_routing_key is missing")
        key = self._key.get_secret_value()
        answer = post_json(self._url, {"routing_key": key, **event}, "pagerduty_url")
        if answer.status != 202:
            said = _said(answer, key)
            raise Undelivered(answer.is_worth_retrying, f"PagerDuty answered {answer.status}{said}", answer.retry_after)


def dedup_key(notification: Notification) -> str:
    """The incident of a model line, or that of one test; at most 255 characters."""
    return f"mlops/{notification.id if notification.event == 'test' else notification.model_id}"[:255]


def trigger(notification: Notification) -> dict[str, Any]:
    """The event that opens the line's incident or adds to it, without the routing key."""
    links = [
        {"href": link.url, "text": one_line(link.label, 100)}
        for link in notification.links
        if link.is_web_address
    ]  # fmt: skip
    return {
        "event_action": "trigger",
        "dedup_key": dedup_key(notification),
        "client": "mlops",
        "links": links,
        "payload": {
            "summary": for_summary(notification),
            "source": "mlops",
            "severity": notification.severity,
            "component": notification.model_id,
            "class": notification.event,
            "custom_details": {
                "notification_id": notification.id,
                "training_id": notification.training_id,
                "issue": notification.issue,
                "text": notification.text[:4000],
            },
        },
    }


def _said(answer: Answer, key: str) -> str:
    """PagerDuty's own explanation, should it be one, without the key."""
    try:
        content = json.loads(answer.body)
        said = "; ".join(str(error) for error in content["errors"])
    except (ValueError, KeyError, TypeError):
        return ""
    return f" ({one_line(said.replace(key, '…'), 300)})" if said else ""
