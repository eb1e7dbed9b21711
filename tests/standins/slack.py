"""An incoming webhook of Slack: takes messages, refuses what Slack's documentation says it refuses, and keeps them in order.

Source: Slack, *Incoming webhooks* (`invalid_payload`, `no_text`, `invalid_blocks`, 429 with Retry-After), *Block Kit reference*
(50 blocks, header 150 characters of plain text, text 1 to 3,000, context 10 elements), *Formatting text* (angle brackets).
"""

from __future__ import annotations

import re
from typing import Any

from tests.standins.http_service import HttpService, Reply

#: What Slack would turn into a notification for people.
MENTION = re.compile(r"<(?:!(?:channel|here|everyone|subteam)|@[UW])")
_ENTITY_OR_LINK = re.compile(r"&(?:amp|lt|gt);|<https?://[^<>|\s]+(?:\|[^<>]*)?>")


class SlackWebhook(HttpService):
    """`messages` are the payloads that were posted, as a channel would show them."""

    path = "/services/T00000000/B00000000/secretsecretsecretsecret"

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []

    def take(self, content: Any) -> Reply:
        if not isinstance(content, dict):
            return Reply(400, b"invalid_payload")
        if not content.get("text") and not content.get("blocks"):
            return Reply(400, b"no_text")
        if any(problems(block) for block in content.get("blocks", [])) or len(content.get("blocks", [])) > 50:
            return Reply(400, b"invalid_blocks")
        if len(content.get("text", "")) > 40_000:
            return Reply(400, b"invalid_payload")
        self.messages.append(content)
        return Reply(200, b"ok")

    def mentions(self) -> list[str]:
        """Every mention that the messages would make, in all their texts."""
        return [found for message in self.messages for text in texts(message) for found in MENTION.findall(text)]

    def shown(self, number: int = -1) -> str:
        """A message as people read it."""
        lines = "\n".join(text for block in self.messages[number]["blocks"] for text in texts(block))
        return lines.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def texts(value: Any) -> list[str]:
    """Every `text` string in a payload."""
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for inner in value.values() if not isinstance(inner, str) for text in texts(inner)]
    return [text for inner in value for text in texts(inner)] if isinstance(value, list) else []


def problems(block: Any) -> list[str]:
    """What Slack would refuse a block for."""
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "header":
        text = block.get("text", {})
        return [*text_problems(text, 150), *(["header is not plain_text"] if text.get("type") != "plain_text" else [])]
    if kind == "section":
        return text_problems(block.get("text"), 3000)
    if kind == "context":
        elements = block.get("elements", [])
        return ["elements"] if not 1 <= len(elements) <= 10 else [p for one in elements for p in text_problems(one, 3000)]
    return [f"unknown block {kind}"]


def text_problems(text: Any, limit: int) -> list[str]:
    if not isinstance(text, dict) or text.get("type") not in {"plain_text", "mrkdwn"} or not isinstance(text.get("text"), str):
        return ["not a text object"]
    allowed = {"type", "text", "emoji" if text["type"] == "plain_text" else "verbatim"}
    found = [f"unknown field {name}" for name in text.keys() - allowed]
    if not 1 <= len(text["text"]) <= limit:
        found.append(f"{len(text['text'])} characters, allowed are 1 to {limit}")
    if re.search(r"[&<>]", _ENTITY_OR_LINK.sub("", text["text"])):
        found.append("control character that is not escaped")
    return found
