"""Markdown pieces: tables, fences, lists, and making harmless whatever came from a person before it is shown again.

Two ways to show foreign text: ``echo`` puts it in a code span (values, names, keys), ``plain`` escapes it as running
text (titles, one-line details). No sentence of ours lives here, and nothing here depends on a language.

Source: GitHub Flavored Markdown 0.29-gfm; GitHub's autolinked references and mentions, which work on the rendered text
and so are not stopped by a backslash: only code or a character in between stops them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, Literal

#: Put inside ``@name``, ``#12`` and ``http://`` so that no renderer makes a mention, a reference or a link of them.
ZERO_WIDTH_JOINER: Final = "\u200d"

_REPLACEMENT: Final = "\ufffd"
_LINE_ENDS: Final = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_TAG_START: Final = re.compile(r"<(?=[A-Za-z/!?])")
_BIDIRECTIONAL: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BACKTICKS: Final = re.compile(r"`+")
_LIVE: Final = re.compile(r"[@#]|gh-(?=\d)|:(?=//)|www(?=\.)|(?:mailto|xmpp)(?=:)", re.IGNORECASE)
_SPECIAL: Final = re.compile(
    r"[|\\`*\[\]~$]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])|^(?:[>=]|[-+](?=[\s-]|$)|\d+(?=[.)](?:\s|$)))"
)
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", "|": "&#124;", ">": "&gt;"}
#: Columns wider than this are not padded: one long cell would push every row off the screen.
_PAD_AT_MOST: Final = 48

Alignment = Literal["left", "right"]


def _one_line(text: str, limit: int, line_end: str) -> str:
    """``text`` on one line, without control, bidirectional or surrogate characters, at most ``limit`` characters."""
    text = _LINE_ENDS.sub(line_end, text[: limit * 4 + 8])
    kept: list[str] = []
    for character in text:
        category = unicodedata.category(character)
        if character == "\t":
            kept.append(" ")
        elif category in {"Cc", "Cs"}:
            kept.append(_REPLACEMENT)
        elif category == "Cf" and character != ZERO_WIDTH_JOINER:
            continue
        else:
            kept.append(character)
    line = "".join(kept)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def echo(text: object, limit: int = 80) -> str:
    """Someone's own text as a code span that fits in a sentence or in a table cell, at most ``limit`` characters.

    In a code span mentions, issue references, links and formatting are inert. Line ends become ``⏎``; a pipe becomes its
    full-width form, because a table splits at pipes even in code; the ``<`` of a tag becomes ``‹``, so that viewers that
    are lax about code spans, and the hidden markers of a thread file, are safe as well.
    """
    line = _one_line(str(text), limit, "⏎").replace("|", "｜")
    line = _TAG_START.sub("‹", line)
    if not line.strip():
        line = f'"{line}"'
    longest = max((len(run) for run in _BACKTICKS.findall(line)), default=0)
    if longest == 0:
        return f"`{line}`"
    marks = "`" * (longest + 1)
    return f"{marks} {line} {marks}"


def plain(text: object, limit: int = 200) -> str:
    """Someone's own text as ordinary inline text: shown as typed, with no formatting, link, mention or reference."""
    line = _one_line(str(text), limit, " ").strip()
    line = _LIVE.sub(lambda match: f"{match.group()}{ZERO_WIDTH_JOINER}", line)
    return _SPECIAL.sub(_escaped, line)


def _escaped(match: re.Match[str]) -> str:
    found = match.group()
    if found.isdecimal():
        return f"{found}{ZERO_WIDTH_JOINER}"
    return _ENTITIES.get(found, f"\\{found}")


def fence(content: str, info: str = "") -> str:
    """A fenced block that its content cannot end, whatever it holds.

    Control characters and signs that turn the reading direction are replaced. A hidden comment, and so a marker of the platform,
    cannot begin in it: a joiner that nobody sees stands after its ``<``.
    """
    lines = _LINE_ENDS.sub("\n", content).replace("<!--", f"<{ZERO_WIDTH_JOINER}!--").strip("\n").split("\n")
    text = "\n".join("".join(_block_character(character) for character in line) for line in lines)
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{info}\n{text}\n{marks}"


def _block_character(character: str) -> str:
    unseen = character in _BIDIRECTIONAL or unicodedata.category(character) in {"Cc", "Cs"}
    return _REPLACEMENT if unseen and character != "\t" else character


def is_address(target: str) -> bool:
    """Whether ``target`` is a plain http(s) address, with nothing in it that could end a link."""
    return re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/?#=&%:@+-]*)?", target) is not None


def link_or_code(target: str) -> str:
    """A plain http(s) address as a clickable link; anything else, such as a path, as code."""
    return f"<{target}>" if is_address(target) else echo(target, 300)


def from_afar(target: str) -> str:
    """``target`` for readers on other machines: an address that leads to the reader's own machine is no link but code."""
    loopback = re.match(r"https?://(?:localhost|127\.[0-9.]+|0\.0\.0\.0|\[::1\])(?=[:/]|$)", target)
    return echo(target, 300) if loopback else link_or_code(target)


def link(text: str, target: str) -> str:
    """``text``, which is Markdown of ours, as a link to a plain http(s) address; an address that is none as code."""
    return f"[{text}](<{target}>)" if is_address(target) else echo(target, 300)


def _width(text: str) -> int:
    """Columns that ``text`` takes in a terminal: two for a wide character, none for a joiner or combining mark."""
    wide = sum(2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1 for character in text)
    return wide - sum(1 for character in text if unicodedata.category(character) in {"Cf", "Mn", "Me"})


def _cell(text: str) -> str:
    """A cell with no line end and no bare pipe: the last guard, for text that should already be harmless."""
    return re.sub(r"(?<!\\)\|", r"\\|", _LINE_ENDS.sub(" ", text)).strip()


def table(header: Sequence[str], rows: Iterable[Sequence[str]], align: Sequence[Alignment] = ()) -> str:
    """A GitHub table, padded so that the Markdown itself can be read in a terminal.

    Cells are Markdown: foreign text in them has gone through ``echo`` or ``plain``.

    Raises:
        ValueError: a row has another number of cells than the header.
    """
    lines = [[_cell(cell) for cell in row] for row in (header, *rows)]
    for line in lines:
        if len(line) != len(header):
            raise ValueError(f"a row of {len(line)} cells in a table of {len(header)} columns: {line}")
    alignment = [*align, *(["left"] * (len(header) - len(align)))]
    widths = [min(_PAD_AT_MOST, max(3, *(_width(line[column]) for line in lines))) for column in range(len(header))]

    def padded(text: str, column: int) -> str:
        space = " " * max(0, widths[column] - _width(text))
        return space + text if alignment[column] == "right" else text + space

    rule = ["-" * (width - 1) + (":" if side == "right" else "-") for width, side in zip(widths, alignment, strict=True)]
    written = [[padded(cell, column) for column, cell in enumerate(line)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in (written[0], rule, *written[1:]))


def right_after_first(columns: int) -> tuple[Alignment, ...]:
    """The alignment of a table with a name in its first column and numbers in ``columns`` more."""
    right: Alignment = "right"
    return ("left", *(right for _ in range(columns)))


def bullets(items: Iterable[str]) -> str:
    """A bullet list; each item is one line of Markdown."""
    return "\n".join(f"- {_LINE_ENDS.sub(' ', item)}" for item in items)


def paragraphs(*blocks: str) -> str:
    """The non-empty blocks with one blank line between them and a newline at the end."""
    return "\n\n".join(block.strip("\n") for block in blocks if block.strip()) + "\n"
