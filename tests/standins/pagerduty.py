"""PagerDuty's Events API v2: checks events as its documentation says and keeps incidents by deduplication key.

Source: PagerDuty, *Send an Alert Event* (required fields, `dedup_key` 255 characters, `summary` 1,024, severities, links);
answers 202 with the key, 400 with `errors`, 429.
"""

from __future__ import annotations

import json
from typing import Any

from tests.standins.http_service import HttpService, Reply

KEY = "0123456789abcdef0123456789abcdef"
FIELDS = {"routing_key", "event_action", "dedup_key", "payload", "links", "images", "client", "client_url"}
PAYLOAD_FIELDS = {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}


class PagerDutyEvents(HttpService):
    """`incidents`: state by key, `open` or `resolved`; `events`: everything that was accepted; `opened`: how often one opened."""

    path = "/v2/enqueue"

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self.incidents: dict[str, str] = {}
        self.opened: list[str] = []

    def take(self, content: Any) -> Reply:
        errors = event_errors(content)
        if errors:
            invalid = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            return Reply(400, json.dumps(invalid).encode())
        key = content.get("dedup_key") or f"generated-{len(self.events)}"
        self.events.append(content)
        if content["event_action"] == "trigger":
            if self.incidents.get(key) != "open":
                self.opened.append(key)
            self.incidents[key] = "open"
        elif content["event_action"] == "resolve" and key in self.incidents:
            self.incidents[key] = "resolved"
        accepted = {"status": "success", "message": "Event processed", "dedup_key": key}
        return Reply(202, json.dumps(accepted).encode())


def event_errors(event: Any) -> list[str]:
    """Every reason for which the event is invalid."""
    if not isinstance(event, dict):
        return ["not a JSON object"]
    found = [f"'{name}' is not a known field" for name in event.keys() - FIELDS]
    key = event.get("routing_key")
    if not isinstance(key, str) or len(key) != 32:
        found.append("Length of 'routing_key' is incorrect (should be 32 characters)")
    elif key != KEY:
        found.append(f"'routing_key' {key} is not an active integration key")
    if event.get("event_action") not in {"trigger", "acknowledge", "resolve"}:
        found.append("'event_action' is invalid (must be one of: 'trigger', 'acknowledge' or 'resolve')")
    if event.get("event_action") in {"acknowledge", "resolve"} and not event.get("dedup_key"):
        found.append("'dedup_key' is missing or blank")
    if len(event.get("dedup_key") or "") > 255:
        found.append("Length of 'dedup_key' is incorrect (should be at most 255 characters)")
    if event.get("event_action") == "trigger":
        found += payload_errors(event.get("payload"))
    for link in event.get("links", []):
        if not str(link.get("href", "")).startswith(("http://", "https://")):
            found.append("'href' of a link is not a web address")
    return found


def payload_errors(payload: Any) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    found = [f"'payload.{name}' is not a known field" for name in payload.keys() - PAYLOAD_FIELDS]
    found += [f"'payload.{name}' is missing or blank" for name in ("summary", "source") if not payload.get(name)]
    if payload.get("severity") not in {"critical", "error", "warning", "info"}:
        found.append("'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')")
    if len(payload.get("summary") or "") > 1024:
        found.append("Length of 'payload.summary' is incorrect (should be at most 1024 characters)")
    return found
