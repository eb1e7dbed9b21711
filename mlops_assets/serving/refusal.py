"""How the model server says no: one JSON shape for every 4xx, naming field, row, value given and what is allowed.

The words only; finding what is wrong belongs to ``inputs``, routing to ``application``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from difflib import get_close_matches
from reprlib import Repr
from typing import Any

import msgspec

from mlops_assets.errors import UserError

#: An answer never carries more problems than this; the total is always told.
MAX_PROBLEMS = 20
_MAX_ECHO = 120
#: A name that is longer is no misspelling; comparing it letter by letter would take seconds.
_MAX_NAME = 200
#: The beginning of a list or object; all of it may be megabytes.
_SHORT = Repr()
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 30
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = _MAX_ECHO


class InputProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing wrong with one request."""

    code: str
    message: str
    field: str | None = None
    row: int | None = None
    given: Any = None
    allowed: str | None = None
    did_you_mean: str | None = None


class InputRefused(UserError):
    """A request that the model server answers with a 4xx."""

    def __init__(self, status: int, problems: Sequence[InputProblem], *, total: int | None = None) -> None:
        self.status = status
        self.problems = tuple(problems[:MAX_PROBLEMS])
        self.total = len(problems) if total is None else total
        first = self.problems[0]
        super().__init__(first.message, field=first.field, given=first.given, allowed=(first.allowed,) if first.allowed else ())

    def body(self) -> bytes:
        """The JSON answer."""
        return refusal_body(self.problems, self.total)


def refusal_body(problems: Sequence[InputProblem], total: int | None = None) -> bytes:
    """``{"error": {"message": …, "problems": […], "total": n}}`` as UTF-8 JSON."""
    count = len(problems) if total is None else total
    message = problems[0].message if count == 1 else f"{problems[0].message} (and {count - 1} more)"
    return msgspec.json.encode({"error": {"message": message, "problems": list(problems), "total": count}})


def echo(value: Any) -> Any:
    """``value`` as it may be repeated in an answer: short, and of a kind that JSON has a word for."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < 2**53 and math.isfinite(value) else str(value)[:_MAX_ECHO]
    text = value if isinstance(value, str) else _SHORT.repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _MAX_ECHO else f"{text[:_MAX_ECHO]}… ({len(text)} characters)"


def close_names(name: str, names: Sequence[str]) -> list[str]:
    """The one of ``names`` that ``name`` may have been meant to be, if any."""
    return get_close_matches(name, names, n=1, cutoff=0.6) if len(name) <= _MAX_NAME else []
