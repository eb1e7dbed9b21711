"""Artifacts of the model-line assets: one immutable folder per asset and training, resolved run-first.

The IO manager publishes what a step staged and refers to it in the ledger. An input is resolved from the same training
first, else from the latest materialization of the same partition, because Dagster's own "latest" ignores partitions: two
runs of one line that interleave still read their own artifacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dagster import (
    AssetRecordsFilter,
    DagsterInstance,
    DagsterRun,
    InputContext,
    IOManager,
    MetadataValue,
    OutputContext,
)

from mlops_assets.errors import NotFound
from mlops_assets.request.schema import Frozen
from resources.ledger import ArtifactReference, now

if TYPE_CHECKING:
    from resources.platform import Platform

TRAINING_TAG = "mlops/training_id"
MODEL_TAG = "mlops/model"
ISSUE_TAG = "mlops/issue"

ModelT = TypeVar("ModelT", bound=Frozen)


@dataclass(frozen=True)
class Artifact:
    """A published artifact with a local, verified, read-only view of its folder."""

    reference: ArtifactReference
    path: Path

    def read(self, name: str, model: type[ModelT]) -> ModelT:
        """One of its JSON files as a model."""
        return model.model_validate_json((self.path / name).read_bytes())


@dataclass(frozen=True)
class Staged:
    """What a step made, not yet visible to anyone: a folder, where it will lie, and its metadata."""

    folder: Path
    prefix: str
    training_id: str
    upstream: Mapping[str, Artifact] = field(default_factory=dict)


def training_id_of(run: DagsterRun, started: float) -> str:
    """The training that a run belongs to.

    Runs for an issue carry it as a tag. A run started in the UI has none: it is a new training whose id follows
    from the run itself, so every step of the run, and a re-execution of a step, computes the same one.
    """
    tagged = run.tags.get(TRAINING_TAG)
    if tagged:
        return tagged
    root = run.root_run_id or run.run_id
    return f"train-{datetime.fromtimestamp(started, UTC):%Y%m%d-%H%M%S}-{root.replace('-', '')[:6]}"


def training_id_in(instance: DagsterInstance, run_id: str) -> str:
    """``training_id_of`` for a stored run.

    Raises:
        NotFound: the instance has no such run.
    """
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        raise NotFound("the Dagster instance has no such run", field="run_id", given=run_id)
    root = instance.get_run_record_by_id(record.dagster_run.root_run_id) if record.dagster_run.root_run_id else None
    return training_id_of(record.dagster_run, (root or record).create_timestamp.timestamp())


class ArtifactIOManager(IOManager):
    """Publishes ``Staged`` folders and loads ``Artifact`` views; see the module docstring for how inputs are found."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def handle_output(self, context: OutputContext, obj: Staged | Artifact) -> None:
        """Publish a staged folder; an artifact that this training had already made is left as it is."""
        if isinstance(obj, Artifact):
            reference = obj.reference
        else:
            manifest = self._platform.store.publish(obj.prefix, obj.folder)
            reference = self._platform.ledger.refer(
                ArtifactReference(
                    asset=context.asset_key.to_user_string(),
                    model_id=context.partition_key,
                    training_id=obj.training_id,
                    prefix=obj.prefix,
                    digest=manifest.digest,
                    created_at=now(),
                    upstream={name: f"{a.reference.training_id}@{a.reference.digest}" for name, a in obj.upstream.items()},
                )
            )
        context.add_output_metadata(
            {
                "training_id": reference.training_id,
                "digest": reference.digest,
                "location": MetadataValue.path(self._platform.store.uri(reference.prefix)),
                "upstream": MetadataValue.json(reference.upstream),
            }
        )

    def load_input(self, context: InputContext) -> Artifact:
        """The upstream artifact of this training, else of the latest materialization of the same partition.

        Raises:
            NotFound: neither exists.
        """
        asset = context.asset_key.to_user_string()
        training_id = training_id_in(context.instance, context.step_context.run_id)
        reference = self._platform.ledger.reference(training_id, asset) or self._latest(context, asset)
        return Artifact(reference, self._platform.store.checkout(reference.prefix))

    def _latest(self, context: InputContext, asset: str) -> ArtifactReference:
        line = context.partition_key
        found = context.instance.fetch_materializations(
            AssetRecordsFilter(asset_key=context.asset_key, asset_partitions=[line]), limit=1
        ).records
        if found and found[0].asset_materialization is not None:
            training = found[0].asset_materialization.metadata.get("training_id")
            reference = self._platform.ledger.reference(str(training.value), asset) if training is not None else None
            if reference is not None:
                return reference
        raise NotFound(
            f"`{asset}` of the model line `{line}` has not been made yet",
            field="asset",
            given=asset,
            next_step="materialize it first, or run the whole line",
        )
