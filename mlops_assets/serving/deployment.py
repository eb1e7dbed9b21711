"""Deploy, roll back, stop and list endpoints of this machine: plain files and processes, no Dagster.

An endpoint is the folder ``<root>/<environment>/<model_id>/`` (see ``endpoint_state``). This module is the only writer of its
pointer; the server process follows it. The order of a deployment makes every kill harmless: the package is complete before
the pointer names it, it is a candidate until the server has verified it, and only then becomes active.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from mlops_assets.errors import IntegrityError, NotFound, UserError
from mlops_assets.request.schema import Frozen
from mlops_assets.request.vocabulary import MODEL_ID_PATTERN, Environment, values
from mlops_assets.serving.client import DeploymentFailed, ping
from mlops_assets.serving.endpoint_state import (
    PACKAGES,
    POINTER,
    SERVER_LOCK,
    SERVER_LOG,
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
from mlops_assets.serving.package import ModelMetadata, verify
from mlops_assets.serving.process import holder, port_is_free

_HISTORY = 500
#: Packages kept in an endpoint's folder besides the ones that the pointer names (FR-016: at least five generations).
_KEPT_PACKAGES = 5
_LOCK_SECONDS = 120.0
_POLL_SECONDS = 0.03
log = logging.getLogger(__name__)


class EndpointStatus(Frozen):
    """One endpoint as ``list_endpoints`` finds it."""

    name: str = Field(description="environment/model_id")
    model_id: str
    environment: Environment
    url: str
    version: str | None = Field(description="what the pointer says")
    previous: str | None
    alive: bool = Field(description="its supervisor lives")
    healthy: bool = Field(description="it answers /ping with the version of the pointer")
    pid: int | None = Field(description="of the supervisor")
    since: str | None = Field(description="when the server process started, UTC")
    reason: str = ""


def endpoint_folder(root: Path, model_id: str, environment: str) -> Path:
    """The folder of an endpoint.

    Raises:
        UserError: ``model_id`` or ``environment`` is not a name that an endpoint can have.
    """
    if not re.fullmatch(MODEL_ID_PATTERN, model_id):
        raise UserError("not the name of a model line", field="model_id", given=model_id, allowed=(MODEL_ID_PATTERN,))
    if environment not in values(Environment):
        raise UserError("not an environment", field="environment", given=environment, allowed=values(Environment))
    return root / environment / model_id


def deploy(
    root: Path,
    model_id: str,
    environment: Environment,
    package: Path,
    *,
    who: str,
    why: str,
    host: str = "127.0.0.1",
    wait_seconds: float = 20.0,
) -> EndpointState:
    """Serve ``package`` at the endpoint without a failed request; the state once the server has confirmed it.

    The same package again changes nothing, except that a server that is not running is started.

    Raises:
        IntegrityError: the package is not what its manifest says.
        UserError: the package belongs to another line, or its version is already there with other content.
        DeploymentFailed: the server refused the package or did not answer in time; the version before goes on serving.
    """
    folder = endpoint_folder(root, model_id, environment)
    digest = verify(package).digest
    metadata = ModelMetadata.model_validate_json((package / "model_metadata.json").read_bytes())
    if metadata.model_id != model_id:
        raise UserError(
            "the package belongs to another model line", field="model_id", given=metadata.model_id, allowed=(model_id,)
        )
    wanted = Deployed(version=metadata.version, package=f"{PACKAGES}/{metadata.version}", digest=digest)
    with _locked(folder):
        state = read_state(folder) or EndpointState(model_id=model_id, environment=environment, host=host, port=0)
        if state.active == wanted and _content_is(folder, wanted):
            return _settled(root, folder, state, wait_seconds)
        _store(folder, package, wanted, state)
        return _switch(root, folder, state, wanted, kind="deploy", who=who, why=why, wait_seconds=wait_seconds)


def rollback(
    root: Path,
    model_id: str,
    environment: Environment,
    *,
    who: str,
    why: str,
    to: str | None = None,
    wait_seconds: float = 20.0,
) -> EndpointState:
    """Move the pointer back to the previous version, or to the version ``to`` if its package is still there.

    A second rollback in a row is refused instead of moving forward again: a repeated call must not bring back what was
    rolled back. A server that is not running is not started; it will serve the version when it is.

    Raises:
        NotFound: there is no such endpoint, or no package of the version ``to``.
        UserError: there is no previous version, or ``to`` is active already.
        IntegrityError: the package to go back to is damaged.
        DeploymentFailed: the running server refused it; the pointer is back where it was.
    """
    folder = endpoint_folder(root, model_id, environment)
    with _existing(root, folder) as state:
        target = _rollback_target(folder, state, to)
        if not _content_is(folder, target):
            raise IntegrityError(
                f"{folder / target.package} is not the package {target.digest} that was deployed; deploy it again"
            )
        if holder(folder / SUPERVISOR_LOCK) is not None:
            return _switch(root, folder, state, target, kind="rollback", who=who, why=why, wait_seconds=wait_seconds)
        return _write(folder, _switched(state, target, "rollback", who, why))


def ensure_running(root: Path, model_id: str, environment: Environment, *, wait_seconds: float = 20.0) -> EndpointState:
    """Start the endpoint's server if it does not run, and wait until it answers with the version of the pointer.

    Raises:
        NotFound: there is no such endpoint.
        DeploymentFailed: it does not become healthy.
    """
    folder = endpoint_folder(root, model_id, environment)
    with _existing(root, folder) as state:
        if state.active is None:
            raise UserError(f"nothing is deployed at {state.name}", next_step="deploy a version first")
        return _settled(root, folder, state, wait_seconds)


def stop(root: Path, name: str, *, wait_seconds: float = 15.0) -> EndpointStatus:
    """End the processes of the endpoint ``environment/model_id``, or ``model_id`` where only one environment has it.

    Its files stay; stopping a stopped endpoint changes nothing.

    Raises:
        NotFound: there is no such endpoint.
    """
    folder = _folder_of(root, name)
    with _existing(root, folder):
        _end(folder, wait_seconds)
        return _status_of(folder)


def list_endpoints(root: Path) -> list[EndpointStatus]:
    """Every endpoint below ``root`` in name order, asked now."""
    return [_status_of(pointer.parent) for pointer in sorted(root.glob(f"*/*/{POINTER}"))]


def _status_of(folder: Path) -> EndpointStatus:
    state = read_state(folder)
    if state is None:
        raise NotFound(f"{folder} is no endpoint", next_step="`mlops endpoints` lists them")
    pid = holder(folder / SUPERVISOR_LOCK)
    status = read_status(folder) if pid is not None else None
    health = ping(state.url) if pid is not None else None
    healthy = health is not None and state.active is not None and health.digest == state.active.digest
    return EndpointStatus(
        name=state.name,
        model_id=state.model_id,
        environment=state.environment,
        url=state.url,
        version=state.active.version if state.active else None,
        previous=state.previous.version if state.previous else None,
        alive=pid is not None,
        healthy=healthy,
        pid=pid,
        since=status.started_at if status else None,
        reason=status.reason if status and not healthy else "",
    )


def _folder_of(root: Path, name: str) -> Path:
    environment, _, model_id = name.rpartition("/")
    found = [p.parent for p in sorted(root.glob(f"*/*/{POINTER}")) if p.parent.name == model_id]
    if environment:
        found = [folder for folder in found if folder.parent.name == environment]
    if len(found) == 1:
        return found[0]
    known = tuple(f"{p.parent.parent.name}/{p.parent.name}" for p in sorted(root.glob(f"*/*/{POINTER}")))
    headline = "more than one environment has this endpoint" if found else "there is no such endpoint"
    raise NotFound(
        headline, field="endpoint", given=name, allowed=known, next_step="give environment/model_id; `mlops endpoints` lists them"
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One deployer at a time for one endpoint."""
    from filelock import FileLock, Timeout

    (folder / PACKAGES).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "deploy.lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise UserError(
            f"another deployment has held {folder.parent.name}/{folder.name} for {_LOCK_SECONDS:.0f} s",
            next_step="wait for it to end, then try again",
        ) from error


@contextmanager
def _existing(root: Path, folder: Path) -> Iterator[EndpointState]:
    if not (folder / POINTER).is_file():
        _folder_of(root, f"{folder.parent.name}/{folder.name}")
    with _locked(folder):
        state = read_state(folder)
        if state is None:
            raise NotFound(f"{folder} is no endpoint", next_step="`mlops endpoints` lists them")
        yield state


def _write(folder: Path, state: EndpointState) -> EndpointState:
    state = state.model_copy(update={"generation": state.generation + 1})
    write_atomically(folder / POINTER, state)
    return state


def _switched(state: EndpointState, target: Deployed, kind: Literal["deploy", "rollback"], who: str, why: str) -> EndpointState:
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


def _content_is(folder: Path, deployed: Deployed) -> bool:
    try:
        return verify(folder / deployed.package).digest == deployed.digest
    except (IntegrityError, OSError):
        return False


def _store(folder: Path, package: Path, wanted: Deployed, state: EndpointState) -> None:
    """Copy the package into the endpoint's folder; it appears there complete or not at all.

    Raises:
        UserError: another package of that version is or was served here.
    """
    target = folder / wanted.package
    if _content_is(folder, wanted):
        return
    known = [
        d for d in (state.active, state.previous) if d is not None and d.version == wanted.version and d.digest != wanted.digest
    ]
    if known:
        raise UserError(
            f"{wanted.version} is already deployed at {state.name} with other content",
            field="version",
            given=f"digest {wanted.digest[:12]}, deployed is {known[0].digest[:12]}",
            next_step="versions are immutable: package the model again under the next version",
        )
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=target.parent) as scratch:
        copy = Path(scratch) / "package"
        shutil.copytree(package, copy)
        if verify(copy).digest != wanted.digest:
            raise IntegrityError(f"{package} changed while it was copied")
        if target.exists():
            # Damaged, or of a version that was never active: set aside first, because a folder cannot be replaced in one step.
            target.replace(Path(scratch) / "damaged")
        copy.replace(target)


def _rollback_target(folder: Path, state: EndpointState, to: str | None) -> Deployed:
    if to is None:
        if state.previous is None:
            last = state.history[-1] if state.history else None
            done = (
                f"; it was rolled back from {last.before} to {last.after} at {last.at}"
                if last and last.kind == "rollback"
                else ""
            )
            raise UserError(
                f"{state.name} has no previous version{done}",
                given=state.active.version if state.active else None,
                next_step="to choose another version, deploy it or roll back to it by its number",
            )
        return state.previous
    if state.active is not None and state.active.version == to:
        raise UserError(f"{to} is already active at {state.name}", field="to", given=to)
    there = tuple(sorted(path.name for path in (folder / PACKAGES).iterdir() if not path.name.startswith(".")))
    if to not in there:
        raise NotFound(f"{state.name} has no package of that version", field="to", given=to, allowed=there)
    return Deployed(version=to, package=f"{PACKAGES}/{to}", digest=verify(folder / PACKAGES / to).digest)


def _switch(
    root: Path,
    folder: Path,
    state: EndpointState,
    target: Deployed,
    *,
    kind: Literal["deploy", "rollback"],
    who: str,
    why: str,
    wait_seconds: float,
) -> EndpointState:
    """Candidate, healthy, active, confirmed; on any failure the pointer is put back to what it was."""
    attempt = secrets.token_hex(8)
    candidate = Candidate(version=target.version, package=target.package, digest=target.digest, attempt=attempt)
    deadline = time.monotonic() + wait_seconds
    before = state
    confirmed = False
    state = _write(folder, state.model_copy(update={"candidate": candidate}))
    try:
        state = _running(root, folder, state, deadline)

        def tried(status: ServerStatus) -> bool:
            return status.trial is not None and status.trial.attempt == attempt

        trial = _await(folder, state, tried, deadline, f"load {target.version}").trial
        if trial is None or not trial.healthy:
            reason = trial.reason if trial else "no answer"
            raise DeploymentFailed(
                f"{state.name}: the server refused {target.version}: {reason}",
                next_step=f"{before.active.version} goes on serving"
                if before.active
                else "nothing is served yet; deploy another package",
            )
        state = _write(folder, _switched(state, target, kind, who, why))
        _await(folder, state, lambda status: status.active == target, deadline, f"switch to {target.version}")
        _await_health(folder, state, target, deadline)
        confirmed = True
    finally:
        # Also for an interrupt: what is not confirmed is withdrawn.
        if not confirmed:
            current = read_state(folder) or state
            kept = {"active": before.active, "candidate": None, "previous": before.previous}
            history = tuple(entry for entry in current.history if entry in before.history or entry.kind == "port")
            _write(folder, current.model_copy(update={**kept, "history": history}))
            if before.active is None:
                _end(folder, 10.0)
    _prune(folder, state)
    return state


def _settled(root: Path, folder: Path, state: EndpointState, wait_seconds: float) -> EndpointState:
    """The state once the server runs and answers with the active version."""
    active = state.active
    if active is None:
        raise UserError(f"nothing is deployed at {state.name}", next_step="deploy a version first")
    deadline = time.monotonic() + wait_seconds
    state = _running(root, folder, state, deadline)
    _await_health(folder, state, active, deadline)
    return state


def _running(root: Path, folder: Path, state: EndpointState, deadline: float) -> EndpointState:
    """The state after making sure that a supervisor lives and its server has its port.

    A port that someone else has taken is given up for another one, which is written into the history.
    """
    while True:
        status = read_status(folder)
        alive = holder(folder / SUPERVISOR_LOCK) is not None
        if alive and not (status and status.port_taken and holder(folder / SERVER_LOCK) is None):
            return state
        if alive:
            _end(folder, 10.0)
        settle(folder)
        (folder / "status.json").unlink(missing_ok=True)
        state = _with_port(root, folder, state)
        start_supervisor(folder)
        while holder(folder / SUPERVISOR_LOCK) is None:
            _pause(folder, deadline, f"{state.name}: the supervisor did not start")
        while (status := read_status(folder)) is None:
            _pause(folder, deadline, f"{state.name}: the server did not start")


def _with_port(root: Path, folder: Path, state: EndpointState) -> EndpointState:
    if state.port and port_is_free(state.host, state.port):
        return state

    def claim(port: int) -> EndpointState:
        chosen = state.model_copy(update={"port": port})
        if state.port:
            text = f"port {state.port} is taken by another process"
            log.warning("%s: %s; moved to %d", state.name, text, port)
            entry = _entry("port", str(state.port), str(port), "platform", text)
            chosen = chosen.model_copy(update={"history": (*state.history, entry)[-_HISTORY:]})
        return _write(folder, chosen)

    return choose_port(root, state, claim)


def _await(folder: Path, state: EndpointState, done: Callable[[ServerStatus], bool], deadline: float, what: str) -> ServerStatus:
    while True:
        status = read_status(folder)
        if status is not None and status.generation >= state.generation and holder(folder / SERVER_LOCK) is not None:
            if done(status):
                return status
            if status.reason and status.active is None and state.candidate is None:
                raise DeploymentFailed(f"{state.name} did not {what}: {status.reason}", next_step=f"see {folder / SERVER_LOG}")
        _pause(folder, deadline, f"{state.name} did not {what} in time")


def _await_health(folder: Path, state: EndpointState, wanted: Deployed, deadline: float) -> None:
    while True:
        health = ping(state.url)
        if health is not None and health.digest == wanted.digest and health.model_id == state.model_id:
            return
        status = read_status(folder)
        if (
            status is not None
            and status.generation >= state.generation
            and status.reason
            and holder(folder / SERVER_LOCK) is not None
        ):
            raise DeploymentFailed(f"{state.name} is not healthy: {status.reason}", next_step=f"see {folder / SERVER_LOG}")
        _pause(folder, deadline, f"{state.url}/ping does not answer with {wanted.version}")


def _pause(folder: Path, deadline: float, failure: str) -> None:
    if time.monotonic() > deadline:
        status = read_status(folder)
        reason = f": {status.reason}" if status and status.reason else ""
        raise DeploymentFailed(f"{failure}{reason}", next_step=f"see {folder / SERVER_LOG}")
    time.sleep(_POLL_SECONDS)


def _end(folder: Path, wait_seconds: float) -> None:
    """End the supervisor, gently and then not; the kernel frees its lock when it is gone."""
    deadline = time.monotonic() + wait_seconds
    asked: dict[int, int] = {}
    while (pid := holder(folder / SUPERVISOR_LOCK)) is not None:
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        if pid and asked.get(pid) != number:
            asked[pid] = number
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        time.sleep(_POLL_SECONDS)
    settle(folder)


def _prune(folder: Path, state: EndpointState) -> None:
    """Remove packages that neither the pointer nor the last few deployments name."""
    named = [d.version for d in (state.active, state.previous, state.candidate) if d is not None]
    recent = [entry.after for entry in reversed(state.history) if entry.kind != "port"]
    kept = {*named, *list(dict.fromkeys(recent))[:_KEPT_PACKAGES]}
    for path in (folder / PACKAGES).iterdir():
        # Left-over copies of a killed deployment start with a dot; nobody else can be copying, we hold the lock.
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
