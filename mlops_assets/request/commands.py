"""What a comment asks the platform to do: ``/retry``, ``/rollback``, ``/cancel``, ``/status``, ``/explain``, or a YAML block.

Reading the text only: it is data, at most 64 KiB of it is looked at, and every step is linear in its length. What the changes
of a retry mean for a request is in ``adjustment``; who may ask for what is in ``authority``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from pydantic import Field, JsonValue

from mlops_assets.errors import RequestInvalid
from mlops_assets.request.correction import corrected_block
from mlops_assets.request.fields import normal, read_value
from mlops_assets.request.issue_text import MAX_BYTES, Fence, half_width, to_ascii_syntax, with_plain_lines
from mlops_assets.request.problems import ProblemLog, nearest
from mlops_assets.request.schema import Frozen
from mlops_assets.request.yaml_nodes import Leaf, Pairs, Unreadable, json_of, read_yaml

#: More lines with a slash, or more commands, than anybody writes; what follows them is not looked at.
MAX_SLASHES: Final = 500
MAX_COMMANDS: Final = 20
MAX_CHANGES: Final = 100
MAX_LINE: Final = 4096
MAX_VALUE: Final = 1024

_COMMAND: Final = re.compile(r"[ 　]{0,3}[/／]([^\s　/／]{1,40})(?=[\s　]|$)(.*)", re.DOTALL)
_QUOTE: Final = re.compile(r"[ 　]{0,3}[>＞]")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)", re.DOTALL)
#: Markup whose lines a page does not show as the writer's text, and what ends it.
_HIDDEN: Final = re.compile(r" {0,3}<(!--|(?:pre|script|style|textarea)(?=[\s>]|$))", re.IGNORECASE)
_HIDDEN_END: Final = re.compile(r"-->|</(?:pre|script|style|textarea)>", re.IGNORECASE)
_VERSION: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}){2}")
_PAIR: Final = re.compile(r"[\w.]{1,64}[=＝]")
_SPACE: Final = " \t　\xa0"
_BETWEEN: Final = _SPACE + ",，、;；"
_OPEN, _CLOSE = "[{", "]}"
#: Keys of the issue itself in a block that was copied whole.
_WRAPPER: Final = ("title", "labels")


class Retry(Frozen):
    """Train again, with ``changes`` to what was asked: dotted or bare keys -> typed values, mappings as written."""

    changes: dict[str, JsonValue] = Field(default_factory=dict)


class Rollback(Frozen):
    """Serve ``version`` again; None is the one before the present."""

    version: str | None = None


class Cancel(Frozen):
    """Stop the training under way, or drop the proposal that waits."""


class Status(Frozen):
    """Tell how far the training is and what is served."""


class Explain(Frozen):
    """Tell why the plan is as it is."""


Command: TypeAlias = Retry | Rollback | Cancel | Status | Explain

_PLAIN: Final[dict[str, Callable[[], Command]]] = {"cancel": Cancel, "status": Status, "explain": Explain}
COMMANDS: Final = ("retry", "rollback", "cancel", "status", "explain")


def parse_command(text: str) -> Command | None:
    """The one command in a comment; None where it asks for nothing.

    A command stands at the start of a line, outside code, quotes and hidden comments. The same one twice is one; a YAML block
    belongs to its `/retry`, or is one by itself. A line that only looks like a path is no command.

    Raises:
        RequestInvalid: with every problem: two different commands, an unknown one with a near match, arguments that
            cannot be read. No other exception, whatever the text is.
    """
    lines, blocks = _scanned(with_plain_lines(text[:MAX_BYTES]))
    log = ProblemLog()
    distinct = _commands(lines, log)
    retried = any(isinstance(command, Retry) for command in distinct)
    block, tree = _block(blocks, log, retried=retried)
    if not distinct and block is None and not log.problems:
        return None
    if len(text) > MAX_BYTES:
        log.add((), "too_large", f"{len(text)} characters", (f"<= {MAX_BYTES}",))
    if len(distinct) > 1 or (distinct and block is not None and not retried):
        named = [f"/{type(command).__name__.lower()}" for command in distinct]
        log.add((), "two_commands", ", ".join([*named[:8], *(["YAML"] if block is not None else [])]))
    command = distinct[0] if distinct else Retry()
    if block is not None and isinstance(command, Retry):
        command = Retry(changes=_united(command.changes, block, log))
    if log.problems:
        raise RequestInvalid(log.problems, corrected=corrected_block(tree, log) if tree is not None else None)
    return command


# --- what of the text may hold a command --------------------------------------------------------------------------------


def _scanned(text: str) -> tuple[list[str], list[Fence]]:
    """The lines that begin with a slash and the fenced blocks, both outside quotes and hidden markup."""
    lines: list[str] = []
    blocks: list[Fence] = []
    mark, info, first, inside, hidden = "", "", 0, [""], False
    for number, line in enumerate(text.split("\n")):
        fence = _FENCE.fullmatch(line)
        if mark:
            if fence and fence[1].startswith(mark) and not fence[2].strip():
                blocks.append(Fence(info, "\n".join(inside), first, number))
                mark = ""
            else:
                inside.append(line)
        elif hidden:
            hidden = not _HIDDEN_END.search(line)
        elif _QUOTE.match(line):
            continue
        elif start := _HIDDEN.match(line):
            hidden = not _HIDDEN_END.search(line, start.end())
        elif fence and not (fence[1][0] == "`" and "`" in fence[2]):
            mark, first, inside = fence[1], number + 1, []
            info = (fence[2].split() or [""])[0].lower()[:20]
        elif _COMMAND.match(line):
            lines.append(line)
    if mark:
        blocks.append(Fence(info, "\n".join(inside), first, first + len(inside)))
    return lines, blocks


def _block(blocks: list[Fence], log: ProblemLog, *, retried: bool) -> tuple[dict[str, JsonValue] | None, Pairs | None]:
    """The changes in the comment's YAML block and its tree; beside `/retry` a JSON or unnamed block is one too.

    Without `/retry` only a fence that says YAML counts: unnamed fences hold logs, and JSON is often an endpoint's answer.
    """
    chosen = [b for b in blocks if b.info in ("yaml", "yml") or (retried and b.info == "json")]
    if not chosen and retried:
        chosen = [b for b in blocks if not b.info and (":" in b.text or "：" in b.text)]
    if not chosen:
        return None, None
    if len(chosen) > 1:
        log.add((), "yaml_documents", ", ".join(f"line {b.line}: {b.info}" for b in chosen[:5]))
        return {}, None
    try:
        node = read_yaml(to_ascii_syntax(chosen[0].text), log, first_line=chosen[0].line + 1)
    except Unreadable:
        return {}, None
    if isinstance(node, Pairs):
        for key in _WRAPPER:
            node.entries.pop(key, None)
        return {key: json_of(value) for key, value in node.entries.items()}, node
    if node is None:
        log.add((), "empty")
    else:
        log.add((), "not_a_mapping", node.text if isinstance(node, Leaf) else "[…]")
    return {}, None


def _united(line: dict[str, JsonValue], block: dict[str, JsonValue], log: ProblemLog) -> dict[str, JsonValue]:
    """The changes of the `/retry` line and of the block; the same key with two values is a contradiction."""
    for key, value in block.items():
        if key in line and line[key] != value:
            log.add((key,), "conflict", str(value), (f"{key}={line[key]}",), keep=True)
    return {**line, **block}


# --- one command line ---------------------------------------------------------------------------------------------------


def _commands(lines: list[str], log: ProblemLog) -> list[Command]:
    """The different commands of a comment, in order."""
    distinct: list[Command] = []
    tried = 0
    for line in list(dict.fromkeys(lines))[:MAX_SLASHES]:
        before = len(log.problems)
        command = _command(line, log)
        tried += command is not None or len(log.problems) > before
        if command is not None and command not in distinct:
            distinct.append(command)
        if tried >= MAX_COMMANDS:
            break
    return distinct


def _command(line: str, log: ProblemLog) -> Command | None:
    """The command of one line; None, perhaps after logging why, where there is none."""
    match = _COMMAND.match(line)
    if match is None:
        return None
    word, rest = normal(match[1]).lower(), match[2].strip(_SPACE)
    path = (f"/{word}",)
    if word not in COMMANDS:
        near = nearest(word, COMMANDS)
        if near is not None and _only_arguments(rest):
            log.add(path, "unknown_command", f"/{word}", tuple(f"/{name}" for name in COMMANDS), f"/{near}")
        return None
    if len(rest) > MAX_LINE:
        log.add(path, "too_large", rest, (f"<= {MAX_LINE}",))
    elif word == "retry":
        return Retry(changes=_arguments(rest, log))
    elif word == "rollback":
        return _rollback(rest, log)
    elif rest and rest[0] not in "#＃":
        log.add(path, "unexpected_argument", rest, (f"/{word}",), f"/{word}")
    else:
        return _PLAIN[word]()
    return None


def _only_arguments(rest: str) -> bool:
    """Whether what follows a word could be arguments of a command, and not the rest of a sentence."""
    words = half_width(rest[:MAX_LINE]).split()
    return all("=" in word or _VERSION.fullmatch(word.lower().removeprefix("v")) for word in words)


def _rollback(rest: str, log: ProblemLog) -> Rollback | None:
    words = normal(rest).partition("#")[0].split()
    if not words:
        return Rollback()
    if len(words) > 1:
        log.add(("/rollback",), "unexpected_argument", rest, ("/rollback", "/rollback v1.2.3"))
        return None
    given = words[0].lower()
    before = len(log.problems)
    version = read_value(
        Leaf(f"v{given}" if _VERSION.fullmatch(given) else given, True, 0), "packaging.model_version", ("/rollback",), log
    )
    return Rollback(version=version) if len(log.problems) == before else None


def _arguments(text: str, log: ProblemLog) -> dict[str, JsonValue]:
    """``key=value`` pairs; values are YAML scalars or bracketed lists, and may be quoted."""
    changes: dict[str, JsonValue] = {}
    position, count = 0, 0
    while True:
        while position < len(text) and text[position] in _BETWEEN:
            position += 1
        if position >= len(text) or text[position] in "#＃":
            return changes
        count += 1
        if count > MAX_CHANGES:
            log.add(("/retry",), "too_many_nodes", f"> {MAX_CHANGES}", (f"<= {MAX_CHANGES}",))
            return changes
        start = position
        while position < len(text) and text[position] not in _SPACE + "=＝":
            position += 1
        key = half_width(text[start:position])
        after = _after_space(text, position)
        if not key or after >= len(text) or text[after] not in "=＝":
            position = _no_pair(text, start, position, log)
            continue
        start = _after_space(text, after + 1)
        if start > after + 1 and _PAIR.match(text, start):  # `a= b=1`: the value is forgotten, not `b=1`
            start = after + 1
        position = _value_end(text, start)
        value = _value(key, text[start:position].rstrip(_BETWEEN), log)
        if key in changes and changes[key] != value:
            log.add((key,), "duplicate_key", key, keep=True)
        changes.setdefault(key, value)


def _after_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


def _no_pair(text: str, start: int, position: int, log: ProblemLog) -> int:
    """Tell of a word without a value; where a colon was meant as the sign, say so. Where to read on."""
    word = half_width(text[start:position])
    key, colon, value = word.partition(":")
    if colon and not value:
        start = _after_space(text, position)
        position = _value_end(text, start)
        value = text[start:position].rstrip(_BETWEEN)
    if not word:  # a lone sign
        position += 1
    log.add(("/retry",), "not_key_value", word, ("key=value",), f"{key}={value}" if colon and key and value else None)
    return position


def _value_end(text: str, start: int) -> int:
    """Where the value that begins at ``start`` ends: at the first space outside its quotes and brackets."""
    quote, depth, position = "", 0, start
    while position < len(text):
        c = half_width(text[position])
        if quote:
            if c == "\\" and quote == '"':
                position += 1
            elif c == quote:
                quote = ""
        elif c in "\"'" and (position == start or depth):
            quote = c
        elif c in _OPEN and (position == start or depth):
            depth += 1
        elif c in _CLOSE and depth:
            depth -= 1
        elif not depth and c in _SPACE:
            return position
        position += 1
    return len(text)


def _value(key: str, written: str, log: ProblemLog) -> JsonValue:
    """One written value, typed as YAML types it."""
    if not written or written[0] in "#＃":
        log.add((key,), "missing", "", ("key=value",))
        return None
    if len(written) > MAX_VALUE:
        log.add((key,), "too_large", written, (f"<= {MAX_VALUE}",))
        return None
    found = ProblemLog()
    try:
        node = read_yaml(to_ascii_syntax(written), found)
    except Unreadable:
        node = None
    for problem in found.problems:
        log.add((key,), problem.code, written, problem.allowed)
    return None if node is None else json_of(node)
