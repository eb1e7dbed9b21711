"""The door to where models are served: the interface, and the endpoints of this machine.

The work is in ``mlops_assets.serving.deployment``; an implementation for a cloud keeps the same protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlops_assets.request.vocabulary import Environment

if TYPE_CHECKING:
    from mlops_assets.serving.endpoint_state import EndpointState
    from mlops_assets.serving.inventory import EndpointStatus
    from mlops_assets.tasks.interface import Signature


class Endpoints(Protocol):
    """Deploys packages and asks what is deployed. Every verb may be called again after a kill, with one result."""

    def deploy(self, model_id: str, environment: Environment, package: Path, *, who: str, why: str) -> EndpointState:
        """Serve ``package``, switching without a failed request; the same package again changes nothing."""
        ...

    def rollback(self, model_id: str, environment: Environment, *, who: str, why: str, to: str | None = None) -> EndpointState:
        """Serve the previous version again, or the version ``to``."""
        ...

    def stop(self, name: str) -> EndpointStatus:
        """Stop serving ``environment/model_id`` (or ``model_id``); what is deployed stays recorded."""
        ...

    def list(self) -> Sequence[EndpointStatus]:
        """Every endpoint, asked now."""
        ...

    def ensure(self, model_id: str, environment: Environment) -> EndpointState:
        """Start serving what is deployed if it is not being served."""
        ...

    def signature(self, model_id: str, environment: Environment) -> Signature:
        """Inputs and outputs of the version that answers."""
        ...

    def predict(self, model_id: str, environment: Environment, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The answer of the endpoint for ``rows``."""
        ...

    def predict_file(self, model_id: str, environment: Environment, content: bytes, media_type: str) -> dict[str, Any]:
        """The answer of the endpoint for one image or cloud as it is in its file."""
        ...

    def drift(self, model_id: str, environment: Environment) -> dict[str, Any]:
        """How far the endpoint's latest requests are from the data that its model was trained on."""
        ...


@dataclass(frozen=True)
class LocalEndpoints:
    """Endpoints as background processes of this machine, in the folder ``root``."""

    root: Path
    host: str = "127.0.0.1"

    def deploy(self, model_id: str, environment: Environment, package: Path, *, who: str, why: str) -> EndpointState:
        """See ``mlops_assets.serving.deployment.deploy``."""
        from mlops_assets.serving import deployment

        return deployment.deploy(self.root, model_id, environment, package, who=who, why=why, host=self.host)

    def rollback(self, model_id: str, environment: Environment, *, who: str, why: str, to: str | None = None) -> EndpointState:
        """See ``mlops_assets.serving.deployment.rollback``."""
        from mlops_assets.serving import deployment

        return deployment.rollback(self.root, model_id, environment, who=who, why=why, to=to)

    def stop(self, name: str) -> EndpointStatus:
        """See ``mlops_assets.serving.deployment.stop``."""
        from mlops_assets.serving import deployment

        return deployment.stop(self.root, name)

    def list(self) -> Sequence[EndpointStatus]:
        """See ``mlops_assets.serving.inventory.list_endpoints``."""
        from mlops_assets.serving import inventory

        return inventory.list_endpoints(self.root)

    def ensure(self, model_id: str, environment: Environment) -> EndpointState:
        """See ``mlops_assets.serving.deployment.ensure_running``."""
        from mlops_assets.serving import deployment

        return deployment.ensure_running(self.root, model_id, environment)

    def signature(self, model_id: str, environment: Environment) -> Signature:
        """See ``mlops_assets.serving.inventory.active_signature``."""
        from mlops_assets.serving import inventory

        return inventory.active_signature(self.root, model_id, environment)

    def predict(self, model_id: str, environment: Environment, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """See ``mlops_assets.serving.client.predict``.

        Raises:
            NotFound: there is no such endpoint.
        """
        from mlops_assets.serving import client, inventory

        return client.predict(inventory.endpoint_url(self.root, model_id, environment), rows)

    def predict_file(self, model_id: str, environment: Environment, content: bytes, media_type: str) -> dict[str, Any]:
        """See ``mlops_assets.serving.client.predict_file``.

        Raises:
            NotFound: there is no such endpoint.
        """
        from mlops_assets.serving import client, inventory

        return client.predict_file(inventory.endpoint_url(self.root, model_id, environment), content, media_type)

    def drift(self, model_id: str, environment: Environment) -> dict[str, Any]:
        """See ``mlops_assets.serving.client.drift``.

        Raises:
            NotFound: there is no such endpoint.
        """
        from mlops_assets.serving import client, inventory

        return client.drift(inventory.endpoint_url(self.root, model_id, environment))
