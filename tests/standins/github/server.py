"""HTTP of the stand-in: sockets, keep-alive, tokens, rate limits, ETags, faults and the request log around the operations."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
import uuid
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.standins.github.accounts import budget
from tests.standins.github.exchange import Exchange, Refused, Request, RequestRecord, Response
from tests.standins.github.faults import Dropped, Fault, Faults, refusal
from tests.standins.github.routing import Call, find
from tests.standins.github.state import User, World

if TYPE_CHECKING:
    from email.message import Message

#: Importing a module registers its operations.
_MODULES = (
    "issues",
    "issue_labels",
    "labels",
    "comments",
    "reactions",
    "accounts",
    "contents",
    "hooks",
    "gitdata",
    "apps",
    "search",
)
LARGEST_BODY = 64 * 1024 * 1024
Watcher = Callable[[Request, "User | None"], None]
View = Callable[[Request], "Response | None"]


class Api:
    """Answers requests; the socket handler and the Python interface both come through here."""

    def __init__(self, world: World, faults: Faults) -> None:
        for name in _MODULES:
            import_module(f"tests.standins.github.{name}")
        self.world, self.faults = world, faults
        self.log: list[RequestRecord] = []
        self.observers: list[Callable[[Exchange], None]] = []
        self.before_write: list[Watcher] = []
        self.after_write: list[Watcher] = []
        self.view: View = lambda _request: None

    def perform(self, request: Request, actor: User | None, through_form: bool = False) -> Response:
        """Do what a request asks, as ``actor``.

        Raises:
            Refused: with the documented answer.
        """
        found, parameters = find("GET" if request.method == "HEAD" else request.method, request.path)
        with self.world.lock:
            return found.handler(Call(self.world, request, parameters, actor, through_form))

    def answer(self, request: Request) -> Response:
        """Answer a request from outside, with everything that GitHub puts around it.

        Raises:
            Dropped: a fault wants the connection closed.
        """
        started = time.monotonic()
        actor: User | None = None
        status = 0
        try:
            fault = self.faults.take(request)
            if fault is not None and fault.what == "delay":
                time.sleep(fault.seconds)
            if fault is not None and fault.what == "close":
                raise Dropped
            try:
                actor = self._who(request)
                response = self._guarded(request, actor, fault)
            except Refused as refused:
                response = refused.response
            if fault is not None and fault.what == "lost-close":
                raise Dropped
            if fault is not None and fault.what == "lost":
                response = refusal(self.world, fault)
            response = self._finished(request, actor, response)
            status = response.status
            return response
        finally:
            seconds = time.monotonic() - started
            login = None if actor is None else actor.login
            agent, sent = request.headers.get("user-agent", ""), request.body.decode(errors="replace")
            what = (request.method, request.path, request.query, status, request.conditional, login)
            self.log.append(RequestRecord(*what, self.world.now(), seconds, agent, sent))

    def _who(self, request: Request) -> User | None:
        given = request.headers.get("authorization", "")
        scheme, _, value = given.partition(" ")
        value = value.strip()
        if not given or request.path.startswith("/app"):
            return None
        if scheme.lower() == "basic":
            try:
                value = b64decode(value).decode().partition(":")[2]
            except (NotBase64, UnicodeDecodeError):
                value = ""
        with self.world.lock:
            token = self.world.tokens.get(value)
            if token is None or (token.expires_at is not None and token.expires_at <= self.world.now()):
                if value.count(".") == 2:  # a JSON Web Token of an app: its own operations look at it
                    return None
                raise Refused(401, "Bad credentials")
            return token.user

    def _guarded(self, request: Request, actor: User | None, fault: Fault | None) -> Response:
        if not request.headers.get("user-agent"):
            raise Refused(
                403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header."
            )
        if fault is not None and (isinstance(fault.what, int) or fault.what in ("primary", "secondary", "secondary-429")):
            return refusal(self.world, fault)
        with self.world.lock:
            self._check_limits(request, actor)
        if request.writes:
            for watch in tuple(self.before_write):
                watch(request, actor)
        response = self.perform(request, actor)
        if request.writes and response.status < 400:
            for watch in tuple(self.after_write):
                watch(request, actor)
        return response

    def _check_limits(self, request: Request, actor: User | None) -> None:
        if budget(self.world, actor).remaining <= 0 and request.path != "/rate_limit":
            raise Refused(403, f"API rate limit exceeded for {'user ID ' + str(actor.id) if actor else 'this address'}.")
        limit = self.world.writes_per_minute
        if limit is not None and request.writes and actor is not None:
            now = self.world.now()
            recent = [at for at in self.world.writes.get(actor.login, []) if (now - at).total_seconds() < 60]
            if len(recent) >= limit:
                wait = 60 - int((now - recent[0]).total_seconds())
                text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
                raise Refused(403, text, headers={"Retry-After": str(wait)})
            self.world.writes[actor.login] = [*recent, now]

    def _finished(self, request: Request, actor: User | None, response: Response) -> Response:
        headers = {
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": uuid.uuid4().hex.upper(),
        }
        if response.status == 200 and request.method == "GET" and request.path != "/rate_limit":
            etag = f'W/"{hashlib.sha256(response.body).hexdigest()}"'
            headers |= {"ETag": etag, "Cache-Control": "private, max-age=60, s-maxage=60", "Vary": "Accept, Authorization"}
            wanted = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
            if {etag.removeprefix("W/"), "*"} & wanted:
                response = Response(304, headers=response.headers)
        with self.world.lock:
            left = budget(self.world, actor)
            if response.status != 304 and request.path != "/rate_limit" and left.remaining > 0:
                left.remaining -= 1
            headers |= {
                "x-ratelimit-limit": str(left.limit),
                "x-ratelimit-remaining": str(left.remaining),
                "x-ratelimit-used": str(left.limit - left.remaining),
                "x-ratelimit-reset": str(int(left.reset.timestamp())),
                "x-ratelimit-resource": "core",
            }
        return Response(response.status, response.content, headers | dict(response.headers), response.raw)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        address = urlsplit(self.path)
        length = self.headers.get("Content-Length", "0")
        if "chunked" in self.headers.get("Transfer-Encoding", "") or not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self._write(Refused(411, "Length Required").response)
            return
        body = self.rfile.read(int(length))
        prefix = self.server.prefix
        inside = address.path.startswith(prefix + "/") or address.path == prefix
        path = address.path[len(prefix) :] if inside else address.path
        request = Request(self.command, path or "/", address.query, _lower(self.headers), body)
        api = self.server.api
        if not inside:
            self._write(api.view(request) or Refused(404, "Not Found").response)
            return
        try:
            response: Response | None = api.answer(request)
        except Dropped:
            self.close_connection = True
            response = None
        exchange = Exchange(request, 0) if response is None else _exchange(request, response)
        for observe in tuple(api.observers):
            observe(exchange)
        if response is not None:
            self._write(response)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = _serve  # noqa: N815  the names that http.server calls

    def _write(self, response: Response) -> None:
        raw = response.body
        self.send_response(response.status)
        for name, value in _with_type(response).items():
            self.send_header(name, value)
        if response.status not in (204, 304):
            self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD" and response.status not in (204, 304):
            self.wfile.write(raw)
        self.wfile.flush()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the client has gone; nobody is left to answer
            self.close_connection = True


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _exchange(request: Request, response: Response) -> Exchange:
    return Exchange(request, response.status, _with_type(response), response.body)


def _with_type(response: Response) -> dict[str, str]:
    return ({"Content-Type": "application/json; charset=utf-8"} if response.body else {}) | dict(response.headers)


class Server(ThreadingHTTPServer):
    """The listening socket; stopping also ends connections that clients keep open."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, api: Api, prefix: str, host: str, port: int) -> None:
        self.api, self.prefix = api, prefix
        self._open: set[socket.socket] = set()
        super().__init__((host, port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="github", daemon=True)

    def start(self) -> None:
        """Serve from a thread of its own."""
        self._thread.start()

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Remember the connection."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Forget the connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """Stop listening and close every connection."""
        if not self._thread.is_alive():
            return
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # closed by the other side meanwhile
                continue
