"""What a notification says, in Japanese and English, and how a person's text is made harmless for each medium.

Pure: facts in, one ``Notification`` out. Sending it is in ``resources.channels``, keeping it until then in ``resources.outbox``.
Text of people stays data everywhere: it is one line without control characters here, and escaped once more at the edge of each
medium (``for_slack``, ``for_mail_html``, ``for_summary``).
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final, Literal

from pydantic import Field

from mlops_assets.reports.facts import gate_sentence, joined
from mlops_assets.reports.language import sentence
from mlops_assets.reports.markdown import ZERO_WIDTH_JOINER, bullets, echo, link_or_code, paragraphs, plain
from mlops_assets.reports.quantities import dollars, term
from mlops_assets.reports.record import GateDecision, Phase, TrainingRecord
from mlops_assets.request.plan import Plan
from mlops_assets.request.schema import Frozen
from mlops_assets.request.vocabulary import Environment, Language

Event = Literal["approval_needed", "deployed", "below_threshold", "failed", "rejected", "cancelled", "retries_exhausted", "test"]
Severity = Literal["info", "warning", "error", "critical"]

SEVERITIES: Final[dict[Event, Severity]] = {
    "approval_needed": "info",
    "deployed": "info",
    "below_threshold": "warning",
    "failed": "error",
    "rejected": "info",
    "cancelled": "info",
    "retries_exhausted": "critical",
    "test": "info",
}
ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
TITLE_CHARACTERS: Final = 120
ERROR_CHARACTERS: Final = 600

#: What a mail program or a chat would make a link or a mention of; a joiner in between stops it.
_LIVE: Final = re.compile(r"@|:(?=//)|www(?=\.)|(?:mailto|tel)(?=:)", re.IGNORECASE)
_WEB_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/?#=&%:@+,-]*)?")
_SLACK_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class NotificationLink(Frozen):
    """Where to read on; the label is already in the notification's language."""

    label: str
    url: str

    @property
    def is_web_address(self) -> bool:
        """Whether it can be clicked from anywhere: an http(s) address of harmless characters, not a file on this machine."""
        return _WEB_ADDRESS.fullmatch(self.url) is not None


class Notification(Frozen):
    """One thing that people are told outside the thread. Equal ids are the same notification, however often it is sent."""

    id: str = Field(pattern=f"^{ID_PATTERN}$")
    training_id: str
    model_id: str
    issue: int | None
    issue_url: str | None
    event: Event
    severity: Severity
    language: Language
    title: str = Field(description="one line of plain text, no markup")
    text: str = Field(description="plain text, no markup; a person's text in it is one line and inert")
    markdown: str = Field(description="GitHub Markdown, safe to post as it stands")
    links: tuple[NotificationLink, ...] = ()


class NotificationFacts(Frozen):
    """What ``notification_for`` needs to know; everything beyond the first four fields is told where it is known."""

    event: Event
    training_id: str
    model_id: str
    language: Language
    issue: int | None = None
    issue_title: str = ""
    issue_url: str | None = None
    attempt: int = 1
    by: str | None = Field(default=None, description="who rejected or cancelled")
    plan_digest: str | None = None
    estimated_cost_usd: float | None = None
    version: str | None = None
    environment: Environment | None = None
    endpoint_url: str | None = None
    gate: GateDecision | None = None
    failed_phase: Phase | None = None
    error: str | None = None


def facts_of_plan(
    plan: Plan,
    training_id: str,
    *,
    issue: int | None,
    issue_title: str,
    issue_url: str | None,
    attempt: int = 1,
    estimated_cost_usd: float | None = None,
) -> NotificationFacts:
    """A proposal that waits for an approval."""
    return NotificationFacts(
        event="approval_needed",
        training_id=training_id,
        model_id=plan.request.model_id,
        language=plan.request.language,
        issue=issue,
        issue_title=issue_title,
        issue_url=issue_url,
        attempt=attempt,
        plan_digest=plan.digest,
        estimated_cost_usd=estimated_cost_usd,
    )


def facts_of_record(
    record: TrainingRecord, *, issue_title: str = "", issue_url: str | None = None, retries_exhausted: bool = False
) -> NotificationFacts:
    """How a training ended; ``retries_exhausted`` where it was the last attempt that its request allows."""
    exhausted = retries_exhausted and record.outcome != "deployed"
    return NotificationFacts(
        event="retries_exhausted" if exhausted else record.outcome,
        training_id=record.training_id,
        model_id=record.model_id,
        language=record.language,
        issue=record.issue,
        issue_title=issue_title,
        issue_url=issue_url,
        attempt=record.attempt,
        version=record.model.version if record.model is not None else None,
        environment=record.endpoint.environment if record.endpoint is not None else None,
        endpoint_url=record.endpoint.url if record.endpoint is not None else None,
        gate=record.gate,
        failed_phase=next((row.phase for row in record.phases if row.state == "failed"), None),
        error=record.error,
    )


def notification_for(facts: NotificationFacts) -> Notification:
    """The notification of one event of one training; the same facts give the same notification."""
    language = facts.language
    issue_title = inert(facts.issue_title, TITLE_CHARACTERS)
    event = sentence(f"event.{facts.event}", language)
    number = "" if facts.issue is None else f"#{facts.issue} {issue_title}".strip()
    title = sentence("notification.title" if number else "notification.title_bare", language, **{
        "event": event, "model": facts.model_id, "issue": number,
    })  # fmt: skip
    links = _links(facts)
    text = [_opening(facts, inert), *(f"{label}: {value}" for label, value in _lines(facts, inert))]
    markdown = paragraphs(
        _opening(facts, echo),
        bullets(f"{label}: {value}" for label, value in _lines(facts, plain)),
        bullets(f"{link.label}: {link_or_code(link.url)}" for link in links),
    )
    return Notification(
        id=f"{facts.training_id}.{facts.event}",
        training_id=facts.training_id,
        model_id=facts.model_id,
        issue=facts.issue,
        issue_url=facts.issue_url,
        event=facts.event,
        severity=SEVERITIES[facts.event],
        language=language,
        title=title,
        text="\n".join(text),
        markdown=markdown,
        links=links,
    )


def unconfigured_sentence(channels: Sequence[str], language: Language) -> str:
    """One line for the thread on channels that are asked for and not set up; empty where there are none."""
    if not channels:
        return ""
    first = echo(f"mlops notify test {channels[0]}")
    named = joined([echo(channel) for channel in channels], language)
    return sentence("notification.unconfigured", language, channels=named, command=first)


def _opening(facts: NotificationFacts, shown: Callable[[object, int], str]) -> str:
    environment = term("environment", facts.environment, facts.language) if facts.environment is not None else "—"
    return sentence(
        f"event_text.{facts.event}",
        facts.language,
        model=shown(facts.model_id, 80),
        version=shown(facts.version or "—", 40),
        environment=environment,
        attempt=facts.attempt,
    )


def _lines(facts: NotificationFacts, shown: Callable[[object, int], str]) -> list[tuple[str, str]]:
    """(label, value) of what is known; a person's text goes through ``shown``."""
    language = facts.language
    found: list[tuple[str, str]] = []

    def say(label: str, value: str) -> None:
        found.append((sentence(label, language), value))

    if facts.issue is not None:
        title = shown(facts.issue_title, TITLE_CHARACTERS)
        # A reference of ours, and meant: where issues live on GitHub, it links the training's thread.
        say("label.issue", f"#{facts.issue} {title}".strip())
    say("label.training_id", shown(facts.training_id, 80))
    if facts.event == "approval_needed":
        cost = facts.estimated_cost_usd
        say("label.estimate", sentence("sentence.no_estimate", language) if cost is None else dollars(cost))
        if facts.plan_digest is not None:
            say("label.plan_digest", shown(facts.plan_digest[:12], 12))
    if facts.by is not None:
        say("notification.by", shown(facts.by, 60))
    if facts.gate is not None:
        say("label.evaluation", gate_sentence(facts.gate, language))
    if facts.failed_phase is not None:
        say("label.failed_phase", sentence(f"phase.{facts.failed_phase}", language))
    if facts.error is not None:
        say("label.error", shown(facts.error, ERROR_CHARACTERS))
    return found


def _links(facts: NotificationFacts) -> tuple[NotificationLink, ...]:
    named = (("notification.thread", facts.issue_url), ("label.url", facts.endpoint_url))
    return tuple(NotificationLink(label=sentence(key, facts.language), url=url) for key, url in named if url)


# --- people's text for each medium ------------------------------------------------------------------------------------


def one_line(text: object, limit: int) -> str:
    """``text`` on one line without control, format (bidirectional) or surrogate characters, at most ``limit`` characters."""
    kept = (" " if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else c for c in str(text)[: limit * 4 + 8])
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def inert(text: object, limit: int = 200) -> str:
    """A person's text as one line of plain text of which no mail program or chat makes a mention or a link."""
    return _LIVE.sub(lambda match: f"{match.group()}{ZERO_WIDTH_JOINER}", one_line(text, limit))


def for_slack(text: str, limit: int) -> str:
    """``text`` with the three characters that Slack gives a meaning escaped; at most ``limit`` characters, no entity cut.

    Source: Slack, *Formatting text for app surfaces*: ``&``, ``<`` and ``>`` are the control characters; mentions such as
    ``<!channel>`` and ``<@U…>`` exist only inside angle brackets.
    """
    found: list[str] = []
    length = 0
    for character in text:
        escaped = _SLACK_ENTITIES.get(character, character)
        if length + len(escaped) > limit - 1:
            return "".join(found) + "…"
        found.append(escaped)
        length += len(escaped)
    return "".join(found)


def for_summary(notification: Notification, limit: int = 1024) -> str:
    """One line for a pager. Source: PagerDuty Events API v2, ``payload.summary``, at most 1,024 characters."""
    return one_line(notification.title, limit)


def for_mail_html(notification: Notification) -> str:
    """The HTML part of a mail: everything escaped, no image, no script, and links only to http(s) addresses."""
    lines = "".join(f"<p>{html.escape(line)}</p>\n" for line in notification.text.split("\n") if line.strip())
    links = "".join(
        f'<li>{html.escape(link.label)}: <a href="{html.escape(link.url)}">{html.escape(link.url)}</a></li>\n'
        if link.is_web_address
        else f"<li>{html.escape(link.label)}: <code>{html.escape(link.url)}</code></li>\n"
        for link in notification.links
    )
    listed = f"<ul>\n{links}</ul>\n" if links else ""
    return (
        f'<!DOCTYPE html>\n<html lang="{notification.language}">\n<head><meta charset="utf-8">'
        f"<title>{html.escape(notification.title)}</title></head>\n<body>\n<h1>{html.escape(notification.title)}</h1>\n"
        f"{lines}{listed}</body>\n</html>\n"
    )


def for_mail_text(notification: Notification) -> str:
    """The plain part of a mail."""
    links = [f"{link.label}: {link.url}" for link in notification.links]
    return "\n".join([notification.text, *links]) + "\n"
