"""The application under load and with slow clients, spoken to in memory as the HTTP server does (RSGI)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.serving import application
from mlops_assets.serving.application import ActiveModel, Application
from mlops_assets.serving.limits import MAX_BODY_BYTES
from mlops_assets.serving.metrics import ServingMetrics
from mlops_assets.serving.model import LoadedModel

ROW = json.dumps({"年齢": 42}).encode()


@dataclass
class Request:
    """One request; its body arrives when ``arrived`` is set."""

    body: bytes = ROW
    announced: bool = True
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 0
    content: bytes = b""

    proto, path, method = "http", "/invocations", "POST"

    @property
    def headers(self) -> dict[str, str]:
        length = {"content-length": str(len(self.body))} if self.announced else {}
        return {"content-type": "application/json", **length}

    async def _whole(self) -> bytes:
        await self.arrived.wait()
        return self.body

    def __call__(self) -> Awaitable[bytes]:
        return self._whole()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield await self._whole()

    def response_bytes(self, status: int, headers: Any, content: bytes) -> None:
        self.status, self.content = status, content


@pytest.fixture
def served(people: Path) -> Application:
    return Application(ActiveModel(LoadedModel(people)), ServingMetrics())


@pytest.mark.parametrize("announced", [True, False])
def test_bodies_beyond_the_memory_for_them_are_told_to_come_back(
    served: Application, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    room = 2 * (len(ROW) if announced else MAX_BODY_BYTES)  # a body of unknown length may become the largest
    monkeypatch.setattr(application, "MAX_HELD_BYTES", room)

    async def asked() -> None:
        """Two requests whose bodies are still coming fill the room; a third is refused, and a fourth after them answered."""
        first, second, third, fourth = (Request(announced=announced) for _ in range(4))
        under_way = [asyncio.create_task(served.__rsgi__(one, one)) for one in (first, second)]
        await asyncio.sleep(0)
        await served.__rsgi__(third, third)
        assert (third.status, json.loads(third.content)["error"]["problems"][0]["code"]) == (503, "busy")
        first.arrived.set(), second.arrived.set(), fourth.arrived.set()
        await asyncio.gather(*under_way)
        await served.__rsgi__(fourth, fourth)
        assert [one.status for one in (first, second, fourth)] == [200, 200, 200]

    asyncio.run(asked())


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_does_not_arrive_is_given_up(served: Application, monkeypatch: pytest.MonkeyPatch, announced: bool) -> None:
    monkeypatch.setattr(application, "BODY_SECONDS", 0.05)

    async def asked() -> Request:
        request = Request(announced=announced)
        await asyncio.wait_for(served.__rsgi__(request, request), 5)
        return request

    reply = asyncio.run(asked())
    assert (reply.status, json.loads(reply.content)["error"]["problems"][0]["code"]) == (408, "too_slow")
