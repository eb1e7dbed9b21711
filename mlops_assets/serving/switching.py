"""Moving an endpoint from one version to another: candidate, healthy, active, confirmed; or back to what it was.

The caller holds the endpoint's ``deploy.lock``. What may be deployed and where packages lie is in ``deployment``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from mlops_assets.errors import UserError
from mlops_assets.serving.client import DeploymentFailed, ping
from mlops_assets.serving.endpoint_state import (
    POINTER,
    SERVER_LOCK,
    SERVER_LOG,
    START_LOG,
    STATUS,
    SUPERVISOR_LOCK,
    Candidate,
    Deployed,
    EndpointState,
    ServerStatus,
    Switch,
    read_state,
    read_status,
    write_atomically,
)
from mlops_assets.serving.launch import choose_port, settle, start_supervisor
from mlops_assets.serving.process import holder, port_is_free

_HISTORY = 500
#: Further starts of processes that were killed from outside while a deployment waited for them.
_RESTARTS = 2
#: Exit codes of a process that somebody else ended.
_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP)
_POLL_SECONDS = 0.03
#: How long an endpoint waits for the port that it had before; longer than a server needs to end on a busy machine.
_OWN_PORT_SECONDS = 5.0
log = logging.getLogger(__name__)


class ServerRefused(DeploymentFailed):
    """The server process itself said why it does not serve a version."""


class SupervisorGone(DeploymentFailed):
    """The endpoint's processes were killed from outside while they were waited for; starting them again may succeed."""


def write(folder: Path, state: EndpointState) -> EndpointState:
    """Write the pointer as the next generation, and return it."""
    state = state.model_copy(update={"generation": state.generation + 1})
    write_atomically(folder / POINTER, state)
    return state


def switched(state: EndpointState, target: Deployed, kind: Literal["deploy", "rollback"], who: str, why: str) -> EndpointState:
    """The state in which ``target`` is active; after a rollback there is no previous version to go back to."""
    before = state.active.version if state.active else None
    entry = _entry(kind, before, target.version, who, why)
    return state.model_copy(
        update={
            "active": target,
            "candidate": None,
            "previous": state.active if kind == "deploy" else None,
            "history": (*state.history, entry)[-_HISTORY:],
        }
    )


def _entry(kind: Literal["deploy", "rollback", "port"], before: str | None, after: str, who: str, why: str) -> Switch:
    return Switch(at=datetime.now(UTC).isoformat(timespec="seconds"), kind=kind, before=before, after=after, who=who, why=why)


def switch(
    root: Path, folder: Path, state: EndpointState, target: Deployed, *, who: str, why: str, wait_seconds: float
) -> EndpointState:
    """Candidate, healthy, active, confirmed; on any failure the pointer is put back to what it was.

    Processes that are killed meanwhile are started again, a few times.

    Raises:
        DeploymentFailed: the server refused ``target`` or did not answer in time.
    """
    for _ in range(_RESTARTS):
        with contextlib.suppress(SupervisorGone):
            return _switch_once(root, folder, state, target, who=who, why=why, wait_seconds=wait_seconds)
        state = read_state(folder) or state
    return _switch_once(root, folder, state, target, who=who, why=why, wait_seconds=wait_seconds)


def _switch_once(
    root: Path, folder: Path, state: EndpointState, target: Deployed, *, who: str, why: str, wait_seconds: float
) -> EndpointState:
    attempt = secrets.token_hex(8)
    candidate = Candidate(version=target.version, package=target.package, digest=target.digest, attempt=attempt)
    deadline = time.monotonic() + wait_seconds
    before = state
    confirmed = False
    state = write(folder, state.model_copy(update={"candidate": candidate}))
    try:
        state = running(root, folder, state, deadline)

        def tried(status: ServerStatus) -> bool:
            return status.trial is not None and status.trial.attempt == attempt

        trial = _await(folder, state, tried, deadline, f"load {target.version}").trial
        if trial is None or not trial.healthy:
            raise DeploymentFailed(
                f"{state.name}: the server refused {target.version}: {trial.reason if trial else 'no answer'}",
                next_step=f"{before.active.version} goes on serving"
                if before.active
                else "nothing is served yet; deploy another package",
            )
        state = write(folder, switched(state, target, "deploy", who, why))
        _await(folder, state, lambda status: status.active == target, deadline, f"switch to {target.version}")
        _await_health(folder, state, target, deadline)
        confirmed = True
    finally:
        # Also for an interrupt: what is not confirmed is withdrawn.
        if not confirmed:
            withdraw(folder, before)
            if before.active is None:
                end_processes(folder, 10.0)
    return state


def move_back(folder: Path, state: EndpointState, target: Deployed, *, who: str, why: str, wait_seconds: float) -> EndpointState:
    """Make ``target`` active without a trial, because a rollback must also work while the server
    keeps dying of the active version.

    Raises:
        DeploymentFailed: the running server refused ``target`` (the pointer is back where it was), or did not confirm in
            time (the pointer stays moved, and the server will follow it when it can).
    """
    before = state
    state = write(folder, switched(state, target, "rollback", who, why))
    if holder(folder / SUPERVISOR_LOCK) is None:
        return state
    deadline = time.monotonic() + wait_seconds
    try:
        _await(folder, state, lambda status: status.active == target, deadline, f"roll back to {target.version}")
    except ServerRefused:
        withdraw(folder, before)
        raise
    _await_health(folder, state, target, deadline)
    return state


def withdraw(folder: Path, before: EndpointState) -> None:
    """Put the pointer back to ``before``; a port that was chosen since stays."""
    current = read_state(folder) or before
    ports = [entry for entry in current.history if entry.kind == "port" and entry not in before.history]
    history = (*before.history, *ports)[-_HISTORY:]
    kept = {"active": before.active, "candidate": None, "previous": before.previous, "history": history}
    write(folder, current.model_copy(update=kept))


def settled(root: Path, folder: Path, state: EndpointState, wait_seconds: float) -> EndpointState:
    """The state once the server runs and answers with the active version.

    Raises:
        UserError: there is no active version.
        DeploymentFailed: it does not become healthy.
    """
    active = state.active
    if active is None:
        raise UserError(f"nothing is deployed at {state.name}", next_step="deploy a version first")
    deadline = time.monotonic() + wait_seconds
    for _ in range(_RESTARTS):
        with contextlib.suppress(SupervisorGone):
            state = running(root, folder, state, deadline)
            _await_health(folder, state, active, deadline)
            return state
    state = running(root, folder, state, deadline)
    _await_health(folder, state, active, deadline)
    return state


def running(root: Path, folder: Path, state: EndpointState, deadline: float) -> EndpointState:
    """The state after making sure that a supervisor lives and its server has its port.

    A port that someone else has taken is given up for another one, which is written into the history.

    Raises:
        DeploymentFailed: the processes do not start.
    """
    while True:
        status = read_status(folder)
        alive = holder(folder / SUPERVISOR_LOCK) is not None
        if alive and not (status and status.port_taken):
            return state
        if alive:
            end_processes(folder, 10.0)
        settle(folder)
        (folder / STATUS).unlink(missing_ok=True)
        state = _with_port(root, folder, state)
        process = start_supervisor(folder)
        while read_status(folder) is None:
            if process.poll() is not None and holder(folder / SUPERVISOR_LOCK) is None:
                if process.returncode in _FROM_OUTSIDE:
                    raise SupervisorGone(f"{state.name}: its supervisor was ended from outside as it started")
                written = (folder / START_LOG).read_text(encoding="utf-8", errors="replace").strip()
                last = written.splitlines()[-1] if written else f"it ended with {process.returncode}"
                raise DeploymentFailed(
                    f"{state.name}: the server process did not start: {last}", next_step=f"see {folder / START_LOG}"
                )
            _pause(folder, deadline, f"{state.name}: the server process did not start")


def _with_port(root: Path, folder: Path, state: EndpointState) -> EndpointState:
    # The endpoint's own server gives its lock back before the last of it, and with it the port, is gone.
    patience = time.monotonic() + _OWN_PORT_SECONDS
    while state.port and not port_is_free(state.host, state.port) and time.monotonic() < patience:
        time.sleep(0.05)
    if state.port and port_is_free(state.host, state.port):
        return state

    def claim(port: int) -> EndpointState:
        chosen = state.model_copy(update={"port": port})
        if state.port:
            text = f"port {state.port} is taken by another process"
            log.warning("%s: %s; moved to %d", state.name, text, port)
            entry = _entry("port", str(state.port), str(port), "platform", text)
            chosen = chosen.model_copy(update={"history": (*state.history, entry)[-_HISTORY:]})
        return write(folder, chosen)

    return choose_port(root, state, claim)


def _await(folder: Path, state: EndpointState, done: Callable[[ServerStatus], bool], deadline: float, what: str) -> ServerStatus:
    """The server's status once it answers this state and ``done`` holds for it."""
    while True:
        status = _current(folder, state)
        if status is not None:
            if done(status):
                return status
            if status.reason and state.candidate is None:
                raise ServerRefused(f"{state.name} did not {what}: {status.reason}", next_step=f"see {folder / SERVER_LOG}")
        _require_supervisor(folder, state)
        _pause(folder, deadline, f"{state.name} did not {what} in time")


def _await_health(folder: Path, state: EndpointState, wanted: Deployed, deadline: float) -> None:
    while True:
        health = ping(state.url)
        if health is not None and health.digest == wanted.digest and health.model_id == state.model_id:
            return
        status = _current(folder, state)
        if status is not None and status.reason:
            raise DeploymentFailed(f"{state.name} is not healthy: {status.reason}", next_step=f"see {folder / SERVER_LOG}")
        _require_supervisor(folder, state)
        _pause(folder, deadline, f"{state.url}/ping does not answer with {wanted.version}")


def _current(folder: Path, state: EndpointState) -> ServerStatus | None:
    """What the living server says of ``state`` or a later one; None if it has not come to it."""
    status = read_status(folder)
    answers = status is not None and status.generation >= state.generation
    return status if answers and holder(folder / SERVER_LOCK) is not None else None


def _require_supervisor(folder: Path, state: EndpointState) -> None:
    if holder(folder / SUPERVISOR_LOCK) is None:
        raise SupervisorGone(f"{state.name}: its supervisor was ended from outside", next_step=f"see {folder / SERVER_LOG}")


def _pause(folder: Path, deadline: float, failure: str) -> None:
    if time.monotonic() > deadline:
        status = read_status(folder)
        reason = f": {status.reason}" if status and status.reason else ""
        raise DeploymentFailed(f"{failure}{reason}", next_step=f"see {folder / SERVER_LOG}")
    time.sleep(_POLL_SECONDS)


def end_processes(folder: Path, wait_seconds: float) -> None:
    """End the supervisor, gently and then not; the kernel frees its lock when it is gone, and its server dies with it."""
    deadline = time.monotonic() + wait_seconds
    asked: tuple[int, int] | None = None
    seen: int | None = None
    while (pid := holder(folder / SUPERVISOR_LOCK)) is not None:
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        # Only a process id read twice is trusted: for a moment the lock of a new holder still shows the old one's.
        if pid and pid == seen and asked != (pid, number):
            asked = (pid, number)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        seen = pid
        time.sleep(_POLL_SECONDS)
    settle(folder)
