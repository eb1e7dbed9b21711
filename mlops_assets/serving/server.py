"""Running the model server in this process: one package in the foreground, or the child of an endpoint's supervisor.

Starting and stopping only: the routes are in ``application``, the models in ``rotation``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from mlops_assets.errors import IntegrityError
from mlops_assets.serving.application import ActiveModel, Application
from mlops_assets.serving.endpoint_state import SERVER_LOCK, STATUS, ServerStatus, read_state, write_atomically
from mlops_assets.serving.metrics import ServingMetrics
from mlops_assets.serving.model import LoadedModel
from mlops_assets.serving.process import LockHeld, die_with_parent, hold, port_is_free
from mlops_assets.serving.rotation import Rotation

EXIT_PORT_TAKEN = 98
EXIT_FAILED = 1
#: How long a predecessor may take to let go of the endpoint.
_HANDOVER_SECONDS = 15.0
log = logging.getLogger(__name__)


def serve_package(package: Path, host: str, port: int) -> int:
    """Serve one package folder until SIGTERM or SIGINT; the exit code.

    The model is verified, loaded and checked against its examples before the port is opened, and nothing is written to disk.
    """
    try:
        model = LoadedModel(package)
    except (IntegrityError, OSError) as error:
        log.error("%s", error)
        return EXIT_FAILED
    if not port_is_free(host, port):
        log.error("port %d of %s is taken by another process; give another one with --port", port, host)
        return EXIT_PORT_TAKEN
    metrics = ServingMetrics()
    metrics.active(model)
    log.info("serving %s %s on %s:%d", model.metadata.model_id, model.version, host, port)
    _run(Application(ActiveModel(model), metrics), host, port)
    return 0


def serve_endpoint(folder: Path, supervisor: int) -> int:
    """Serve the endpoint ``folder`` as the child of ``supervisor``; the exit code."""
    die_with_parent(supervisor)
    try:
        lock = hold(folder / SERVER_LOCK, _HANDOVER_SECONDS)
    except LockHeld as error:
        log.error("%s", error)
        return EXIT_FAILED
    with lock:
        (folder / STATUS).unlink(missing_ok=True)
        state = read_state(folder)
        if state is None:
            log.error("%s has no pointer", folder)
            return EXIT_FAILED
        if not port_is_free(state.host, state.port):
            log.error("port %d of %s is taken by another process", state.port, state.host)
            status = ServerStatus(
                pid=os.getpid(),
                started_at=datetime.now(UTC).isoformat(timespec="seconds"),
                generation=state.generation,
                port_taken=True,
                reason=f"port {state.port} is taken by another process",
            )
            write_atomically(folder / STATUS, status)
            return EXIT_PORT_TAKEN
        active, metrics = ActiveModel(), ServingMetrics(state.environment)
        rotation = Rotation(folder, active, metrics)
        rotation.look()
        stopped = threading.Event()
        threading.excepthook = _end_process
        threading.Thread(target=rotation.follow, args=(stopped,), name="rotation", daemon=True).start()
        _run(Application(active, metrics, state.environment), state.host, state.port)
        stopped.set()
    return 0


def _end_process(failure: threading.ExceptHookArgs) -> None:
    """A server whose thread died would look healthy and follow nothing: end it, the supervisor starts a sound one."""
    traceback: TracebackType | None = failure.exc_traceback
    log.critical("thread failed", exc_info=(failure.exc_type, failure.exc_value or failure.exc_type(), traceback))
    os._exit(EXIT_FAILED)


def _run(application: Application, host: str, port: int) -> None:
    # A long batch hands the interpreter over to small requests after 1 ms instead of 5.
    sys.setswitchinterval(0.001)

    async def main() -> None:
        """Serve until SIGTERM or SIGINT, which the loop itself must hear: the server belongs to its thread."""
        server = Server(
            application,
            address=host,
            port=port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            backlog=1024,
            log_level=LogLevels.error,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        await server.serve()

    asyncio.run(main())
