"""The webhook receiver: an HTTP server that verifies GitHub's deliveries and puts them into the inbox before it answers.

HTTP, signature and the few fields that sensors go by; keeping deliveries is the inbox's, acting on them the sensors'. Nothing
is parsed before the signature of the raw bytes holds. The signature covers the body alone: under another delivery id or event
name, the same body makes a sensor look at an issue again or ask for a run that already exists, and no more.
Source: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries and RSGI,
https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

import msgspec

from mlops_assets.errors import UserError
from mlops_assets.serving.process import port_is_free
from mlops_assets.serving.refusal import InputProblem, InputRefused, echo
from resources.inbox import ISSUE_EVENTS, PUSH_EVENTS, Delivery, Inbox, InboxUnavailable

MAX_BODY_BYTES: Final = 25 * 1024 * 1024
"""GitHub sends no larger payload: https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap"""
MAX_BYTES_IN_FLIGHT: Final = 4 * MAX_BODY_BYTES
"""Large bodies that are being read at once, of senders who have proved nothing yet."""
SMALL_BODY_BYTES: Final = 1024 * 1024
"""A usual payload has 15 KB. Up to this size nobody is turned away because of others; the server's own limit is enough."""
MAX_REQUESTS: Final = 512
BODY_SECONDS: Final = 10.0
"""GitHub gives a delivery up after ten seconds."""
HEADER_SECONDS: Final = 5.0
MAX_BATCH: Final = 64
_INLINE_BYTES: Final = 256 * 1024
_MEDIA_TYPES: Final = ("application/json", "application/x-www-form-urlencoded")
_SIGNATURE: Final = re.compile(r"sha256=[0-9a-f]{64}")
_DELIVERY_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_EVENT: Final = re.compile(r"[a-z_]{1,64}")
_HOOKS: Final = ("/", "/webhook")
_JSON: Final = [("content-type", "application/json")]
log = logging.getLogger(__name__)


class _Repository(msgspec.Struct, frozen=True):
    full_name: str


class _Issue(msgspec.Struct, frozen=True):
    number: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    pull_request: dict[str, Any] | None = None


class _Payload(msgspec.Struct, frozen=True):
    """The part of a payload that is read here; every other key is passed over."""

    repository: _Repository | None = None
    action: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    issue: _Issue | None = None
    ref: Annotated[str, msgspec.Meta(max_length=1000)] | None = None


def signature_holds(secret: bytes, body: bytes, header: str | None) -> bool:
    """Whether ``X-Hub-Signature-256`` is the HMAC-SHA256 of exactly these bytes; compared in constant time."""
    if header is None or not _SIGNATURE.fullmatch(header):
        return False
    expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"sha256={expected}".encode(), header.encode())


def read_delivery(delivery_id: str, event: str, media_type: str, body: bytes, repository: str) -> Delivery | None:
    """A verified delivery of ``repository`` in the form in which it is kept; None for one that no sensor goes by.

    Raises:
        InputRefused: 400 for a body that is not the payload of such an event, 403 for another repository's.
    """
    content = body if media_type == _MEDIA_TYPES[0] else _form_payload(body)
    try:
        payload = msgspec.json.decode(content, type=_Payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _refused(400, "payload", f"the payload cannot be read: {echo(str(error))}", field="body") from error
    if payload.repository is not None or event in (*ISSUE_EVENTS, *PUSH_EVENTS):
        name = payload.repository.full_name if payload.repository is not None else "none"
        if name.casefold() != repository.casefold():
            text = "this receiver is for another repository"
            raise _refused(403, "repository", text, field="repository.full_name", given=name, allowed=repository)
    if event in ISSUE_EVENTS:
        if payload.issue is None:
            raise _refused(400, "payload", f"a payload of `{event}` names its issue", field="issue", given="none")
        if payload.issue.pull_request is not None:
            return None
        return Delivery(delivery_id, event, payload.action, payload.issue.number, None, content)
    if event in PUSH_EVENTS:
        if payload.ref is None:
            raise _refused(400, "payload", f"a payload of `{event}` names its branch or tag", field="ref", given="none")
        return Delivery(delivery_id, event, None, None, payload.ref, content)
    return None


def _form_payload(body: bytes) -> bytes:
    """The JSON in the field ``payload`` of a form."""
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=8, encoding="utf-8", errors="strict")
    except ValueError as error:  # UnicodeDecodeError included
        raise _refused(400, "payload", "the form cannot be read", field="body") from error
    values = fields.get("payload", [])
    if len(values) != 1:
        raise _refused(400, "payload", "a form has the JSON in one field `payload`", field="payload", given=len(values))
    return values[0].encode("utf-8")


def _refused(status: int, code: str, message: str, **more: Any) -> InputRefused:
    return InputRefused(status, [InputProblem(code, message, **{name: echo(value) for name, value in more.items()})])


class Receiver:
    """Answers requests; a delivery is answered as stored only after the inbox has it on the disk."""

    def __init__(self, inbox: Inbox, secret: str, repository: str, *, body_seconds: float = BODY_SECONDS) -> None:
        self._inbox = inbox
        self._secret = secret.encode()
        self._repository = repository
        self._body_seconds = body_seconds
        self._in_flight = 0
        # One: SQLite has one writer, and whoever waits for it is written in the same transaction.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inbox")
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="payload")
        self._queue: list[tuple[Delivery, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        if scope.proto != "http":
            protocol.close(404)
            return
        try:
            status, content = await self._answer(scope, protocol)
            body = b"" if scope.method == "HEAD" else msgspec.json.encode(content)
        except InputRefused as refusal:
            status, body = refusal.status, refusal.body()
            log.warning("refused with %d: %s", status, refusal.problems[0].code)
        except InboxUnavailable as error:
            status, body = 503, _refused(503, "inbox", "the delivery could not be kept; deliver it again later").body()
            log.error("%s", error)
        protocol.response_bytes(status, _JSON, body)

    async def _answer(self, scope: Any, protocol: Any) -> tuple[int, dict[str, Any]]:
        path, method = scope.path, scope.method
        if path == "/healthz" and method in ("GET", "HEAD"):
            waiting = await asyncio.get_running_loop().run_in_executor(self._writer, self._inbox.waiting)
            return 200, {"status": "healthy", "waiting": waiting}
        if path not in (*_HOOKS, "/healthz"):
            raise _refused(404, "not_found", "there is nothing here", given=path, allowed="POST /webhook, GET /healthz")
        if path not in _HOOKS or method != "POST":
            raise _refused(405, "method", "this method is not answered", given=method, allowed="POST /webhook, GET /healthz")
        return await self._receive(scope.headers, protocol)

    async def _receive(self, headers: Any, protocol: Any) -> tuple[int, dict[str, Any]]:
        signature = headers.get("x-hub-signature-256")
        if signature is None or not _SIGNATURE.fullmatch(signature):
            text = "a delivery is signed; set the same secret at the webhook and here"
            raise _refused(401, "signature", text, field="X-Hub-Signature-256", allowed="sha256= and 64 hexadecimal digits")
        media_type = (headers.get("content-type") or "none").partition(";")[0].strip().lower()
        if media_type not in _MEDIA_TYPES:
            text = "this content type is not read"
            raise _refused(415, "content_type", text, field="Content-Type", given=media_type, allowed=", ".join(_MEDIA_TYPES))
        delivery_id = _header(headers, "X-GitHub-Delivery", _DELIVERY_ID, "a UUID").lower()
        event = _header(headers, "X-GitHub-Event", _EVENT, "the name of an event, such as issues")
        body = await self._body(headers, protocol)
        if not await self._aside(body, signature_holds, self._secret, body, signature):
            text = "the signature is not that of this body under the configured secret"
            raise _refused(401, "signature", text, field="X-Hub-Signature-256")
        if event not in (*ISSUE_EVENTS, *PUSH_EVENTS, "ping"):
            return 202, {"status": "not used", "delivery": delivery_id}
        delivery = await self._aside(body, read_delivery, delivery_id, event, media_type, body, self._repository)
        if event == "ping":
            return 200, {"status": "pong", "delivery": delivery_id}
        if delivery is None:
            return 202, {"status": "not used", "delivery": delivery_id}
        new = await self._keep(delivery)
        subject = delivery.ref if delivery.issue_number is None else f"issue {delivery.issue_number}"
        log.info("%s %s %s of %s", "stored" if new else "had already", delivery_id, event, echo(subject))
        return 202, {"status": "stored" if new else "known", "delivery": delivery_id}

    async def _body(self, headers: Any, protocol: Any) -> bytes:
        """The raw bytes, within the bounds of size, of time and of what is read at once."""
        given = headers.get("content-length")
        expected = int(given) if given is not None and given.isdecimal() else MAX_BODY_BYTES
        if expected > MAX_BODY_BYTES:
            raise _too_large(expected)
        counted = expected if expected > SMALL_BODY_BYTES else 0
        if counted and self._in_flight + counted > MAX_BYTES_IN_FLIGHT:
            raise _refused(503, "busy", "too much is being received at once; deliver it again later")
        self._in_flight += counted
        try:
            return await asyncio.wait_for(_read(protocol), self._body_seconds)
        except TimeoutError:
            text = f"the body did not arrive within {self._body_seconds:g} seconds"
            raise _refused(408, "slow_body", text) from None
        finally:
            self._in_flight -= counted

    async def _aside(self, body: bytes, work: Any, *arguments: Any) -> Any:
        """Do work on a large body in a thread, so that it does not hold up the small ones."""
        if len(body) <= _INLINE_BYTES:
            return work(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._readers, work, *arguments)

    async def _keep(self, delivery: Delivery) -> bool:
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append((delivery, kept))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await kept

    async def _write(self) -> None:
        """Write whatever waits, in one transaction, until nothing does."""
        while self._queue:
            batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
            answers: list[bool] | InboxUnavailable
            try:
                deliveries = [delivery for delivery, _ in batch]
                answers = await asyncio.get_running_loop().run_in_executor(self._writer, self._inbox.store_all, deliveries)
            except InboxUnavailable as error:
                answers = error
            for position, (_, kept) in enumerate(batch):
                if kept.done():  # the sender is gone
                    continue
                if isinstance(answers, InboxUnavailable):
                    kept.set_exception(answers)
                else:
                    kept.set_result(answers[position])


async def _read(protocol: Any) -> bytes:
    parts, total = [], 0
    async for part in protocol:
        total += len(part)
        if total > MAX_BODY_BYTES:
            raise _too_large(total)
        parts.append(part)
    return b"".join(parts)


def _header(headers: Any, name: str, form: re.Pattern[str], allowed: str) -> str:
    value = headers.get(name.lower())
    if not isinstance(value, str) or not form.fullmatch(value):
        raise _refused(
            400, "header", f"{name} is missing or has another form", field=name, given=value or "none", allowed=allowed
        )
    return value


def _too_large(size: int) -> InputRefused:
    text = f"the body has {size:,} bytes or more"
    return _refused(413, "body_too_large", text, given=size, allowed=f"at most {MAX_BODY_BYTES:,} bytes")


def serve(receiver: Receiver, host: str, port: int, *, header_seconds: float = HEADER_SECONDS) -> None:
    """Answer on ``host:port`` until SIGTERM or SIGINT.

    Raises:
        UserError: another process has the port.
    """
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server.embed import Server

    if not port_is_free(host, port):
        raise UserError(
            "another process listens on this port, or the address is not one of this machine",
            field="--port",
            given=f"{host}:{port}",
            next_step="give another one with --port",
        )

    async def main() -> None:
        """Serve until a signal asks the server to stop; both need the loop that runs here."""
        server = Server(
            receiver,
            address=host,
            port=port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=int(header_seconds * 1000), max_buffer_size=64 * 1024),
            websockets=False,
            backlog=1024,
            backpressure=MAX_REQUESTS,
            log_level=LogLevels.error,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        await server.serve()

    asyncio.run(main())
