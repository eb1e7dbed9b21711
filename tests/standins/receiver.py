"""A receiver of HTTP posts that keeps what it was sent: the other end of webhooks in tests."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """One post: header names in lower case, the body's raw bytes."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers every post with ``status`` and keeps it."""

    def __init__(self, status: int = 202) -> None:
        self.status = status
        self.received: list[Received] = []
        keep = self

        class _Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                keep.received.append(Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(keep.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
