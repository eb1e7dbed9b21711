"""What the small HTTP stand-ins share: a loopback server in a thread, faults by request, and a record of what came in."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Fault(NamedTuple):
    """What happens to one request instead of, or (`after`) after, its being taken."""

    kind: str
    """`429`, `500` …: that status; `drop`: the connection ends without an answer; `hang`: nothing for `seconds`."""
    after: bool = False
    retry_after: str | None = None
    seconds: float = 0.0
    body: bytes = b""


class HttpService(ABC):
    """One POST endpoint on loopback. `faults` are used up one a request, oldest first."""

    path = "/"

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.requests = 0
        self._lock = threading.Lock()
        self._released = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                with service._lock:
                    service.requests += 1
                    fault = service.faults.pop(0) if service.faults else None
                    reply = service._answer(self.path, body, fault)
                if fault is not None and fault.kind == "hang":
                    service._released.wait(fault.seconds)
                if reply is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(reply.status)
                for name, value in reply.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: Any) -> None:
                """Addresses of webhooks are secrets: a stand-in prints none either."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that went away is part of the tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.path}"

    @abstractmethod
    def take(self, content: Any) -> Reply:
        """Judge and keep one request."""

    def _answer(self, path: str, body: bytes, fault: Fault | None) -> Reply | None:
        if fault is not None and not fault.after:
            return self._faulty(fault)
        reply = Reply(404, b"no_service") if path != self.path else self.take(_parsed(body))
        return reply if fault is None else self._faulty(fault)

    @staticmethod
    def _faulty(fault: Fault) -> Reply | None:
        if fault.kind in {"drop", "hang"}:
            return None
        headers = (("Retry-After", fault.retry_after),) if fault.retry_after is not None else ()
        if fault.kind == "302":
            headers = (*headers, ("Location", "/elsewhere"))
        return Reply(int(fault.kind), fault.body, headers)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
