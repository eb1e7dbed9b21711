"""Deploy, roll back and stop endpoints of this machine: plain files and processes, no Dagster. Listing them is in ``inventory``.

An endpoint is the folder ``<root>/<environment>/<model_id>/`` (see ``endpoint_state``). This module is the only writer of its
pointer; the server process follows it. The order of a deployment makes every kill harmless: the package is complete before
the pointer names it, it is a candidate until the server has verified it, and only then becomes active.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_assets.errors import IntegrityError, NotFound, UserError
from mlops_assets.request.vocabulary import Environment
from mlops_assets.serving.endpoint_state import PACKAGES, POINTER, SUPERVISOR_LOCK, Deployed, EndpointState, read_state
from mlops_assets.serving.inventory import EndpointStatus, endpoint_folder, endpoint_status, existing_folder, no_such_endpoint
from mlops_assets.serving.package import ModelMetadata, verify
from mlops_assets.serving.process import holder
from mlops_assets.serving.switching import end_processes, move_back, settled, switch, write

#: Packages kept in an endpoint's folder besides the ones that the pointer names (FR-016: at least five generations).
_KEPT_PACKAGES = 5
_LOCK_SECONDS = 120.0


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
    metadata = _metadata(package)
    if metadata.model_id != model_id:
        raise UserError(
            "the package belongs to another model line", field="model_id", given=metadata.model_id, allowed=(model_id,)
        )
    wanted = Deployed(version=metadata.version, package=f"{PACKAGES}/{metadata.version}", digest=digest)
    with _locked(folder):
        state = read_state(folder) or EndpointState(model_id=model_id, environment=environment, host=host, port=0)
        state = _at_host(folder, state, host)
        repaired = _store(folder, package, wanted, state)
        if state.active != wanted:
            state = switch(root, folder, state, wanted, who=who, why=why, wait_seconds=wait_seconds)
            _prune(folder, state)
            return state
        if repaired:
            # A server that refused the damaged copy looks again when the pointer is written anew.
            state = write(folder, state)
        return settled(root, folder, state, wait_seconds)


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
        return move_back(folder, state, target, who=who, why=why, wait_seconds=wait_seconds)


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
        return settled(root, folder, state, wait_seconds)


def stop(root: Path, name: str, *, wait_seconds: float = 15.0) -> EndpointStatus:
    """End the processes of the endpoint ``environment/model_id``, or ``model_id`` where only one environment has it.

    Its files stay; stopping a stopped endpoint changes nothing.

    Raises:
        NotFound: there is no such endpoint.
    """
    folder = existing_folder(root, name)
    with _existing(root, folder):
        end_processes(folder, wait_seconds)
        return endpoint_status(folder)


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
        no_such_endpoint(root, folder)
    with _locked(folder):
        state = read_state(folder)
        if state is None:
            no_such_endpoint(root, folder)
        yield state


def _content_is(folder: Path, deployed: Deployed) -> bool:
    try:
        return verify(folder / deployed.package).digest == deployed.digest
    except (IntegrityError, OSError):
        return False


def _metadata(package: Path) -> ModelMetadata:
    path = package / "model_metadata.json"
    try:
        return ModelMetadata.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} does not describe a model: {error}") from error


def _at_host(folder: Path, state: EndpointState, host: str) -> EndpointState:
    if state.host != host and holder(folder / SUPERVISOR_LOCK) is not None:
        raise UserError(
            f"{state.name} is running at another address",
            field="host",
            given=host,
            allowed=(state.host,),
            next_step=f"`mlops stop {state.name}`, then deploy again",
        )
    return state.model_copy(update={"host": host})


def _store(folder: Path, package: Path, wanted: Deployed, state: EndpointState) -> bool:
    """Copy the package into the endpoint's folder, unless it is there; it appears complete or not at all. Whether it was copied.

    Raises:
        UserError: another package of that version was served here.
    """
    target = folder / wanted.package
    served = _served_digest(folder, wanted.version, state)
    if served not in (None, wanted.digest):
        raise UserError(
            f"{wanted.version} is already deployed at {state.name} with other content",
            field="version",
            given=f"{wanted.version}, package digest {wanted.digest[:12]}",
            allowed=(f"package digest {str(served)[:12]}",),
            next_step="versions are immutable: package the model again under the next version",
        )
    if _content_is(folder, wanted):
        return False
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=target.parent) as scratch:
        copy = Path(scratch) / "package"
        shutil.copytree(package, copy)
        if verify(copy).digest != wanted.digest:
            raise IntegrityError(f"{package} changed while it was copied")
        if target.exists():
            # Damaged, or of a version that was never active: set aside first, because a folder cannot be replaced in one step.
            target.replace(Path(scratch) / "damaged")
        copy.replace(target)
    return True


def _served_digest(folder: Path, version: str, state: EndpointState) -> str | None:
    """Digest of the package of ``version`` that is or was active here; None if none was, or what is left of it is damaged."""
    for deployed in (state.active, state.previous):
        if deployed is not None and deployed.version == version:
            return deployed.digest
    if not any(entry.after == version for entry in state.history):
        return None
    try:
        return verify(folder / PACKAGES / version).digest
    except (IntegrityError, OSError):
        return None


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


def _prune(folder: Path, state: EndpointState) -> None:
    """Remove packages that neither the pointer nor the last few deployments name."""
    named = [d.version for d in (state.active, state.previous, state.candidate) if d is not None]
    recent = [entry.after for entry in reversed(state.history) if entry.kind != "port"]
    kept = {*named, *list(dict.fromkeys(recent))[:_KEPT_PACKAGES]}
    for path in (folder / PACKAGES).iterdir():
        # Left-over copies of a killed deployment start with a dot; nobody else can be copying, we hold the lock.
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
