"""The sensor that makes partitions of the shards of newly registered KITTI versions, wherever they were registered from.

Thin: names are ``resources.frame_assets``. Only names of versions are listed at a tick; a version that the cursor knows is not
read again, and a tick that is killed or repeated asks for the same partitions. It starts no run: a person backfills, or a
training makes what it needs.
"""

from __future__ import annotations

import json

from dagster import DefaultSensorStatus, SensorDefinition, SensorEvaluationContext, SensorResult, SkipReason

from mlops_assets.data.dataset import DatasetVersion
from mlops_assets.errors import MlopsError
from mlops_assets.partitions import KITTI_SHARDS, kitti_shards
from resources.frame_assets import ShardKeys
from resources.platform import Platform

SECONDS = 30


def add_shards(context: SensorEvaluationContext) -> SensorResult | SkipReason:
    """One tick: the partitions that registered versions lack."""
    platform: Platform = context.resources.platform
    known = set(json.loads(context.cursor or "[]"))
    seen = {f"{name}/{version}" for name in platform.catalogue.names() for version in platform.catalogue.versions(name)}
    keys: list[str] = []
    for place in sorted(seen - known):
        try:
            text = platform.store.get(f"datasets/{place.replace('/', '/versions/', 1)}/version.json")
            keys += ShardKeys(platform.store).keys(DatasetVersion.model_validate_json(text))
        except (MlopsError, ValueError) as error:  # being published, or damaged: looked at again at the next tick
            context.log.warning(f"dataset version {place} is left out: {error}")
            seen.discard(place)
    missing = sorted(set(keys) - set(context.instance.get_dynamic_partitions(KITTI_SHARDS)))
    context.update_cursor(json.dumps(sorted(seen)))
    if not missing:
        return SkipReason("every shard of every registered KITTI version is a partition")
    return SensorResult(dynamic_partitions_requests=[kitti_shards.build_add_request(missing)])


shard_sensor = SensorDefinition(
    name="shard_sensor",
    evaluation_fn=add_shards,
    minimum_interval_seconds=SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
    required_resource_keys={"platform"},
    description="Makes a partition of every shard of a KITTI version that was registered.",
)
