"""YAML and JSON text to a tree of nodes that remember how they were written.

The tree is built straight from the parser's event stream, so that what is refused (anchors, aliases, tags, more than
one document, depth, number of nodes, duplicate keys, control characters) is refused before anything is constructed:
a chain of aliases costs nothing. Scalars follow the YAML 1.2 core schema (``3e-4`` is a number, ``no`` is text, ``007``
and dates are text). What the keys mean is in ``dialects``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NoReturn

import yaml
from pydantic import JsonValue

from mlops_assets.request.issue_text import half_width
from mlops_assets.request.problems import Path, ProblemLog

MAX_DEPTH: Final = 8
MAX_NODES: Final = 500
MAX_REPORTED_LINES: Final = 20

_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]{1,40}|[0-9]{1,40}(?:\.[0-9]{0,40})?)(?:[eE][-+]?[0-9]{1,4})?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.?(?:inf|infinity|nan)", re.IGNORECASE)
#: C0 and C1 controls, lone surrogates, non-characters, line separators and the signs that turn the reading direction.
_CONTROL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass(frozen=True)
class Leaf:
    """One scalar: its text, and whether it stood without quotes."""

    text: str
    plain: bool
    line: int

    @property
    def value(self) -> JsonValue:
        """The text as YAML 1.2 reads it; numbers that are not finite stay text."""
        if not self.plain:
            return self.text
        if self.text in _NULLS:
            return None
        if self.text in _BOOLEANS:
            return _BOOLEANS[self.text]
        number = number_of(self.text)
        return self.text if number is None or not math.isfinite(number) else number


@dataclass
class Items:
    """A list of nodes."""

    line: int
    nodes: list[Node] = field(default_factory=list)


@dataclass
class Pairs:
    """A mapping, keys in the order written and each only once."""

    line: int
    entries: dict[str, Node] = field(default_factory=dict)


Node = Leaf | Items | Pairs


class Unreadable(Exception):
    """The log holds a problem after which reading on makes no sense."""


def number_of(text: str) -> int | float | None:
    """The number that ``text`` spells, infinity or NaN included; None for any other text.

    Thousands may be set apart with underscores as in ``10_000``.
    """
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    if "_" in text and re.fullmatch(r"[-+]?[0-9]{1,3}(?:_[0-9]{3}){1,5}", text):
        text = text.replace("_", "")
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) and not re.match(r"[-+]?0[0-9]", text) else None


def control_characters(text: str) -> list[str]:
    """The code points in ``text`` that nobody can see or that PyYAML cannot read, e.g. ``U+202E``; at most three."""
    found = dict.fromkeys(f"U+{ord(m[0]):04X}" for m in _CONTROL.finditer(text[:65536]))
    return list(found)[:3]


def read_yaml(text: str, log: ProblemLog, *, first_line: int = 1) -> Node | None:
    """The one document in ``text`` as nodes; None when it is empty.

    Problems that leave a readable tree (an anchor, a tag, a duplicate key) are logged and reading goes on.

    Raises:
        Unreadable: a problem was logged after which there is no tree.
    """
    for number, line in enumerate(text.split("\n")):
        if found := control_characters(line):
            log.add((), "control_character", f"line {first_line + number}: {', '.join(found)}")
        if len(log.problems) >= MAX_REPORTED_LINES:
            break
    if any(p.code == "control_character" for p in log.problems):
        raise Unreadable
    try:
        return _Builder(log).read(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        number = mark.line if mark else 0
        lines = text.split("\n")
        written = lines[number] if number < len(lines) else ""
        log.add((), "yaml_syntax", f"line {first_line + number}: {written.strip() or error.problem or ''}")
        raise Unreadable from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets int() and chr() speak for themselves: a directive with a huge version, "\UFFFFFFFF"
        log.add((), "yaml_syntax", str(error))
        raise Unreadable from error


@dataclass
class _Open:
    """A collection whose end has not been seen; ``key`` is the mapping key that waits for its value."""

    node: Items | Pairs
    path: Path
    key: str | None = None
    skip: bool = False


class _Builder:
    """Turns parse events into nodes, counting as it goes."""

    def __init__(self, log: ProblemLog) -> None:
        self.log = log
        self.stack: list[_Open] = []
        self.count = 0
        self.root: Node | None = None

    def read(self, events: Iterator[yaml.Event]) -> Node | None:
        """The one document's root; None where it holds nothing. `Unreadable` once the log says why no more can be read."""
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    if self._is_trailing(list(islice(events, 3))):
                        break
                    self._stop("yaml_documents", f"line {_line(event)}: ---")
            elif isinstance(event, yaml.NodeEvent):
                self._take(event)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                self.stack.pop()
        return None if isinstance(self.root, Leaf) and self.root.value is None else self.root

    @staticmethod
    def _is_trailing(following: list[yaml.Event]) -> bool:
        """Whether the document just begun is only the ``---`` that closes front matter."""
        content, end = following[0], following[-1]
        return (
            isinstance(content, yaml.ScalarEvent)
            and content.style is None
            and not content.value
            and isinstance(end, yaml.StreamEndEvent)
        )

    def _take(self, event: yaml.NodeEvent) -> None:
        self.count += 1
        if self.count > MAX_NODES:
            self._stop("too_many_nodes", f"> {MAX_NODES}", (f"<= {MAX_NODES}",))
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            self.log.add(self._path(), "yaml_anchor", f"*{event.anchor}")
            self._place(Leaf("", True, line))
            return
        if event.anchor is not None:
            self.log.add(self._path(), "yaml_anchor", f"&{event.anchor}", keep=True)
        if getattr(event, "tag", None) is not None:
            self.log.add(self._path(), "yaml_tag", str(getattr(event, "tag", "")), keep=True)
        if isinstance(event, yaml.ScalarEvent):
            plain = event.style is None
            self._place(Leaf(self._text(event.value, plain), plain, line))
            return
        node: Items | Pairs = Pairs(line) if isinstance(event, yaml.MappingStartEvent) else Items(line)
        if len(self.stack) >= MAX_DEPTH:
            self._stop("too_deep", f"line {line}", (f"<= {MAX_DEPTH}",))
        path = self._path()
        self._place(node)
        self.stack.append(_Open(node, path))

    def _text(self, text: str, plain: bool) -> str:
        """The scalar's text with surrogate pairs of JSON joined; escapes can smuggle what the source may not hold."""
        if plain:
            return half_width(text)
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        if found := control_characters(text):
            self.log.add(self._path(), "control_character", ", ".join(found))
        return text

    def _place(self, node: Node) -> None:
        """Put a finished or just opened node where the innermost open collection expects it."""
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if isinstance(top.node, Items):
            top.node.nodes.append(node)
        elif top.key is None:
            if isinstance(node, Leaf):
                self._key(top, node)
            else:
                self._stop("yaml_syntax", f"line {node.line}: a key that is a list or a mapping")
        else:
            if not top.skip:
                top.node.entries[top.key] = node
            top.key, top.skip = None, False

    def _key(self, top: _Open, leaf: Leaf) -> None:
        name = half_width(leaf.text).strip()
        top.key = name
        if not isinstance(top.node, Pairs):
            return
        if name == "<<" and leaf.plain:
            self.log.add((*top.path, name), "yaml_anchor", "<<")
            top.skip = True
        elif name in top.node.entries:
            self.log.add((*top.path, name), "duplicate_key", f"line {leaf.line}: {name}", keep=True)
            top.skip = True

    def _path(self) -> Path:
        """Where the next node belongs."""
        if not self.stack:
            return ()
        top = self.stack[-1]
        if isinstance(top.node, Items):
            return (*top.path, len(top.node.nodes))
        return (*top.path, top.key) if top.key is not None else top.path

    def _stop(self, code: str, given: str, allowed: tuple[str, ...] = ()) -> NoReturn:
        self.log.add((), code, given, allowed)
        raise Unreadable


def _line(event: yaml.Event) -> int:
    """The line, from 1, on which an event begins."""
    return event.start_mark.line + 1 if event.start_mark is not None else 0


def json_of(node: Node) -> JsonValue:
    """The plain value of a node; a list of one-entry mappings with distinct keys becomes one mapping.

    Both dialects write `reward_function` and the like either way, and mean the same.
    """
    if isinstance(node, Leaf):
        return node.value
    if isinstance(node, Pairs):
        return {key: json_of(value) for key, value in node.entries.items()}
    singles = [n.entries for n in node.nodes if isinstance(n, Pairs) and len(n.entries) == 1]
    names = [next(iter(entries)) for entries in singles]
    if names and len(names) == len(node.nodes) == len(set(names)):
        return {key: json_of(value) for entries in singles for key, value in entries.items()}
    return [json_of(n) for n in node.nodes]
