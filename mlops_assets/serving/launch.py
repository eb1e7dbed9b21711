"""Starting the supervisor of an endpoint as a background process, and choosing its port.

Used by ``deployment`` only; what the process does is in ``supervisor``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import mlops_assets
from mlops_assets.errors import UserError
from mlops_assets.serving.endpoint_state import POINTER, SERVER_LOCK, START_LOG, EndpointState, read_state
from mlops_assets.serving.process import holder, port_is_free

#: Below the range that systems hand out to outgoing connections, so that a stopped endpoint finds its port again.
_PORTS = range(20000, 28000)
_SETTLE_SECONDS = 5.0
#: Supervisors started by this process; asked now and then, so that none that has ended stays behind as a zombie.
_started: list[subprocess.Popen[bytes]] = []


def start_supervisor(folder: Path) -> subprocess.Popen[bytes]:
    """Start the endpoint's supervisor in a session of its own, so that it outlives the caller and its terminal."""
    _started[:] = [process for process in _started if process.poll() is None]
    # The child must run the code of this process, also from a checkout that is not installed.
    ours = str(Path(mlops_assets.__file__).parents[1])
    paths = [ours, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    with (folder / START_LOG).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlops_assets.serving", "--endpoint", str(folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            env=environment,
        )
    _started.append(process)
    return process


def settle(folder: Path) -> None:
    """Wait until the server of a supervisor that has ended is gone too."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while holder(folder / SERVER_LOCK) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    _started[:] = [process for process in _started if process.poll() is None]


def choose_port(root: Path, state: EndpointState, claim: Callable[[int], EndpointState]) -> EndpointState:
    """Find a port that is free and that no other endpoint calls its own; ``claim`` writes it down while nobody else can choose.

    Raises:
        UserError: there is none.
    """
    from filelock import FileLock

    with FileLock(root / "ports.lock", timeout=60):
        own = root / state.environment / state.model_id
        others = (read_state(path.parent) for path in root.glob(f"*/*/{POINTER}") if path.parent != own)
        claimed = {other.port for other in others if other is not None} | {state.port}
        # The same line gets the same port on every machine where that is free.
        first = zlib.crc32(state.name.encode()) % len(_PORTS)
        for step in range(len(_PORTS)):
            port = _PORTS[(first + step) % len(_PORTS)]
            if port not in claimed and port_is_free(state.host, port):
                return claim(port)
    raise UserError(
        f"no free port on {state.host}", allowed=(f"{_PORTS.start} to {_PORTS.stop - 1}",), next_step="stop an endpoint"
    )
