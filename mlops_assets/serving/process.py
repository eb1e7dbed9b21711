"""Which process holds an endpoint, and how a child follows its parent: flock and the parent-death signal.

A process id alone proves nothing, because ids are used again; a lock is given back by the kernel at
the very moment its holder dies.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


class LockHeld(Exception):
    """Another living process holds the lock."""


def hold(path: Path, wait_seconds: float) -> IO[str]:
    """Take the exclusive lock ``path``, write this process's id into it, and keep it as long as the returned file is open.

    Raises:
        LockHeld: another process held it for all of ``wait_seconds``.
    """
    deadline = time.monotonic() + wait_seconds
    stream = path.open("a+", encoding="ascii")
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                stream.close()
                raise LockHeld(f"{path} is held by process {holder(path)}") from None
            time.sleep(0.02)
    stream.seek(0)
    stream.truncate()
    stream.write(f"{os.getpid()}\n")
    stream.flush()
    return stream


def holder(path: Path) -> int | None:
    """The id of the living process that holds the lock ``path``; None if nobody does.

    Asks with a shared lock, so that two who ask at once do not take each other for the holder.
    """
    try:
        with path.open(encoding="ascii") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                written = stream.read().strip()
                # Locked but not signed yet: alive, and the id will be there at the next look.
                return int(written) if written.isdigit() else 0
            return None
    except FileNotFoundError:
        return None


def die_with_parent(parent: int) -> None:
    """Make this process end as soon as ``parent`` has ended, however that ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.25)
        os._exit(1)

    # For systems without the signal, and for a parent that died before it was asked for.
    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def port_is_free(host: str, port: int) -> bool:
    """Whether nobody listens on the port, also nobody who shares it (``SO_REUSEPORT``) as the server's own sockets do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True
