"""The routes of the model server as an RSGI application.

HTTP only: what a request may hold is known to the model's reader, which model is active to ``rotation``.
Source: RSGI specification, https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import msgspec
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # public, its module has no __all__

from mlops_assets.serving.answering import Answer, PredictionFailed, Reader
from mlops_assets.serving.limits import BODY_SECONDS, MAX_HELD_BYTES
from mlops_assets.serving.metrics import CONTENT_TYPE, ServingMetrics
from mlops_assets.serving.model import LoadedModel
from mlops_assets.serving.refusal import InputProblem, InputRefused, echo, refusal_body

_JSON = [("content-type", "application/json")]
_PAGE = [
    ("content-type", "text/html; charset=utf-8"),
    ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"),
    ("x-content-type-options", "nosniff"),
]
_ROUTES = {
    "/invocations": ("POST",),
    "/ping": ("GET", "HEAD"),
    "/openapi.json": ("GET", "HEAD"),
    "/docs": ("GET", "HEAD"),
    "/metrics": ("GET", "HEAD"),
    "/drift": ("GET", "HEAD"),
}
#: What proxies count for a client that did not wait; it is never sent.
_CLIENT_GONE = 499
log = logging.getLogger(__name__)

Headers = list[tuple[str, str]]
Reply = tuple[int, Headers, bytes]


class ActiveModel:
    """The one reference that a switch changes. ``reason`` says why there is no model."""

    def __init__(self, model: LoadedModel | None = None, reason: str = "no model is loaded yet") -> None:
        self.model = model
        self.reason = reason


class Application:
    """Answers requests with whatever model is active at the moment a request is read."""

    def __init__(self, active: ActiveModel, metrics: ServingMetrics, environment: str = "") -> None:
        self._active = active
        self._metrics = metrics
        self._environment = environment
        # Two: one long batch must not keep the next one waiting, and more would only starve the small requests.
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="batch")
        self._waiting = 0
        self._held = 0
        self._pages: dict[str, Callable[[], Reply]] = {
            "/ping": self._ping,
            "/openapi.json": self._openapi,
            "/docs": self._docs,
            "/metrics": lambda: (200, [("content-type", CONTENT_TYPE)], self._metrics.text()),
            "/drift": self._drift,
        }

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        if scope.proto != "http":
            protocol.close(404)
            return
        path, method = scope.path, scope.method
        if path == "/invocations" and method == "POST":
            started = perf_counter()
            try:
                status, headers, body = await self._invocations(scope, protocol)
            except ProtocolClosed:
                # The client went away while it sent the body: nobody is left to answer, and its time tells nothing.
                self._metrics.request(path, _CLIENT_GONE)
                return
            self._metrics.invocation(status, perf_counter() - started)
        else:
            status, headers, body = self._page(path, method)
            self._metrics.request(path if path in _ROUTES else "other", status)
            if method == "HEAD":
                body = b""
        protocol.response_bytes(status, headers, body)

    async def _invocations(self, scope: Any, protocol: Any) -> Reply:
        model = self._active.model
        if model is None:
            return self._unavailable()
        try:
            media_type = _media_type(scope.headers.get("content-type"), model.reader)
            size = _announced(scope, model.reader.body_limit)
            held = model.reader.body_limit if size is None else size
            if self._held + held > MAX_HELD_BYTES:
                return _busy("the requests under way hold all the memory there is for them", given=self._held)
            self._held += held
            try:
                return await self._answered(model, media_type, protocol, size)
            finally:
                self._held -= held
        except InputRefused as refusal:
            return refusal.status, _JSON, refusal.body()
        except PredictionFailed as failure:
            log.error("prediction failed: %s", failure)
            return 500, _JSON, refusal_body([InputProblem("prediction_failed", str(failure))])

    async def _answered(self, model: LoadedModel, media_type: str, protocol: Any, size: int | None) -> Reply:
        """Read the body and answer it, here or in a thread."""
        reader = model.reader
        body = await _read_body(protocol, size, reader.body_limit)
        if len(body) <= reader.inline_limit:
            answer: Answer = model.answer(media_type, body)
        elif reader.waiting_limit is not None and self._waiting >= reader.waiting_limit:
            text = f"{self._waiting} requests are waiting already"
            return _busy(text, given=self._waiting, allowed=f"at most {reader.waiting_limit} requests at a time")
        else:
            answer = await self._in_thread(model, media_type, body)
        self._metrics.predicted(model, answer)
        return 200, _JSON, answer.body

    async def _in_thread(self, model: LoadedModel, media_type: str, body: bytes) -> Answer:
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, model.answer, media_type, body)
        finally:
            self._waiting -= 1

    def _page(self, path: str, method: str) -> Reply:
        allowed = _ROUTES.get(path)
        if allowed is None:
            problem = InputProblem("not_found", f"there is nothing at {echo(path)}", given=echo(path), allowed=", ".join(_ROUTES))
            return 404, _JSON, refusal_body([problem])
        if method not in allowed:
            text = f"{path} does not answer {echo(method)}"
            body = refusal_body([InputProblem("method", text, given=echo(method), allowed=", ".join(allowed))])
            return 405, [*_JSON, ("allow", ", ".join(allowed))], body
        return self._pages[path]()

    def _ping(self) -> Reply:
        model = self._active.model
        if model is None:
            return self._unavailable()
        content = {
            "status": "healthy",
            "model_id": model.metadata.model_id,
            "version": model.version,
            "environment": self._environment,
            "digest": model.digest,
        }
        return 200, _JSON, msgspec.json.encode(content)

    def _openapi(self) -> Reply:
        model = self._active.model
        return self._unavailable() if model is None else (200, _JSON, model.openapi)

    def _docs(self) -> Reply:
        model = self._active.model
        return self._unavailable() if model is None else (200, _PAGE, model.documentation)

    def _drift(self) -> Reply:
        model = self._active.model
        if model is None:
            return self._unavailable()
        named = {"model_id": model.metadata.model_id, "version": model.version, "environment": self._environment}
        return 200, _JSON, msgspec.json.encode({**named, **model.drift.page()})

    def _unavailable(self) -> Reply:
        return 503, _JSON, refusal_body([InputProblem("no_model", self._active.reason)])


def _busy(text: str, **details: Any) -> Reply:
    body = refusal_body([InputProblem("busy", f"{text}; try again in a second", **details)])
    return 503, [*_JSON, ("retry-after", "1")], body


def _media_type(header: str | None, reader: Reader) -> str:
    """The media type of a content-type header.

    Raises:
        InputRefused: 415 for another type or an encoding other than UTF-8.
    """
    if header == "application/json":
        return header
    media_type, _, parameters = (header or "").partition(";")
    media_type = media_type.strip().lower()
    if media_type in reader.media_types:
        charset = parameters.lower().replace('"', "").replace(" ", "").partition("charset=")[2].partition(";")[0]
        if charset in ("", "utf-8", "utf8", "us-ascii"):
            return media_type
    given = header or "no content-type"
    problem = InputProblem(
        "content_type",
        f"content-type {echo(given)!r} is not served",
        field="content-type",
        given=echo(given),
        allowed=", ".join(reader.media_types) + " (text as UTF-8)",
    )
    raise InputRefused(415, [problem])


def _announced(scope: Any, limit: int) -> int | None:
    """The bytes that the body will have; None where the client does not say.

    Raises:
        InputRefused: 413 for a body over the limit.
    """
    length = scope.headers.get("content-length")
    if length is None or not length.isdigit():
        return None
    if int(length) > limit:
        raise _too_large(int(length), limit)
    return int(length)


async def _read_body(protocol: Any, size: int | None, limit: int) -> bytes:
    """The whole body, never holding more than the limit in memory.

    Raises:
        InputRefused: 408 for a body that does not arrive, 413 for one over the limit.
        ProtocolClosed: the client went away.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            if size is not None:
                whole: bytes = await protocol()
                return whole
            parts, total = [], 0
            async for part in protocol:
                total += len(part)
                if total > limit:
                    raise _too_large(total, limit)
                parts.append(part)
            return b"".join(parts)
    except TimeoutError as error:
        text = f"the body did not arrive within {BODY_SECONDS:.0f} s"
        raise InputRefused(408, [InputProblem("too_slow", text)]) from error


def _too_large(size: int, limit: int) -> InputRefused:
    text = f"the body has {size:,} bytes or more"
    return InputRefused(413, [InputProblem("body_too_large", text, given=size, allowed=f"at most {limit:,} bytes")])
