"""Slack through an incoming webhook: one message with a heading, the text, and links.

Slack cannot recognise a repeat; the notification's id at the end of the message lets a person see one.

Source: Slack, *Sending messages using incoming webhooks* (answers), *Block Kit* (limits: header 150 characters, text objects
3,000, 50 blocks), *Rate limits* (429 with Retry-After).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mlops_assets.reports.language import sentence
from mlops_assets.reports.notifications import Notification, for_slack
from resources.channels.posting import post_json
from resources.notifier import Undelivered

if TYPE_CHECKING:
    from mlops_assets.reports.notifications import Event
    from resources.settings import Settings
    from resources.tracker import Tracker

HEADER_CHARACTERS: Final = 150
SECTION_CHARACTERS: Final = 3000
FALLBACK_CHARACTERS: Final = 4000


class SlackChannel:
    """Posts to the channel that the webhook was made for."""

    def __init__(self, settings: Settings, tracker: Callable[[], Tracker]) -> None:
        self._url = settings.slack_webhook_url

    @classmethod
    def lacking(cls, settings: Settings) -> tuple[str, ...]:
        """The webhook's address."""
        return () if settings.slack_webhook_url is not None else ("slack_webhook_url",)

    @classmethod
    def takes(cls, event: Event) -> bool:
        """Every event."""
        return True

    def send(self, notification: Notification, attempt: int) -> None:
        """Post the message.

        Raises:
            Undelivered: retryable for 429, 5xx and where nothing answers; for good for every other answer.
        """
        if self._url is None:
            raise Undelivered(False, "the setting slack_webhook_url is missing")
        answer = post_json(self._url.get_secret_value(), slack_message(notification), "slack_webhook_url")
        if answer.status == 200:
            return
        # Slack answers with one word such as `channel_is_archived`; anything else might repeat the address.
        word = re.fullmatch(rb"[a-z_]{2,60}", answer.body.strip())
        said = f" ({word.group().decode()})" if word else ""
        raise Undelivered(answer.is_worth_retrying, f"Slack answered {answer.status}{said}", answer.retry_after)


def slack_message(notification: Notification) -> dict[str, Any]:
    """The webhook's payload: plain text only, except for our own labels and links; nothing in it can mention anybody."""
    web = [link for link in notification.links if link.is_web_address]
    local = [f"{link.label}: {link.url}" for link in notification.links if not link.is_web_address]
    text = "\n".join([notification.text, *local])
    known = f"{sentence('notification.id', notification.language)}: {notification.id}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(notification.title, HEADER_CHARACTERS)},
        {"type": "section", "text": _plain(text, SECTION_CHARACTERS)},
    ]
    if web:
        shown = " | ".join(f"<{for_slack(link.url, 1000)}|{for_slack(link.label, 80)}>" for link in web)
        # verbatim: Slack shall not look for names and addresses in it by itself
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": shown, "verbatim": True}})
    blocks.append({"type": "context", "elements": [_plain(known, 300)]})
    return {
        "text": for_slack(f"{notification.title}\n{text}", FALLBACK_CHARACTERS),
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": blocks,
    }


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": for_slack(text, limit), "emoji": False}
