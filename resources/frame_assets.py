"""The partitions of the frame assets: a readable key for each shard of each registered KITTI version, and back again.

A key is ``{dataset}-{first digits of the version}-{shard}``. Only its last part is ever read out of the text: whatever stands
before it was claimed once for one version in the store, so that no two versions share a name and no name has to be taken apart.
What is made of a shard is in ``frame_products``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.data.dataset import KITTI, DatasetVersion
from mlops_assets.errors import IntegrityError, NotFound
from mlops_assets.request.digest import sha256_of
from mlops_assets.request.schema import Frozen
from resources.store import ObjectStore

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from resources.platform import Platform

_SHOWN_DIGITS = 8


class ShardPlace(Frozen):
    """Which shard a partition key stands for; shards are counted from 0."""

    dataset_id: str
    version: str
    shard: int


class ShardSet(Frozen):
    """The shards of one version, as claimed under a name in ``partitions/kitti_shard/{name}.json``."""

    dataset_id: str
    version: str
    shards: int


class ShardKeys:
    """Partition keys to shards and back, kept in the store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def keys(self, version: DatasetVersion) -> tuple[str, ...]:
        """The key of every shard of a version, in order; its name is claimed on first use. A table has none."""
        if version.form != KITTI or version.shards == 0:
            return ()
        name = self._claimed(ShardSet(dataset_id=version.dataset_id, version=version.version, shards=version.shards))
        return tuple(f"{name}-{shard:04d}" for shard in range(version.shards))

    def place(self, key: str) -> ShardPlace:
        """The shard that a key stands for.

        Raises:
            NotFound: no registered version has this shard.
        """
        name, _, number = key.rpartition("-")
        digits = number.isascii() and number.isdigit()
        found = self._set(name) if name and "/" not in name and digits else None
        if found is None or int(number) >= found.shards:
            raise NotFound(
                "no shard of a registered KITTI version has this partition key",
                field="partition",
                given=key[:160],
                allowed=(f"{name}-0000 … {name}-{found.shards - 1:04d}",) if found else (),
                next_step="`mlops kitti shards NAME` lists the shards of a dataset",
            )
        return ShardPlace(dataset_id=found.dataset_id, version=found.version, shard=int(number))

    def _claimed(self, wanted: ShardSet) -> str:
        """The shortest name that is free or already this version's own."""
        digits = wanted.version.removeprefix("sha256-")
        for ending in (digits[:_SHOWN_DIGITS], digits, sha256_of(wanted.model_dump(mode="json"))):
            name = f"{wanted.dataset_id}-{ending}"
            if self._store.create(_object_key(name), wanted.model_dump_json().encode()) or self._set(name) == wanted:
                return name
        raise IntegrityError(f"no name is free for the shards of {wanted.dataset_id} {wanted.version}")

    def _set(self, name: str) -> ShardSet | None:
        try:
            return ShardSet.model_validate_json(self._store.get(_object_key(name)))
        except NotFound:
            return None


def register_shards(instance: DagsterInstance, platform: Platform, version: DatasetVersion) -> tuple[str, ...]:
    """Make the shards of a version partitions of the frame assets; doing it again adds nothing. Returns their keys."""
    from mlops_assets.partitions import KITTI_SHARDS

    keys = ShardKeys(platform.store).keys(version)
    if keys:
        instance.add_dynamic_partitions(KITTI_SHARDS, keys)
    return keys


def _object_key(name: str) -> str:
    return f"partitions/kitti_shard/{name}.json"
