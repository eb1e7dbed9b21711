"""Artifacts of the model-line assets: one immutable folder per asset and training, resolved run-first.

The IO manager publishes what a step staged and refers to it in the ledger. An input is resolved from the same training
first, because Dagster's own "latest" ignores partitions: two runs of one line that interleave still read their own artifacts.
A run of only some assets, started in the UI, adopts what it reads from outside: all of it from one earlier training of the
same partition where there is one, so that a model is never paired with another model's features or an unfinished plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dagster import (
    AssetKey,
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

RECENT = 50
"""Materializations of one partition that are looked through for a training to start from."""

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
        """The upstream artifact of this training; for a run without one, what it adopts from its partition's past.

        Raises:
            NotFound: neither exists.
        """
        asset = context.asset_key.to_user_string()
        training_id = training_id_in(context.instance, context.step_context.run_id)
        reference = self._platform.ledger.reference(training_id, asset)
        if reference is None and TRAINING_TAG not in context.step_context.dagster_run.tags:
            self._adopt(context, training_id)
            reference = self._platform.ledger.reference(training_id, asset)
        if reference is None:
            raise NotFound(
                f"`{asset}` of the model line `{context.partition_key}` has not been made yet",
                field="asset",
                given=asset,
                next_step="materialize it first, or run the whole line",
            )
        return Artifact(reference, self._platform.store.checkout(reference.prefix))

    def _adopt(self, context: InputContext, training_id: str) -> None:
        """Refer to everything that this run reads and does not make, with all that it was made from."""
        ledger = self._platform.ledger
        outside = _read_from_outside(context)
        makers = {asset: _makers(context, asset) for asset in outside}
        newest_first = sorted({maker for found in makers.values() for maker in found}, reverse=True)
        whole = next((m for _, m in newest_first if all(ledger.reference(m, asset) for asset in outside)), None)
        for asset, found in makers.items():
            source = whole or (found[0][1] if found else None)
            if source is not None:
                self._adopt_with_upstream(training_id, source, asset)

    def _adopt_with_upstream(self, training_id: str, source: str, asset: str) -> None:
        reference = self._platform.ledger.reference(source, asset)
        if reference is not None:
            for name in reference.upstream:
                self._adopt_with_upstream(training_id, source, name)
            self._platform.ledger.adopt(training_id, reference)


def _read_from_outside(context: InputContext) -> list[str]:
    """Assets that the run reads and does not make."""
    layer = context.step_context.job_def.asset_layer
    made = set(layer.selected_asset_keys)
    read = {parent for key in made for parent in layer.get(key).parent_keys}
    return sorted(key.to_user_string() for key in read - made)


def _makers(context: InputContext, asset: str) -> list[tuple[int, str]]:
    """Trainings that made an asset of this partition, newest first, each with the number of its event."""
    records = context.instance.fetch_materializations(
        AssetRecordsFilter(asset_key=AssetKey.from_user_string(asset), asset_partitions=[context.partition_key]), limit=RECENT
    ).records
    return [
        (record.storage_id, str(record.asset_materialization.metadata["training_id"].value))
        for record in records
        if record.asset_materialization is not None and "training_id" in record.asset_materialization.metadata
    ]
