"""Reading one written value as the type that its field of the training request has.

The types, choices and ranges come from ``schema`` itself, so that they are written down once; here are the manners of
reading (``yes`` is true, ``Random Forest`` is ``random_forest``) and the patterns of names. Which key means which field
is in ``dialects``.
"""

from __future__ import annotations

import math
import re
import types
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel

from mlops_assets.request.dialects import PRIORITY_METRICS, WORD_ALIASES
from mlops_assets.request.prices import instance_types
from mlops_assets.request.problems import Path, ProblemLog, nearest
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.request.task_types import slug
from mlops_assets.request.vocabulary import METRICS, MODEL_ID_PATTERN, SEMANTIC_VERSION_PATTERN
from mlops_assets.request.yaml_nodes import Items, Leaf, Node, control_characters, number_of

TEXT_LENGTH: Final = 256
DATASET_ID_PATTERN: Final = r"[A-Za-z0-9](?:\.?[A-Za-z0-9_-]){0,127}"
URI_PATTERN: Final = r"[a-z][a-z0-9+]{1,9}://[A-Za-z0-9_-](?:[./]?[A-Za-z0-9_=@:+~%-]){0,1000}/?"
WORD_PATTERN: Final = r"[A-Za-z0-9](?:[._-]?[A-Za-z0-9]){0,63}"

#: Pattern -> what it accepts, in words that are the same in every language.
_SPELLED: Final[dict[str, tuple[str, ...]]] = {
    MODEL_ID_PATTERN: ("a-z 0-9 -", "<= 63"),
    DATASET_ID_PATTERN: ("A-Z a-z 0-9 . _ -", "<= 128"),
    URI_PATTERN: ("s3://bucket/folder/",),
    WORD_PATTERN: ("A-Z a-z 0-9 . _ -", "<= 64"),
    SEMANTIC_VERSION_PATTERN: ("v1.2.3",),
}
#: Field -> pattern of the whole text, and the code where it does not match.
_PATTERNS: Final[dict[str, tuple[str, str]]] = {
    "model_id": (MODEL_ID_PATTERN, "bad_identifier"),
    "dataset.dataset_id": (DATASET_ID_PATTERN, "bad_identifier"),
    "evaluation.test_dataset": (DATASET_ID_PATTERN, "bad_identifier"),
    "dataset.uri": (URI_PATTERN, "bad_identifier"),
    "packaging.model_version": (SEMANTIC_VERSION_PATTERN, "bad_version"),
    "variant": (WORD_PATTERN, "bad_identifier"),
    "deployment.target": (WORD_PATTERN, "bad_identifier"),
    "deployment.instance_type": (WORD_PATTERN, "bad_identifier"),
    "preprocessing.augmentation": (WORD_PATTERN, "bad_identifier"),
}
_INSTANCE_TYPE: Final = "optimization.custom_optimizations.phase2_training.instance_type"
#: The word that leaves a setting to the optimiser's rules; a list that holds only it is an empty one.
AUTO: Final = "auto"
_TRUE: Final = frozenset({"true", "yes", "on"})
_FALSE: Final = frozenset({"false", "no", "off"})
_LENGTHS: Final = {"dataset.uri": 1024}
#: Lists of plain names, that people also write as one value with commas.
_LISTS_IN_ONE: Final = frozenset({"preprocessing.augmentation", "dataset.classes"})


class Invalid:
    """The answer for a value that was refused; the log says why."""


INVALID: Final = Invalid()


@dataclass(frozen=True)
class FieldType:
    """The type of a field or of the items of its list, with its accepted words and limits."""

    kind: type
    choices: tuple[str, ...]
    limits: tuple[Ge | Gt | Le | Lt, ...]
    is_list: bool

    def allowed(self) -> tuple[str, ...]:
        """What may be given, in words that are the same in every language."""
        if self.choices:
            return self.choices
        return described(self.kind, _limit(self.limits, Ge, Gt), _limit(self.limits, Le, Lt))


def described(kind: type, low: str | None, high: str | None) -> tuple[str, ...]:
    """A type and its range as words: ``("integer", ">= 1")``."""
    if kind is bool:
        return ("true", "false")
    name = {int: "integer", float: "number"}.get(kind, "text")
    return (name, *(bound for bound in (low, high) if bound))


@cache
def field_type(field: str) -> FieldType:
    """The type of a dotted field of ``TrainingRequest``."""
    model: type[BaseModel] = TrainingRequest
    *parents, last = field.split(".")
    for name in parents:
        model = next(
            a for a in _alternatives(model.model_fields[name].annotation) if isinstance(a, type) and issubclass(a, BaseModel)
        )
    info = model.model_fields[last]
    found = _type_of(info.annotation, tuple(info.metadata))
    choices = found.choices
    if field in ("evaluation.metrics", "evaluation.threshold_metric"):
        choices = tuple(METRICS)
    elif field == PRIORITY_METRICS:
        choices = (AUTO, *METRICS)
    elif field == _INSTANCE_TYPE:
        choices = (AUTO, *instance_types())
    return FieldType(found.kind, choices, found.limits, found.is_list)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of an optional or union type without None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(a for a in get_args(annotation) if a is not type(None))
    return (annotation,)


def _type_of(annotation: Any, metadata: tuple[Any, ...]) -> FieldType:
    limits = tuple(m for m in metadata if isinstance(m, (Ge, Gt, Le, Lt)))
    inner = _alternatives(annotation)[0]
    origin = get_origin(inner)
    if origin is Annotated:
        base, *more = get_args(inner)
        flat = [m for extra in more for m in (extra.metadata if hasattr(extra, "metadata") else [extra])]
        return _type_of(base, (*metadata, *flat))
    if origin is Literal:
        return FieldType(str, tuple(str(a) for a in get_args(inner)), (), False)
    if origin is tuple:
        item = _type_of(get_args(inner)[0], ())
        return FieldType(item.kind, item.choices, item.limits, True)
    return FieldType(inner, (), limits, False)


def _limit(limits: Iterable[Ge | Gt | Le | Lt], *kinds: type) -> str | None:
    for limit in limits:
        if isinstance(limit, kinds):
            sign, bound = next((s, getattr(limit, a)) for a, s in _SIGNS.items() if hasattr(limit, a))
            return f"{sign} {bound:g}" if isinstance(bound, float) else f"{sign} {bound}"
    return None


_SIGNS: Final = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def read_value(node: Node, field: str, path: Path, log: ProblemLog) -> Any:
    """The value of ``field`` as written at ``path``; ``INVALID`` after logging what is wrong with it.

    Where the log suggests another value, that one is returned, so that reading on finds the remaining problems.
    """
    expected = field_type(field)
    if not expected.is_list:
        if isinstance(node, Leaf):
            return _read_leaf(node, field, expected, path, log)
        log.add(path, "wrong_type", "…", expected.allowed())
        return INVALID
    if not isinstance(node, Items):
        log.add(path, "wrong_type", node.text if isinstance(node, Leaf) else "…", ("list",))
        return INVALID
    read: list[Any] = []
    for position, item in enumerate(node.nodes):
        if isinstance(item, Leaf):
            read.append(_read_leaf(item, field, expected, (*path, position), log))
        else:
            log.add((*path, position), "wrong_type", "…", expected.allowed())
            read.append(INVALID)
    valid = [v for v in read if not isinstance(v, Invalid) and not (field == PRIORITY_METRICS and v == AUTO)]
    return tuple(valid if expected.kind is int else dict.fromkeys(valid))


def list_from(leaf: Leaf, field: str) -> Items:
    """A list written as one value: ``recall, precision`` where words are expected, else the value as its only item.

    Two numbers are also written ``640x640``.
    """
    parts = [leaf.text]
    if field_type(field).choices or field in _LISTS_IN_ONE:
        parts = re.split("[,、，]", leaf.text)
    if field == "preprocessing.input_size":
        parts = re.split("[,、，x×]", leaf.text.lower())
    return Items(leaf.line, [Leaf(part.strip(), leaf.plain, leaf.line) for part in parts if part.strip()])


def _read_leaf(leaf: Leaf, field: str, expected: FieldType, path: Path, log: ProblemLog) -> Any:
    if expected.choices:
        return read_choice(leaf.text, expected.choices, path, log, WORD_ALIASES.get(field, {}))
    if expected.kind is bool:
        word = normal(leaf.text).lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        log.add(path, "wrong_type", leaf.text, ("true", "false"), nearest(word, ("true", "false")))
        return INVALID
    if expected.kind in (int, float):
        return _read_number(leaf.text, expected, path, log)
    return _read_text(leaf, field, path, log)


def normal(text: str) -> str:
    """``text`` in compatibility form without surrounding space, for words, numbers and identifiers."""
    return unicodedata.normalize("NFKC", text).strip()


def _bare(word: str) -> str:
    return re.sub(r"[\s_./-]+", "", normal(word).lower())


def read_choice(text: str, choices: Iterable[str], path: Path, log: ProblemLog, aliases: dict[str, str] | None = None) -> Any:
    """The one of ``choices`` that ``text`` means; case, spaces, hyphens and underscores do not matter."""
    allowed = tuple(choices)
    known = {_bare(alias): word for alias, word in (aliases or {}).items()} | {_bare(word): word for word in allowed}
    bare = _bare(text[:TEXT_LENGTH])
    if bare in known:
        return known[bare]
    near = nearest(bare, known)
    log.add(path, "not_allowed", text, allowed, known[near] if near else None)
    return known[near] if near else INVALID


def _read_number(text: str, expected: FieldType, path: Path, log: ProblemLog) -> Any:
    low, high = _bounds(expected.limits)
    value, code, suggestion = checked_number(text, expected.kind, low, high)
    if code is None:
        outside = [m for m in expected.limits if (isinstance(m, Gt) and value == m.gt) or (isinstance(m, Lt) and value == m.lt)]
        if not outside:
            return value
        code, suggestion = "out_of_range", None
    open_ends = any(isinstance(m, (Gt, Lt)) for m in expected.limits)
    log.add(path, code, text, expected.allowed(), None if code == "out_of_range" and open_ends else suggestion)
    return INVALID


def _bounds(limits: Iterable[Ge | Gt | Le | Lt]) -> tuple[float | None, float | None]:
    low = high = None
    for limit in limits:
        if isinstance(limit, (Ge, Gt)):
            low = float(limit.ge if isinstance(limit, Ge) else limit.gt)  # type: ignore[arg-type]
        else:
            high = float(limit.le if isinstance(limit, Le) else limit.lt)  # type: ignore[arg-type]
    return low, high


def checked_number(
    text: str, kind: type, low: float | None, high: float | None
) -> tuple[int | float | None, str | None, str | None]:
    """``text`` as an integer or a number within inclusive bounds: (value, None, None), or (None, problem code, suggestion)."""
    word = normal(text[:TEXT_LENGTH])
    number = number_of(word)
    if number is None:
        percent = number_of(word[:-1]) if word.endswith("%") else None
        usable = kind is float and percent is not None and math.isfinite(percent)
        return None, "wrong_type", f"{percent / 100:g}" if usable and percent is not None else None
    if not math.isfinite(number):
        return None, "out_of_range", None
    if kind is int and number != int(number):
        return None, "wrong_type", None
    if (low is not None and number < low) or (high is not None and number > high):
        bound = low if low is not None and number < low else high
        return None, "out_of_range", f"{bound:.15g}"
    return (int(number) if kind is int else float(number)), None, None


def _read_text(leaf: Leaf, field: str, path: Path, log: ProblemLog) -> Any:
    rule = _PATTERNS.get(field)
    text = normal(leaf.text) if rule else leaf.text.strip()
    if len(text) > _LENGTHS.get(field, TEXT_LENGTH):
        log.add(path, "too_large", text, (f"<= {_LENGTHS.get(field, TEXT_LENGTH)}",))
        return INVALID
    if not text:
        log.add(path, "wrong_type", "", ("text",))
        return INVALID
    if "\n" in text or control_characters(text):
        log.add(path, "control_character", ", ".join(control_characters(text)) or "U+000A")
        return INVALID
    if rule is None or re.fullmatch(rule[0], text):
        return text
    suggestion = _mended(field, text)
    fits = suggestion is not None and re.fullmatch(rule[0], suggestion)
    log.add(path, rule[1], text, _SPELLED[rule[0]], suggestion if fits else None)
    return suggestion if fits else INVALID


def _mended(field: str, text: str) -> str | None:
    """The nearest text that fits the field's pattern, if there is an obvious one."""
    if field == "model_id":
        return slug(text)
    if field == "packaging.model_version":
        numbers = re.fullmatch(r"[vV]?\.?([0-9]{1,6})(?:\.([0-9]{1,6}))?(?:\.([0-9]{1,6}))?", text)
        return "v" + ".".join(str(int(n or 0)) for n in numbers.groups()) if numbers else None
    if field == "dataset.uri":
        return None
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") or None
