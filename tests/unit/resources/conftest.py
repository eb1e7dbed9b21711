"""A GitHub of its own for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.standins.github import GitHubStandIn
from tests.unit.resources.on_github import standin


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with standin() as github:
        yield github
