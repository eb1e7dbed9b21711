"""The process above a model server: starts it, starts it again when it dies, keeps its log, and takes it along when it ends.

Knows nothing of models; the server is ``server.serve_endpoint`` in a child process.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType
from typing import IO

from mlops_assets.serving.endpoint_state import SERVER_LOG, SUPERVISOR_LOCK
from mlops_assets.serving.process import LockHeld, hold

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_SOUND_AFTER_SECONDS = 10.0
_STOP_SECONDS = 8.0
_LOG_BYTES = 1_000_000
log = logging.getLogger("supervisor")


class Supervisor:
    """Keeps one server process alive for one endpoint folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stopping = threading.Event()
        self._log = logging.getLogger("server")

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT; 0, or 1 if another supervisor has the endpoint."""
        try:
            lock = hold(self._folder / SUPERVISOR_LOCK, 2.0)
        except LockHeld as error:
            log.error("%s", error)
            return 1
        with lock:
            self._open_log()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            self._supervise()
            log.info("stopped")
        return 0

    def _supervise(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            started = time.monotonic()
            child = self._start()
            code = self._wait(child)
            if self._stopping.is_set():
                return
            pause = _FIRST_PAUSE if time.monotonic() - started > _SOUND_AFTER_SECONDS else min(pause * 2, _LONGEST_PAUSE)
            log.warning("server %d ended with %d; starting it again in %.1f s", child.pid, code, pause)
            self._stopping.wait(pause)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "mlops_assets.serving", "--serve", str(self._folder), "--supervisor", str(os.getpid())]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if child.stdout is not None:
            threading.Thread(target=self._copy_log, args=(child.stdout,), daemon=True).start()
        log.info("started server %d", child.pid)
        return child

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        """Wait for the child; when stopping, ask it to end and insist after a while."""
        deadline = None
        while True:
            try:
                return child.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                if not self._stopping.is_set():
                    continue
            if deadline is None:
                deadline = time.monotonic() + _STOP_SECONDS
                child.terminate()
            elif time.monotonic() > deadline:
                log.warning("server %d did not end within %.0f s and is killed", child.pid, _STOP_SECONDS)
                child.kill()

    def _copy_log(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._log.info("%s", line.decode("utf-8", "replace").rstrip())

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping.set()

    def _open_log(self) -> None:
        handler = RotatingFileHandler(self._folder / SERVER_LOG, maxBytes=_LOG_BYTES, backupCount=2, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        # A full disk costs log lines, never the server.
        logging.raiseExceptions = False
        root = logging.getLogger()
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
