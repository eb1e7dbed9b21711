"""The files of one endpoint: the pointer that says what is to be served, and the server's own word on what is.

::

    endpoint.json         EndpointState, the pointer; written only by a deployer that holds ``deploy.lock``
    status.json           ServerStatus; written only by the server process that holds ``server.lock``
    packages/<version>/   the packages that the pointer names, and a few earlier ones
    supervisor.lock       held (flock) by the living supervisor, contains its process id
    server.log            bounded log of supervisor and server
    start.log             what the supervisor said before it could open that, of the last start only

Shapes, reading and atomic writing; who may write what and when is in ``deployment`` and ``rotation``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from mlops_assets.errors import IntegrityError
from mlops_assets.request.schema import Frozen
from mlops_assets.request.vocabulary import MODEL_ID_PATTERN, SEMANTIC_VERSION_PATTERN, Environment
from mlops_assets.whole_files import write_whole

POINTER = "endpoint.json"
STATUS = "status.json"
PACKAGES = "packages"
SUPERVISOR_LOCK = "supervisor.lock"
SERVER_LOCK = "server.lock"
SERVER_LOG = "server.log"
START_LOG = "start.log"


class Deployed(Frozen):
    """One package at an endpoint."""

    version: str = Field(pattern=f"^{SEMANTIC_VERSION_PATTERN}$")
    package: str = Field(pattern=r"^packages/v[0-9.]+$", description="folder, relative to the endpoint's own")
    digest: str = Field(description="digest of the package's manifest")


class Candidate(Deployed):
    """A package on trial; ``attempt`` tells a second trial of the same package from the first."""

    attempt: str


class Switch(Frozen):
    """One change that people want to be able to look up."""

    at: str = Field(description="UTC, ISO 8601")
    kind: Literal["deploy", "rollback", "port"]
    before: str | None = Field(description="version, or port, before")
    after: str
    who: str
    why: str


class EndpointState(Frozen):
    """What is to be served where. ``generation`` grows with every write."""

    model_id: str = Field(pattern=f"^{MODEL_ID_PATTERN}$")
    environment: Environment
    host: str
    port: int = Field(ge=0, le=65535, description="0: not chosen yet")
    generation: int = 0
    active: Deployed | None = None
    candidate: Candidate | None = None
    previous: Deployed | None = Field(default=None, description="where a rollback goes; None right after one")
    history: tuple[Switch, ...] = Field(default=(), description="oldest first, the last 500")

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def name(self) -> str:
        """``environment/model_id``."""
        return f"{self.environment}/{self.model_id}"


class Trial(Frozen):
    """What became of the candidate of one attempt."""

    attempt: str
    version: str
    healthy: bool
    reason: str = ""


class ServerStatus(Frozen):
    """What one server process says of itself."""

    pid: int
    started_at: str
    generation: int = Field(description="of the pointer that this status answers")
    active: Deployed | None = None
    trial: Trial | None = None
    loaded: tuple[str, ...] = ()
    port_taken: bool = False
    reason: str = Field(default="", description="why nothing is served, or why it is not what the pointer says")


def read_state(folder: Path) -> EndpointState | None:
    """The pointer of an endpoint; None where there is none yet.

    Raises:
        IntegrityError: the pointer is not readable.
    """
    path = folder / POINTER
    try:
        return EndpointState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise IntegrityError(f"{path} is not an endpoint's pointer: {error}") from error


def read_status(folder: Path) -> ServerStatus | None:
    """The last word of the server process; None if it has not spoken."""
    try:
        return ServerStatus.model_validate_json((folder / STATUS).read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def write_atomically(path: Path, content: BaseModel) -> None:
    """Replace ``path`` in one step: whoever reads it sees the old or the new content, also after a power cut."""
    write_whole(path, content.model_dump_json(indent=2) + "\n", durable=True, shared=True)
