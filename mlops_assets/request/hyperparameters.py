"""Holding an issue's hyperparameters against what an algorithm offers: names, aliases, types, ranges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import JsonValue

from mlops_assets.request.fields import INVALID, Invalid, checked_number, described, normal, read_choice
from mlops_assets.request.problems import Path, ProblemLog, nearest
from mlops_assets.tasks.interface import Algorithm, Hyperparameter

_SWITCH: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def checked_hyperparameters(
    given: Mapping[str, JsonValue], algorithm: Algorithm | None, path: Path, log: ProblemLog
) -> dict[str, JsonValue]:
    """``given`` under the algorithm's own names and in its types; problems go to ``log``.

    With ``algorithm`` None nothing is known of the names: they are kept, if they are names at all.
    """
    values: dict[str, JsonValue] = {}
    written: dict[str, str] = {}
    taken = set(given)
    for name, value in given.items():
        here = (*path, name)
        if algorithm is None:
            if not _NAME.fullmatch(name):
                log.add(here, "bad_identifier", name, (_NAME.pattern,))
            values[name] = value
            continue
        knob = algorithm.hyperparameter(name)
        if knob is None:
            names = [h.name for h in algorithm.hyperparameters]
            others = [alias for h in algorithm.hyperparameters for alias in h.aliases]
            near = nearest(name, [*names, *others])
            knob = algorithm.hyperparameter(near) if near else None
            free = knob is not None and taken.isdisjoint((knob.name, *knob.aliases))
            log.add_key(here, "unknown_hyperparameter", names, knob.name if knob and free else None)
            if knob is None or not free:
                continue
            taken.add(knob.name)
        checked = _checked(knob, value, here, log)
        if isinstance(checked, Invalid):
            continue
        if knob.name in values and values[knob.name] != checked:
            log.add(here, "conflict", f"{name}: {checked}", (f"{written[knob.name]}: {values[knob.name]}",))
            continue
        values[knob.name] = checked
        written[knob.name] = name
    return values


def _checked(knob: Hyperparameter, value: JsonValue, path: Path, log: ProblemLog) -> Any:
    """``value`` in the knob's type, or ``INVALID`` with a problem."""
    allowed = _allowed(knob)
    if knob.nullable and (value is None or (isinstance(value, str) and normal(value).lower() in ("none", "null"))):
        return None
    code, suggestion = "wrong_type", None
    word = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    checked: Any = INVALID
    if value is None or isinstance(value, (list, dict)):
        word = "…" if value is not None else word
    elif knob.choices:
        return read_choice(word, knob.choices, path, log)
    elif knob.kind == "str":
        checked = word
    elif knob.kind == "bool":
        checked = _SWITCH.get(word.lower(), INVALID)
    elif not isinstance(value, bool):
        number, found, suggestion = checked_number(word, int if knob.kind == "int" else float, knob.minimum, knob.maximum)
        code, checked = found or code, INVALID if found else number
    if isinstance(checked, Invalid):
        log.add(path, code, word, allowed, suggestion)
    return checked


def _allowed(knob: Hyperparameter) -> tuple[str, ...]:
    """What the knob takes, in words that are the same in every language."""
    kind = {"int": int, "float": float, "bool": bool, "str": str}[knob.kind]
    low = None if knob.minimum is None else f">= {knob.minimum:g}"
    high = None if knob.maximum is None else f"<= {knob.maximum:g}"
    return (*(knob.choices or described(kind, low, high)), *(("null",) if knob.nullable else ()))
