"""From a file that a person submits to the issue it opens: title, body and labels; the body is kept as it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mlops_assets.request.issue_text import MAX_BYTES, request_blocks, to_ascii_syntax, with_plain_lines
from mlops_assets.request.problems import ProblemLog, shortened
from mlops_assets.request.yaml_nodes import Items, Leaf, Pairs, Unreadable, read_yaml

TRAIN_LABEL: Final = "mlops:train"
_HEADING: Final = re.compile(r"[ ]{0,3}#[ \t]+(\S.*)")


@dataclass(frozen=True)
class IssueDraft:
    """What opening an issue needs."""

    title: str
    body: str
    labels: tuple[str, ...]


def draft_issue(text: str, *, name: str) -> IssueDraft:
    """The issue that the file called ``name`` opens.

    The title is the `title:` of the example's wrapper, else the first line if that is a `# heading` (which then leaves
    the body), else the name. The labels are those of the wrapper and always the one that starts a training. A body
    that cannot be read opens an issue too: its problems are told in the thread.
    """
    plain = with_plain_lines(text[: MAX_BYTES + 1])
    title, labels = _wrapper(plain)
    first, _, rest = text.lstrip("\ufeff\r\n").partition("\n")
    heading = _HEADING.fullmatch(first.rstrip())
    body = text
    if heading and "```" in rest:  # a `#` line of bare YAML is a comment
        title, body = title or heading[1], rest.lstrip("\r\n")
    return IssueDraft(shortened(title or name), body, tuple(dict.fromkeys((TRAIN_LABEL, *labels))))


def _wrapper(text: str) -> tuple[str, tuple[str, ...]]:
    """Title and labels of the `title/labels/body` wrapper, empty where there is none."""
    blocks = request_blocks(text)
    try:
        node = read_yaml(to_ascii_syntax(blocks[0].text), ProblemLog())
    except Unreadable:
        return "", ()
    if not isinstance(node, Pairs):
        return "", ()
    title, labels = node.entries.get("title"), node.entries.get("labels")
    words = (
        labels.nodes
        if isinstance(labels, Items)
        else [Leaf(w, True, 0) for w in labels.text.split(",")]
        if isinstance(labels, Leaf)
        else []
    )
    named = tuple(shortened(w.text) for w in words if isinstance(w, Leaf) and w.text.strip())
    return (title.text.strip() if isinstance(title, Leaf) else ""), named
