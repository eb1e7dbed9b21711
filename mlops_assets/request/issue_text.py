"""From the text of an issue to the YAML text in it: line ends, hidden comments, fences and full-width punctuation.

Everything here is linear in the length of the text and knows nothing of what the keys mean; parsing the YAML is in
``yaml_nodes``, the language of the writer in ``language``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_BYTES: Final = 64 * 1024

_FENCE: Final = re.compile(r"^([ \t>]{0,16})(`{3,}|~{3,})[ \t]{0,8}([A-Za-z0-9_+-]{0,20})")
_YAML_FENCES: Final = frozenset({"yaml", "yml", "json"})
_FULL_WIDTH: Final = {0xFF01 + i: 0x21 + i for i in range(94)} | {0x3000: 0x20, 0xA0: 0x20}
_FLOW_OPEN: Final = "{[｛［"
_FLOW_CLOSE: Final = "}]｝］"
_SYNTAX: Final = "：　＃｛｝［］，－｜＞＂＇\xa0"
_KEY: Final = re.compile(r"([^\s\"'\[\]{},:：#＃｛｝［］，　]{1,64})[ \t　\xa0]*：[ \t　\xa0]*")
_ITEM: Final = re.compile(r"[-－](?=[ \t　\xa0]|$)")
_JAPANESE: Final = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d々〆]")


@dataclass(frozen=True)
class Fence:
    """One fenced block: the word after the backticks, the text inside, and its first line (from 0)."""

    info: str
    text: str
    line: int
    last: int


def with_plain_lines(text: str) -> str:
    """``text`` without byte-order mark, with ``\\n`` line ends and without HTML comments.

    A comment leaves its line breaks, so that line numbers stay true. One that is never closed stays as it is: what
    follows it is then not dropped silently.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
    kept: list[str] = []
    position = 0
    while (start := text.find("<!--", position)) >= 0:
        end = text.find("-->", start + 4)
        if end < 0:
            break
        kept += [text[position:start], "\n" * text.count("\n", start, end)]
        position = end + 3
    return "".join(kept) + text[position:]


def fences(text: str) -> list[Fence]:
    """The fenced blocks of a Markdown text, in order; one left open reaches to the end."""
    found: list[Fence] = []
    opened: tuple[str, str, str, int] | None = None
    inside: list[str] = []
    lines = text.split("\n")
    for number, line in enumerate(lines):
        match = _FENCE.match(line)
        if opened is None:
            if match:
                opened = (match[1], match[2], match[3].lower(), number + 1)
                inside = []
            continue
        indent, mark, info, first = opened
        if match and match[2][0] == mark[0] and len(match[2]) >= len(mark) and not line[match.end() :].strip() and not match[3]:
            found.append(Fence(info, "\n".join(inside), first, number))
            opened = None
            continue
        inside.append(line.removeprefix(indent) if indent else line)
    if opened is not None:
        found.append(Fence(opened[2], "\n".join(inside), opened[3], len(lines)))
    return found


def request_blocks(text: str) -> list[Fence]:
    """The blocks that may hold the request: the YAML or JSON fences, else the plain fences with a colon, else the whole text."""
    blocks = fences(text)
    tagged = [b for b in blocks if b.info in _YAML_FENCES]
    plain = [b for b in blocks if not b.info and (":" in b.text or "：" in b.text)]
    return tagged or plain or [Fence("", text, 0, text.count("\n") + 1)]


def to_ascii_syntax(text: str) -> str:
    """``text`` with full-width punctuation that stands where YAML wants its own replaced by the ASCII form.

    Keys, colons after keys, indentation, list dashes, comment signs, brackets and the commas and colons inside them
    are replaced; quoted text, comments and the inside of plain values are kept. A full-width space of indentation is
    two columns wide, as it looks.
    """
    if not any(c in text for c in _SYNTAX) and "\t" not in text:
        return text
    out: list[str] = []
    quote, depth = "", 0
    for line in text.split("\n"):
        written, quote, depth = _line_to_ascii(line, quote, depth)
        out.append(written)
    return "\n".join(out)


def _line_to_ascii(line: str, quote: str, depth: int) -> tuple[str, str, int]:
    """One line in ASCII syntax, with the quote and the bracket depth that are open at its end."""
    out: list[str] = []
    position = 0
    if not quote:
        position, start = _line_start(line, depth)
        out.append(start)
    at_start = True  # of a value: only there does a quote or a bracket open something
    while position < len(line):
        c = line[position]
        if quote:
            doubled = quote in "'＇" and line[position : position + 2] == quote * 2
            if doubled or (c == "\\" and quote in '"＂'):
                out.append(line[position : position + 2].translate(_FULL_WIDTH) if doubled else line[position : position + 2])
                position += 2
                continue
            out.append(c.translate(_FULL_WIDTH) if c == quote else c)
            quote = "" if c == quote else quote
            position += 1
            continue
        after_space = position == 0 or line[position - 1] in " \t　\xa0" or at_start
        if c in "#＃" and after_space:
            out.append("#" + line[position + 1 :])
            break
        if at_start and c in "\"'＂＇":
            quote = c
            out.append(c.translate(_FULL_WIDTH))
            at_start = False
        elif c in _FLOW_OPEN and (depth or at_start):
            depth += 1
            out.append(c.translate(_FULL_WIDTH))
            at_start = True
        elif depth and c in _FLOW_CLOSE:
            depth -= 1
            out.append(c.translate(_FULL_WIDTH))
            at_start = False
        elif depth and c in ":：,，":
            out.append(": " if c == "：" else ", " if c == "，" else c)
            at_start = True
        elif c in " \t　\xa0":
            out.append(" " if c != "\t" or depth else c)
        else:
            alone = at_start and c in "｜＞" and not line[position + 1 :].strip(" 　-+0123456789")
            out.append(c.translate(_FULL_WIDTH) if alone else c)
            at_start = c == ":" and line[position + 1 : position + 2] in (" ", "　", "\t", "\xa0")
        position += 1
    return "".join(out), quote, depth


def _line_start(line: str, depth: int) -> tuple[int, str]:
    """How far the indentation, list dashes and key of a line reach, and the same in ASCII."""
    position = 0
    out: list[str] = []
    while position < len(line) and line[position] in " \t　\xa0":
        out.append("  " if line[position] == "　" else " " if line[position] == "\xa0" or depth else line[position])
        position += 1
    dashes = False
    while not depth and (item := _ITEM.match(line, position)):
        dashes = True
        out.append("-")
        position = item.end()
        while position < len(line) and line[position] in " \t　\xa0":
            out.append(" ")
            position += 1
    if not depth and (key := _KEY.match(line, position)) and not (dashes and _JAPANESE.search(key[1])):
        return key.end(), "".join(out) + key[1] + ": "
    return position, "".join(out)


def half_width(text: str) -> str:
    """Full-width letters, digits and signs as ASCII, unless the text holds kana or kanji: Japanese text is kept."""
    return text if text.isascii() or has_japanese(text) else text.translate(_FULL_WIDTH)


def has_japanese(text: str) -> bool:
    """Whether there is a kana or kanji in ``text``."""
    return _JAPANESE.search(text) is not None
