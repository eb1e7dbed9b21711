"""Fields that hold a person's own mapping: hyperparameters, a simulation's settings, tags.

Names in them are not known here; what an algorithm knows of its hyperparameters is in ``hyperparameters``.
"""

from __future__ import annotations

import math
from typing import Any, Final

from mlops_assets.request.fields import INVALID, TEXT_LENGTH
from mlops_assets.request.problems import Path, ProblemLog
from mlops_assets.request.yaml_nodes import Items, Leaf, Node, Pairs, control_characters, json_of, number_of

MAX_TAGS: Final = 50


def read_free(value: Node, field: str, path: Path, log: ProblemLog) -> Any:
    """The mapping at ``path`` as JSON, or ``INVALID`` with its problems in ``log``.

    Hyperparameters are given also where there are problems, so that their names can be held against the algorithm's.
    """
    if not isinstance(value, Pairs) and not (field == "simulation.reward_function" and isinstance(value, Items)):
        log.add(path, "wrong_type", value.text if isinstance(value, Leaf) else "[…]", ("mapping",))
        return INVALID
    before = len(log.problems)
    _only_finite(value, path, log)
    if field == "tags" and isinstance(value, Pairs):
        return _tags(value, path, log)
    return json_of(value) if len(log.problems) == before or field == "hyperparameters" else INVALID


def _only_finite(node: Node, path: Path, log: ProblemLog) -> None:
    if isinstance(node, Leaf):
        number = number_of(node.text) if node.plain else None
        if number is not None and not math.isfinite(number):
            log.add(path, "out_of_range", node.text, ("number",))
        return
    for key, value in node.entries.items() if isinstance(node, Pairs) else enumerate(node.nodes):
        if isinstance(key, str) and (len(key) > TEXT_LENGTH or control_characters(key)):
            log.add_key((*path, key), "bad_identifier", (), None)
        _only_finite(value, (*path, key), log)


def _tags(node: Pairs, path: Path, log: ProblemLog) -> dict[str, str]:
    tags: dict[str, str] = {}
    for key, value in node.entries.items():
        if not isinstance(value, Leaf):
            log.add((*path, key), "wrong_type", "…", ("text",))
        elif len(value.text) > TEXT_LENGTH:
            log.add((*path, key), "too_large", value.text, (f"<= {TEXT_LENGTH}",))
        else:
            tags[key] = value.text
    if len(tags) > MAX_TAGS:
        log.add(path, "too_large", str(len(tags)), (f"<= {MAX_TAGS}",))
    return tags
