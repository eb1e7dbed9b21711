"""The corrected block of a refused issue: the same keys with every suggestion applied, ready to paste."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from mlops_assets.request.problems import Path, ProblemLog, shortened
from mlops_assets.request.yaml_nodes import Items, Leaf, Node, Pairs, control_characters, number_of

_LETTER: Final = r"A-Za-z0-9_\u3040-\u30ff\u4e00-\u9fff"
_PLAIN: Final = re.compile(rf"[{_LETTER}./+-](?:[{_LETTER} .@/+%<>=:-]{{0,254}}[{_LETTER}%/+-])?")
_PLAIN_WORDS: Final = frozenset({"true", "false", "null", "~", "yes", "no", "on", "off"})


def corrected_block(root: Pairs | None, log: ProblemLog) -> str:
    """The body as block YAML with suggestions applied; what has none is commented out, what is missing is named at the end.

    Comments of the writer are not kept. With nothing left to correct this is the body itself in canonical layout.
    """
    lines = _mapping(root, (), 0, log) if root is not None else []
    for problem in log.wanted:
        choice = problem.suggestion or " | ".join(problem.allowed[:8])
        lines.append(f"# {problem.field}: {_comment(choice)}".rstrip())
    return "\n".join(lines) + "\n"


def _mapping(node: Pairs, path: Path, indent: int, log: ProblemLog) -> list[str]:
    lines: list[str] = []
    for key, value in node.entries.items():
        here = (*path, key)
        name = _scalar(Leaf(log.renamed.get(here, key), True, 0), is_key=True)
        block = _entry(name + ":", value, here, indent, log)
        if here in log.removed:
            block = [" " * indent + "# " + _comment(line[indent:], 240) for line in block]
            block[0] += f"  # {log.removed[here]}"
        lines += block
    return lines


def _entry(start: str, value: Node, path: Path, indent: int, log: ProblemLog) -> list[str]:
    """The lines of ``start`` (a key with its colon, or a dash) and its value."""
    pad = " " * indent
    if path in log.replaced:
        return [f"{pad}{start} {_scalar(Leaf(log.replaced[path], True, 0))}"]
    if isinstance(value, Leaf):
        return [f"{pad}{start} {_scalar(value)}".rstrip()]
    if isinstance(value, Pairs):
        inner = _mapping(value, path, indent + 2, log)
        return [pad + start, *inner] if inner else [f"{pad}{start} {{}}"]
    return [pad + start, *_list(value, path, indent + 2, log)] if value.nodes else [f"{pad}{start} []"]


def _list(node: Items, path: Path, indent: int, log: ProblemLog) -> list[str]:
    lines: list[str] = []
    for position, item in enumerate(node.nodes):
        here = (*path, position)
        block = _entry("-", item, here, indent, log)
        if here in log.removed:
            block = [" " * indent + "# " + _comment(line[indent:], 240) for line in block]
        lines += block
    return lines


def _scalar(leaf: Leaf, *, is_key: bool = False) -> str:
    """One scalar on one line, quoted where it would be read as something else."""
    text = leaf.text
    if control_characters(text):
        return '""'
    if leaf.plain and text.lower() in ("", "~", "null"):
        return "" if not is_key else '""'
    safe = _PLAIN.fullmatch(text) and ": " not in text and "<<" not in text and not text.startswith("- ")
    if safe and text not in ("-", "+") and not text.startswith(("---", "...")):
        looks_other = text.lower() in _PLAIN_WORDS or number_of(text) is not None
        if leaf.plain or not looks_other:
            return text
    return _quoted(text)


def _quoted(text: str) -> str:
    """A double-quoted scalar on which all readers agree.

    Escaped are, beside what YAML wants: backticks, which could end the fence around the block; the start of a hidden comment,
    which would be taken out when the block is pasted and could pass for a marker of the platform; and what nobody can see.
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("`", "\\x60")
    escaped = escaped.replace("<!--", "\\x3c!--")
    return '"' + "".join(f"\\U{ord(c):08x}" if _is_unseen(c) else c for c in escaped) + '"'


def _is_unseen(character: str) -> bool:
    """Whether nothing is drawn for a character; spaces, and the joiner inside emoji, are meant to be as they are."""
    return not character.isprintable() and character != "\u200d" and unicodedata.category(character) != "Zs"


def _comment(text: str, length: int | None = None) -> str:
    return (shortened(text) if length is None else text[:length]).replace("`", "'").replace("<!--", "<! --")
