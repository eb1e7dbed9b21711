"""Comment text as GitHub keeps it: the hidden first line that identifies our comments, and the limit of length.

Pure text in and out; who wrote a comment, and so whether its first line counts, is decided in ``github_tracker``.
"""

from __future__ import annotations

import re
from typing import Final

from mlops_assets.reports.language import sentence
from mlops_assets.request.language import detect_language

#: GitHub answers 422 "Body is too long" above it.
LIMIT: Final = 65_536

_MARKER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/#-]{0,199}")
_FIRST_LINE: Final = re.compile(rf"<!-- mlops:comment ({_MARKER.pattern}) -->[ \t]*(?:\n|\Z)")
_OURS: Final = re.compile(r"\A(\s*<!--\s*)(\\*mlops:)")
_ESCAPED: Final = re.compile(r"\A(\s*<!--\s*)\\(\\*mlops:)")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_DETAILS: Final = re.compile(r"\s*<(/?)details\b")
#: NUL, and half characters that UTF-8 cannot hold.
_UNSENDABLE: Final = re.compile("[\x00\ud800-\udfff]")


def normalised(text: str | None) -> str:
    """Text as it is compared and read: ``\\n`` line ends, whatever a browser typed."""
    return (text or "").replace("\r\n", "\n").replace("\r", "\n")


def with_marker(marker: str, body: str) -> str:
    """The platform's comment ``marker`` as it is sent, cut to what GitHub takes.

    Raises:
        ValueError: ``marker`` could end the hidden line early or not be read back.
    """
    if not _MARKER.fullmatch(marker):
        raise ValueError(f"not a marker of a comment: {marker!r}")
    head = f"<!-- mlops:comment {marker} -->\n"
    return head + fitted(sendable(body), LIMIT - len(head))


def without_marker(text: str) -> tuple[str | None, str]:
    """Marker and body of a comment that our account wrote; None where it was a person's, typed through us."""
    found = _FIRST_LINE.match(text)
    return (found[1], text[found.end() :]) if found else (None, _ESCAPED.sub(r"\1\2", text, count=1))


def of_a_person(body: str) -> str:
    """A person's comment as it is sent through our account: its beginning cannot be taken for a marker of ours."""
    return fitted(_OURS.sub(r"\1\\\2", sendable(body), count=1), LIMIT)


def sendable(text: str) -> str:
    """``text`` with ``\\n`` line ends and without characters that JSON in UTF-8 cannot carry."""
    return _UNSENDABLE.sub("\ufffd", normalised(text))


def fitted(body: str, limit: int) -> str:
    """``body``, or its first lines with a note that says so; a fence or a ``<details>`` that the cut leaves open is closed."""
    if _length(body) <= limit:
        return body
    note = sentence("detail.cut", detect_language("", body), limit=f"{LIMIT:,}")
    kept: list[str] = []
    used, fence, folds, tail = 0, "", 0, f"\n\n{note}"
    for line in body.split("\n"):
        fence, folds = _after(line, fence, folds)
        closing = (f"\n{fence}" if fence else "") + "\n\n</details>" * folds + f"\n\n{note}"
        used += _length(line) + 1
        if used + _length(closing) > limit:
            break
        kept.append(line)
        tail = closing
    if not kept:  # one line longer than everything
        return body[: (limit - _length(tail)) // 2] + tail
    return "\n".join(kept) + tail


def _after(line: str, fence: str, folds: int) -> tuple[str, int]:
    """Open fence and number of open ``<details>`` after ``line``."""
    found = _FENCE.fullmatch(line)
    if fence:
        closes = found and found[1][0] == fence[0] and len(found[1]) >= len(fence) and not found[2].strip()
        return ("" if closes else fence), folds
    if found and not (found[1][0] == "`" and "`" in found[2]):
        return found[1], folds
    details = _DETAILS.match(line)
    return "", max(0, folds + (0 if details is None else -1 if details[1] else 1))


def _length(text: str) -> int:
    """Length in UTF-16 units, the largest of the ways in which characters are counted."""
    return len(text) + sum(character > "\uffff" for character in text)
