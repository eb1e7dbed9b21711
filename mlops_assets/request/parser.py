"""Issue text to training request: ``parse_issue`` finds every problem at once, or gives the one canonical request.

The text is treated as data: at most 64 KiB, no anchors, tags or second documents, known keys only. Here is the way from the
text to the one mapping in it; what that says is in ``reading`` and ``agreement``, what will be done about it in ``planner``.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlops_assets.errors import RequestInvalid
from mlops_assets.request.agreement import request_of
from mlops_assets.request.correction import corrected_block
from mlops_assets.request.dialects import WRAPPER_KEYS
from mlops_assets.request.issue_text import MAX_BYTES, request_blocks, to_ascii_syntax, with_plain_lines
from mlops_assets.request.problems import ProblemLog
from mlops_assets.request.reading import Reading
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.request.yaml_nodes import Items, Leaf, Pairs, Unreadable, read_yaml
from mlops_assets.tasks.interface import Algorithm


def parse_issue(title: str, body: str, *, offered: Sequence[Algorithm]) -> TrainingRequest:
    """The training request that the issue asks for, in canonical form; both dialects of one request give equal objects.

    ``offered`` are the algorithms of the installed tasks: their hyperparameters are checked by name, type and range.
    An algorithm that is known but not offered is a valid request; that nothing installed runs it is for the plan to say.

    Raises:
        RequestInvalid: with every problem of the body, and a corrected block wherever the body could be read.
    """
    log = ProblemLog()
    root: Pairs | None = None
    try:
        root = _tree(body, log)
        request = request_of(Reading(root, log, offered), title, body)
    except Unreadable:
        request = None
    if request is None or log.problems:
        raise RequestInvalid(log.problems, corrected=corrected_block(root, log) if root is not None else None)
    return request


def _tree(body: str, log: ProblemLog, *, unwrap: bool = True) -> Pairs:
    """The mapping in an issue body, with the `title/labels/body` wrapper taken off.

    Raises:
        Unreadable: there is none; the log says why.
    """
    size = len(body) if len(body) > MAX_BYTES else len(body.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        log.add((), "too_large", f"{size} bytes", (f"<= {MAX_BYTES} bytes",))
        raise Unreadable
    blocks = request_blocks(with_plain_lines(body))
    if len(blocks) > 1:
        log.add((), "yaml_documents", ", ".join(f"line {b.line}: ```{b.info}" for b in blocks[:5]))
        raise Unreadable
    node = read_yaml(to_ascii_syntax(blocks[0].text), log, first_line=blocks[0].line + 1)
    if node is None or (isinstance(node, Pairs) and not node.entries):
        if not log.problems:
            log.add((), "empty")
        raise Unreadable
    if not isinstance(node, Pairs):
        log.add((), "not_a_mapping", node.text if isinstance(node, Leaf) else "[…]")
        raise Unreadable
    inner = node.entries.pop("body", None) if unwrap else None
    if isinstance(inner, Leaf) and inner.value is not None:
        inner = _tree(inner.text, log, unwrap=False)
    if isinstance(inner, Items):
        log.add(("body",), "not_a_mapping", "[…]")
        raise Unreadable
    if isinstance(inner, Pairs):
        for key, value in inner.entries.items():
            if key in node.entries and key not in WRAPPER_KEYS:
                log.add((key,), "duplicate_key", key, keep=True)
            node.entries.setdefault(key, value)
    for key in WRAPPER_KEYS:
        node.entries.pop(key, None)
    if not node.entries and not log.problems:
        log.add((), "empty")
        raise Unreadable
    return node
