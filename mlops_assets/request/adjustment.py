"""A reply's changes upon what was asked: the merged request, held to every rule that an issue is held to, and the difference.

Pure merging. Reading the reply is in ``commands``; whether its writer may ask for it is in ``authority``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, JsonValue
from pydantic_core import PydanticUndefined

from mlops_assets.errors import Problem, RequestInvalid
from mlops_assets.request.agreement import request_of
from mlops_assets.request.correction import corrected_block
from mlops_assets.request.dialects import FREE_FIELDS, KEYS, first_name
from mlops_assets.request.fields import normal, read_choice
from mlops_assets.request.problems import KEY_CODES, Path, ProblemLog, dotted, nearest, shortened
from mlops_assets.request.reading import Reading
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.request.vocabulary import ALGORITHMS
from mlops_assets.request.yaml_nodes import MAX_DEPTH, Items, Leaf, Node, Pairs, control_characters
from mlops_assets.tasks.interface import Algorithm

#: What makes an issue the issue it is: a reply that changes one of these asks for something else.
FIXED: Final = ("model_id", "dataset.dataset_id")
_TOP: Final = frozenset(path.split(".")[0] for path in KEYS)


class Difference(NamedTuple):
    """One field that an adjustment changed, by the key that an issue would use; None is "not set"."""

    field: str
    before: JsonValue
    after: JsonValue


def adjusted(asked: TrainingRequest, changes: Mapping[str, JsonValue], *, offered: Sequence[Algorithm]) -> TrainingRequest:
    """``asked`` with the ``changes`` of a reply merged in; calling it again with the same changes gives the same.

    Keys are those of either dialect, dotted or nested. A bare name of one of the algorithm's hyperparameters means that one.
    Mappings that a person fills freely (hyperparameters, tags) keep the entries that the reply does not name; another
    algorithm starts from its own defaults. A key with nothing after it changes nothing.

    Raises:
        RequestInvalid: with every problem of the changes and of what they lead to, and the corrected changes to paste. A
            reply cannot change the model line, the data set or the language, and can only narrow ``auto_approve``,
            ``max_cost_usd`` and ``max_retry``.
    """
    log = ProblemLog()
    tree = _tree(changes, asked, offered, log)
    request = _merge(tree, asked, offered, log)
    if request is not None and not log.problems:
        return request
    guessed = [problem for problem in log.problems if problem.field in map(dotted, log.renamed) and problem.code in KEY_CODES]
    if guessed and len(log.problems) > len(guessed):
        plain, other = _without_guesses(changes, asked, offered, log, guessed)
        if any(problem not in plain.problems for problem in log.problems):
            log, tree = plain, other
    corrected = corrected_block(tree, log)
    usable = any(line and not line.lstrip().startswith("#") and not line.endswith(":") for line in corrected.splitlines())
    raise RequestInvalid(log.problems, corrected=corrected if usable else None)


def _merge(tree: Pairs, asked: TrainingRequest, offered: Sequence[Algorithm], log: ProblemLog) -> TrainingRequest | None:
    """The merged request, or None where the ``log`` says why there is none; it may also say what must not be changed."""
    standing = dict(_fields(asked))
    reading = Reading(tree, log, offered, standing)
    for field in FREE_FIELDS - {"hyperparameters"}:
        if field in reading.values and field in standing:
            reading.values[field] = _merged(standing[field], reading.values[field])
    _hold_fixed(reading, asked, log)
    _only_narrowed(reading, asked, log)
    return request_of(reading, "", "")


def _without_guesses(
    changes: Mapping[str, JsonValue],
    asked: TrainingRequest,
    offered: Sequence[Algorithm],
    first: ProblemLog,
    guessed: Sequence[Problem],
) -> tuple[ProblemLog, Pairs]:
    """What is left to say, and of which tree, where each misspelt key is one mistake: nothing that follows from a guess."""
    log = ProblemLog()
    tree = _tree(changes, asked, offered, log)
    taken = [(found, path) for path in first.renamed if (found := _taken(tree, path)) is not None]
    _merge(tree, asked, offered, log)
    for (parent, key, value), path in taken:
        parent.entries[key] = value
        log.removed[path] = next(problem.code for problem in guessed if problem.field == dotted(path))
    left = [problem for problem in first.problems if problem in guessed or problem in log.problems]
    log.problems[:] = [*left, *(problem for problem in log.problems if problem not in left)]
    return log, tree


def _taken(tree: Pairs, path: Path) -> tuple[Pairs, str, Node] | None:
    """What stands at ``path``, taken out of its mapping; None where there is nothing."""
    node: Node | None = tree
    for part in path[:-1]:
        node = node.entries.get(str(part)) if isinstance(node, Pairs) else None
    key = str(path[-1])
    return (node, key, node.entries.pop(key)) if isinstance(node, Pairs) and key in node.entries else None


def difference(before: TrainingRequest, after: TrainingRequest) -> list[Difference]:
    """Every field in which two requests differ, in the order of the schema; free mappings entry by entry."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    names = list(dict.fromkeys((*old, *new)))
    return [Difference(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


# --- the changes as a tree ----------------------------------------------------------------------------------------------


def _tree(changes: Mapping[str, JsonValue], asked: TrainingRequest, offered: Sequence[Algorithm], log: ProblemLog) -> Pairs:
    """The changes as an issue would write them: dotted keys nested, bare hyperparameters in their section."""
    tree = Pairs(0)
    algorithm = _algorithm(changes, asked, offered)
    for key, value in changes.items():
        parts = [part.strip() for part in normal(key).split(".")]
        if parts == ["language"]:
            if value != asked.language:
                log.add(("language",), "not_by_reply", str(value), (asked.language,))
            continue
        if len(parts) == 1 and _is_hyperparameter(parts[0], algorithm, asked):
            parts.insert(0, "hyperparameters")
        if len(parts) > MAX_DEPTH:
            log.add((key,), "too_deep", key, (f"<= {MAX_DEPTH}",))
        elif any(not part or control_characters(part) for part in parts):
            log.add((key,), "unknown_key", key)
        else:
            _place(tree, parts, _node(value), (), log)
    return tree


def _algorithm(changes: Mapping[str, JsonValue], asked: TrainingRequest, offered: Sequence[Algorithm]) -> Algorithm | None:
    """The algorithm that will train, if an installed task offers it."""
    named = changes.get("algorithm")
    name: Any = asked.algorithm
    if isinstance(named, str):
        name = read_choice(named, (*ALGORITHMS, *(a.name for a in offered)), (), ProblemLog())
    return next((a for a in offered if a.name == name), None)


def _is_hyperparameter(key: str, algorithm: Algorithm | None, asked: TrainingRequest) -> bool:
    """Whether a bare key is, or is most like, the name of a hyperparameter."""
    if key in _TOP:
        return False
    if algorithm is None:
        return key in asked.hyperparameters
    names = {name for knob in algorithm.hyperparameters for name in (knob.name, *knob.aliases)}
    near = nearest(key, (*names, *_TOP))
    dotted = any(path.endswith(f".{key}") for path in KEYS)
    return key in names or (near in names and near not in _TOP and not dotted)


def _place(node: Pairs, parts: Sequence[str], value: Node, path: Path, log: ProblemLog) -> None:
    """Put ``value`` where the dotted key says; a key that is there already must say the same."""
    key, here = parts[0], (*path, parts[0])
    present = node.entries.get(key)
    if len(parts) > 1:
        if present is None:
            present = node.entries[key] = Pairs(0)
        if isinstance(present, Pairs):
            _place(present, parts[1:], value, here, log)
        else:
            log.add(here, "conflict", ".".join(parts), (key,), keep=True)
    elif present is None:
        node.entries[key] = value
    elif isinstance(present, Pairs) and isinstance(value, Pairs):
        for inner, child in value.entries.items():
            _place(present, [inner], child, here, log)
    elif present != value:
        log.add(here, "duplicate_key", key, keep=True)


def _node(value: JsonValue) -> Node:
    if isinstance(value, dict):
        return Pairs(0, {str(key): _node(inner) for key, inner in value.items()})
    if isinstance(value, list):
        return Items(0, [_node(inner) for inner in value])
    if isinstance(value, str):
        return Leaf(value, False, 0)
    return Leaf("null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value), True, 0)


# --- what a reply may change --------------------------------------------------------------------------------------------


def _hold_fixed(reading: Reading, asked: TrainingRequest, log: ProblemLog) -> None:
    for field, present in zip(FIXED, (asked.model_id, asked.dataset.dataset_id), strict=True):
        given = reading.values.get(field, present)
        if given != present:
            log.add(reading.paths[field], "not_by_reply", str(given), (present,))


def _only_narrowed(reading: Reading, asked: TrainingRequest, log: ProblemLog) -> None:
    """A limit that protects the one who pays or approves stays, or becomes stricter."""
    if reading.values.get("optimization.auto_approve") and not asked.optimization.auto_approve:
        log.add(reading.paths["optimization.auto_approve"], "only_narrowed", "true", ("false",), "false")
    limits: dict[str, float | None] = {"max_cost_usd": asked.max_cost_usd, "max_retry": asked.max_retry}
    for field, limit in limits.items():
        given = reading.values.get(field, limit)
        if limit is not None and given is not None and given > limit:
            log.add(reading.paths[field], "only_narrowed", f"{given:g}", (f"<= {limit:g}",), f"{limit:g}")


def _merged(before: JsonValue, changed: JsonValue) -> JsonValue:
    """``changed`` upon ``before``; entries of mappings that it does not name stay."""
    if not isinstance(before, dict) or not isinstance(changed, dict):
        return changed
    return {**before, **{key: _merged(before.get(key), value) for key, value in changed.items()}}


# --- a request as fields ------------------------------------------------------------------------------------------------


def _fields(model: BaseModel, prefix: str = "", *, whole: bool = False) -> Iterator[tuple[str, Any]]:
    """The dotted fields that an accepted issue would have had to write: those that differ from their defaults."""
    for name, info in type(model).model_fields.items():
        value, field = getattr(model, name), f"{prefix}{name}"
        default = info.get_default(call_default_factory=True)
        if isinstance(value, BaseModel):
            yield from _fields(value, f"{field}.", whole=whole or default is None)
        elif field == "simulation":
            yield from ((f"{field}.{key}", inner) for key, inner in value.items())
        elif value is not None and (whole or default is PydanticUndefined or value != default):
            yield field, value


def _leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Every field by its first name, in JSON values; entries of free mappings one by one."""
    for name in type(model).model_fields:
        value, field = getattr(model, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{field}.")
        elif isinstance(value, dict):
            yield from _entries(value, first_name(field) if field in KEYS.values() else "")
        else:
            yield first_name(field), list(value) if isinstance(value, tuple) else value


def _entries(content: Mapping[str, JsonValue], prefix: str) -> Iterator[tuple[str, JsonValue]]:
    for key, value in content.items():
        name = f"{prefix}.{shortened(key)}" if prefix else shortened(key)
        if isinstance(value, dict) and value:
            yield from _entries(value, name)
        else:
            yield name, value
