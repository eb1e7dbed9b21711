"""The layout of one issue as a Markdown file: pure text to thread and back.

::

    <!-- mlops:issue {"author": …, "created": …, "labels": […], "state": "open"} -->
    # Title

    body

    <!-- mlops:end -->

    ---
    ### author · 2026-11-03 12:00 UTC
    <!-- mlops:comment {"id": …, "author": …, "created": …, "updated": …, "marker": …, "reactions": [[…]]} -->

    text

    <!-- mlops:end -->

Hidden lines of ours are recognised only when a whole line is one; the same words inside a text are escaped with a
backslash on writing and restored on reading, so that no text can forge a comment. What stands after an end line, and
before the next comment, was written by hand.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from resources.tracker import Comment, Reaction

_OURS: Final = re.compile(r"<!-- (\\*)mlops:")
_ESCAPED: Final = re.compile(r"<!-- \\(\\*)mlops:")
_HEAD: Final = re.compile(r"<!-- mlops:(issue|comment) (\{.*\}) -->[ \t]*")
_END: Final = re.compile(r"<!-- mlops:end -->[ \t]*")
#: Half characters that UTF-8 cannot hold; U+DC80 to U+DCFF stand for bytes of another encoding and are kept.
_UNWRITABLE: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_HEADING: Final = "### "
_RULE: Final = "---"


@dataclass(frozen=True)
class Thread:
    """The content of one file."""

    title: str
    body: str
    author: str
    created_at: datetime
    labels: frozenset[str]
    state: Literal["open", "closed"]
    entries: tuple[Comment, ...]
    """Comments; the ``id`` of one that was written by hand and is not yet adopted is empty."""


def write_thread(thread: Thread) -> str:
    """The file's text; reading it again gives ``thread`` with the blank lines around its texts removed."""
    head = {
        "author": thread.author,
        "created": thread.created_at.isoformat(),
        "labels": sorted(thread.labels),
        "state": thread.state,
    }
    title = " ".join(thread.title.split())
    parts = [f"<!-- mlops:issue {_hidden(head)} -->\n# {_escaped(title)}".rstrip(" "), _text(thread.body)]
    for entry in thread.entries:
        data = {
            "id": entry.id,
            "author": entry.author,
            "created": entry.created_at.isoformat(),
            "updated": entry.updated_at.isoformat(),
            "marker": entry.marker,
            "reactions": [list(r) for r in entry.reactions],
        }
        heading = f"{_HEADING}{_escaped(' '.join(entry.author.split()))} · {entry.created_at:%Y-%m-%d %H:%M} UTC"
        parts += [f"{_RULE}\n{heading}\n<!-- mlops:comment {_hidden(data)} -->", _text(entry.body)]
    return _UNWRITABLE.sub("\ufffd", "\n\n".join(parts) + "\n")


def read_thread(text: str, *, owner: str, edited: datetime) -> Thread:
    """The thread in a file, however it was edited.

    A file without our first line is an issue of ``owner`` written at ``edited``; a hidden line that was damaged counts
    as text, so that nothing a person wrote is lost.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff").split("\n")
    entries: list[Comment] = []
    head: dict[str, Any] = {}
    issue_lines: list[str] | None = None
    current: dict[str, Any] | None = None
    collected: list[str] = []
    in_text = True

    def finish() -> None:
        """Give the lines collected so far to what they belong to."""
        nonlocal issue_lines, current, collected
        if current is not None:
            entries.append(_entry(current, _restored(collected)))
        elif issue_lines is None:
            issue_lines = collected
        elif body := _restored(_without_frame(collected)):
            entries.append(Comment("", owner, body, edited, edited))
        current, collected = None, []

    for line in lines:
        found = _HEAD.fullmatch(line)
        data = _data(found[2], found[1]) if found else None
        if found and data is not None and found[1] == "issue" and not head and not any(c.strip() for c in collected):
            head, collected = data, []
        elif found and data is not None and found[1] == "comment":
            collected = _without_frame(collected, comment_follows=True)
            if in_text or any(c.strip() for c in collected):
                finish()
            current, collected, in_text = data, [], True
        elif in_text and _END.fullmatch(line):
            finish()
            in_text = False
        else:
            collected.append(line)
    if in_text or any(c.strip() for c in collected):
        finish()
    title, body = _title_and_body(issue_lines or [])
    return Thread(
        title=title,
        body=body,
        author=str(head.get("author") or owner),
        created_at=_time(head.get("created")) or edited,
        labels=frozenset(str(label) for label in head.get("labels") or ()),
        state="closed" if head.get("state") == "closed" else "open",
        entries=tuple(entries),
    )


def _text(body: str) -> str:
    content = _escaped(body.replace("\r\n", "\n").replace("\r", "\n").strip("\n"))
    return f"{content}\n\n<!-- mlops:end -->" if content else "<!-- mlops:end -->"


def _escaped(text: str) -> str:
    return _OURS.sub(lambda m: f"<!-- \\{m[1]}mlops:", text)


def _restored(lines: list[str]) -> str:
    return _ESCAPED.sub(lambda m: f"<!-- {m[1]}mlops:", "\n".join(lines).strip("\n"))


def _hidden(data: dict[str, Any]) -> str:
    """JSON on one line that cannot end the HTML comment around it."""
    return json.dumps(data, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e")


def _data(text: str, kind: str) -> dict[str, Any] | None:
    """The hidden line's content; None where it was damaged."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    if kind == "comment" and not (isinstance(data.get("id"), str) and data["id"] and _time(data.get("created"))):
        return None
    return data


def _entry(data: dict[str, Any], body: str) -> Comment:
    created = _time(data["created"]) or datetime.now(UTC)
    reactions: list[tuple[str, Reaction]] = []
    for item in data.get("reactions") or ():
        if isinstance(item, list) and len(item) == 2 and item[1] in ("+1", "-1"):
            reactions.append((str(item[0]), "+1" if item[1] == "+1" else "-1"))
    marker = data.get("marker")
    return Comment(
        id=data["id"],
        author=str(data.get("author") or ""),
        body=body,
        created_at=created,
        updated_at=_time(data.get("updated")) or created,
        marker=marker if isinstance(marker, str) else None,
        reactions=tuple(reactions),
    )


def _time(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None


def _title_and_body(lines: list[str]) -> tuple[str, str]:
    """The `#` heading that comes first, and the rest."""
    content = list(lines)
    while content and not content[0].strip():
        content.pop(0)
    title = ""
    if content and (content[0].startswith("# ") or content[0].strip() == "#"):
        title = _restored([content.pop(0)[2:].strip()])
    return title, _restored(content)


def _without_frame(lines: list[str], *, comment_follows: bool = False) -> list[str]:
    """Lines without the rule and heading that we write above a comment, or that a person put above their own."""
    kept = list(lines)
    if comment_follows:
        while kept and not kept[-1].strip():
            kept.pop()
        if kept and kept[-1].startswith(_HEADING):
            kept.pop()
            while kept and not kept[-1].strip():
                kept.pop()
            if kept and kept[-1].strip() == _RULE:
                kept.pop()
        return kept
    while kept and (not kept[0].strip() or kept[0].strip() == _RULE):
        kept.pop(0)
    return kept
