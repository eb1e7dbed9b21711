"""Which endpoints there are and how each of them is: reading pointers, locks and ``/ping``, never changing anything.

Deploying, rolling back and stopping are in ``deployment``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from pydantic import Field

from mlops_assets.errors import IntegrityError, NotFound, UserError
from mlops_assets.request.schema import Frozen
from mlops_assets.request.vocabulary import MODEL_ID_PATTERN, Environment, values
from mlops_assets.serving.client import ping
from mlops_assets.serving.endpoint_state import POINTER, SUPERVISOR_LOCK, read_state, read_status
from mlops_assets.serving.process import holder
from mlops_assets.tasks.interface import Signature


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


def list_endpoints(root: Path) -> list[EndpointStatus]:
    """Every endpoint below ``root`` in name order, asked now."""
    return [_listed(folder) for folder in _folders(root)]


def _folders(root: Path) -> list[Path]:
    found = (pointer.parent for pointer in sorted(root.glob(f"*/*/{POINTER}")))
    return [folder for folder in found if folder.parent.name in values(Environment)]


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _names(root: Path) -> tuple[str, ...]:
    return tuple(_name(folder) for folder in _folders(root))


def _listed(folder: Path) -> EndpointStatus:
    """The status also of an endpoint with an unreadable pointer: one damaged file must not hide the others."""
    try:
        return endpoint_status(folder)
    except IntegrityError as error:
        content = {"name": _name(folder), "model_id": folder.name, "environment": folder.parent.name}
        pid = holder(folder / SUPERVISOR_LOCK)
        nothing = {"url": "", "version": None, "previous": None, "healthy": False, "since": None}
        return EndpointStatus.model_validate({**content, **nothing, "alive": pid is not None, "pid": pid, "reason": str(error)})


def endpoint_url(root: Path, model_id: str, environment: str) -> str:
    """Where the endpoint answers, whether or not it does now.

    Raises:
        NotFound: there is no such endpoint.
    """
    folder = endpoint_folder(root, model_id, environment)
    state = read_state(folder)
    return state.url if state is not None else no_such_endpoint(root, folder)


def active_signature(root: Path, model_id: str, environment: str) -> Signature:
    """Inputs and outputs of the version that the pointer names as active.

    Raises:
        NotFound: there is no such endpoint, or nothing is deployed there.
    """
    folder = endpoint_folder(root, model_id, environment)
    state = read_state(folder)
    if state is None or state.active is None:
        no_such_endpoint(root, folder)
    return Signature.model_validate_json((folder / state.active.package / "signature.json").read_bytes())


def endpoint_status(folder: Path) -> EndpointStatus:
    """The endpoint of a folder, asked now.

    Raises:
        NotFound: the folder is no endpoint.
        IntegrityError: its pointer cannot be read.
    """
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


def existing_folder(root: Path, name: str) -> Path:
    """The folder of the endpoint ``environment/model_id``, or of ``model_id`` where only one environment has it.

    Raises:
        NotFound: there is none, or more than one.
    """
    environment, _, model_id = name.rpartition("/")
    found = [folder for folder in _folders(root) if folder.name == model_id]
    if environment:
        found = [folder for folder in found if folder.parent.name == environment]
    if len(found) == 1:
        return found[0]
    headline = "more than one environment has this endpoint" if found else "there is no such endpoint"
    raise NotFound(
        headline,
        field="endpoint",
        given=name,
        allowed=_names(root),
        next_step="give environment/model_id; `mlops endpoints` lists them",
    )


def no_such_endpoint(root: Path, folder: Path) -> NoReturn:
    """Say which endpoints there are instead.

    Raises:
        NotFound: always.
    """
    raise NotFound(
        "there is no such endpoint",
        field="endpoint",
        given=_name(folder),
        allowed=_names(root),
        next_step="deploy a version first",
    )
