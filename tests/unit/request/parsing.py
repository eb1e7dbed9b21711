"""A body read with the algorithms of the tests: the request, or what is said of it."""

from __future__ import annotations

import pytest

from mlops_assets.errors import RequestInvalid
from mlops_assets.request.parser import parse_issue
from mlops_assets.request.problems import PROBLEM_CODES
from tests.unit.request.conftest import OFFERED


def parse(body: str, title: str = ""):
    return parse_issue(title, body, offered=OFFERED)


def problems(body: str) -> dict[str, tuple[str, str | None]]:
    """field -> (code, suggestion) of a body that must be refused."""
    with pytest.raises(RequestInvalid) as caught:
        parse(body)
    assert all(p.code in PROBLEM_CODES and len(p.given) <= 80 for p in caught.value.problems)
    return {p.field: (p.code, p.suggestion) for p in caught.value.problems}


def codes(body: str) -> set[str]:
    with pytest.raises(RequestInvalid) as caught:
        parse(body)
    return {p.code for p in caught.value.problems}


def only(body: str) -> tuple[str, str, str | None]:
    found = problems(body)
    assert len(found) == 1, found
    return next((field, *rest) for field, rest in found.items())
