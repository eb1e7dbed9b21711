"""The frame assets run by Dagster over the shards of a generated world."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagster import (
    AssetCheckSeverity,
    AssetKey,
    DagsterInstance,
    ExecuteInProcessResult,
    SensorResult,
    SkipReason,
    build_sensor_context,
)
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from jobs.frame_jobs import SHARDS_JOB
from jobs.instance import open_instance
from mlops_assets.assets.frames import CocoConfig, VoxelConfig
from mlops_assets.data.dataset import DatasetVersion
from mlops_assets.data.kitti.coco import CocoPolicy
from mlops_assets.data.kitti.frames import KittiCopy
from mlops_assets.definitions import defs
from mlops_assets.tasks.detection3d.pillar_settings import STANDARD
from mlops_assets.tasks.detection3d.voxel_files import read_voxels
from mlops_assets.tasks.detection3d.voxels import voxelize
from resources.frame_assets import ShardKeys, register_shards
from resources.platform import Platform
from resources.runs import failure_of
from sensors.shards import add_shards
from tests.streets import cut_off, generated, registered


@pytest.fixture
def world(tmp_path: Path, platform: Platform) -> DatasetVersion:
    return registered(platform, generated(tmp_path / "world", 6))


@pytest.fixture
def instance(platform: Platform) -> Iterator[DagsterInstance]:
    with open_instance(platform.home) as opened:
        yield opened


def made(platform: Platform, instance: DagsterInstance, key: str, **config: Any) -> ExecuteInProcessResult:
    run_config = {
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        "ops": {k: {"config": v} for k, v in config.items()},
    }
    return defs.resolve_job_def(SHARDS_JOB).execute_in_process(
        instance=instance, partition_key=key, resources={"platform": platform}, run_config=run_config, raise_on_error=False
    )


def shown(result: ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()} | {"data_version": event.tags["dagster/data_version"]}


def damage(world: DatasetVersion, frame: str) -> None:
    cut_off(Path(world.entry.source), frame)


def test_the_defaults_of_the_configuration_are_the_standard_ones() -> None:
    assert VoxelConfig().grid() == STANDARD.grid
    assert CocoConfig().policy() == CocoPolicy()


def test_a_shard_becomes_frames_voxels_and_coco_and_a_second_run_reuses_all_of_it(
    platform: Platform, instance: DagsterInstance, world: DatasetVersion
) -> None:
    keys = register_shards(instance, platform, world)
    name = f"streets-{world.version.removeprefix('sha256-')[:8]}"
    assert keys == (f"{name}-0000", f"{name}-0001")
    first = made(platform, instance, keys[0])
    assert first.success
    frames, voxels, coco = (shown(first, asset) for asset in ("kitti_frames", "voxels", "kitti_coco"))
    assert frames["frames"] == voxels["frames"] == coco["images"] == 3
    assert frames["objects_Car"] > 0 and frames["damaged_files"] == 0
    assert frames["from_above"].startswith("![birds_eye_view](data:image/png;base64,")
    assert voxels["points_per_voxel"].startswith("![") and voxels["voxels"] > 100
    assert coco["annotations"] > 0
    assert not frames["reused"] and not voxels["reused"] and not coco["reused"]
    stored = platform.store.checkout(voxels["location"].removeprefix(platform.store.url + "/"))
    expected = voxelize(KittiCopy.open(Path(world.entry.source)).cloud("000001"), STANDARD.grid)
    read = read_voxels(stored / "frames/000001.npz")
    assert np.array_equal(read.features, expected.features) and np.array_equal(read.coordinates, expected.coordinates)
    second = made(platform, instance, keys[0])
    for asset, before in (("kitti_frames", frames), ("voxels", voxels), ("kitti_coco", coco)):
        again = shown(second, asset)
        assert again["reused"] and again["data_version"] == before["data_version"]
        assert "seconds" not in again
    assert instance.get_latest_materialization_event(AssetKey("voxels")) is not None


def test_a_damaged_file_fails_the_check_by_name_and_keeps_the_other_frames(
    platform: Platform, instance: DagsterInstance, world: DatasetVersion
) -> None:
    damage(world, "000001")
    keys = register_shards(instance, platform, world)
    result = made(platform, instance, keys[0])
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == ("files_readable", False, AssetCheckSeverity.WARN)
    assert "training/velodyne/000001.bin" in str(check.description)
    assert check.metadata["frames_kept"].value == 2
    frames = shown(result, "kitti_frames")
    assert frames["damaged_files"] == 1 and "000001.bin" in frames["damaged"]
    assert shown(result, "voxels")["frames"] == shown(result, "kitti_coco")["images"] == 2


def test_a_shard_of_damaged_frames_only_is_empty_and_harms_nothing(
    platform: Platform, instance: DagsterInstance, world: DatasetVersion
) -> None:
    for frame in ("000003", "000004", "000005"):
        damage(world, frame)
    result = made(platform, instance, register_shards(instance, platform, world)[1])
    assert result.success
    assert shown(result, "kitti_frames")["frames"] == shown(result, "voxels")["frames"] == 0
    assert shown(result, "kitti_coco")["images"] == 0
    assert not result.get_asset_check_evaluations()[0].passed


def test_another_grid_or_policy_is_another_version_beside_the_first(
    platform: Platform, instance: DagsterInstance, world: DatasetVersion
) -> None:
    key = register_shards(instance, platform, world)[0]
    standard = made(platform, instance, key)
    changed = made(
        platform, instance, key,
        voxels={"voxel_size": [0.32, 0.32, 4.0]}, kitti_coco={"merged": {"Van": "Car"}, "ignored": {}},
    )  # fmt: skip
    for asset in ("voxels", "kitti_coco"):
        before, after = shown(standard, asset), shown(changed, asset)
        assert before["location"] != after["location"] and before["data_version"] != after["data_version"]
        assert not after["reused"]
    assert shown(changed, "voxels")["voxels"] < shown(standard, "voxels")["voxels"]
    assert shown(made(platform, instance, key), "voxels")["location"] == shown(standard, "voxels")["location"]


def test_a_grid_that_cannot_be_is_refused_with_its_field(
    platform: Platform, instance: DagsterInstance, world: DatasetVersion
) -> None:
    key = register_shards(instance, platform, world)[0]
    short = made(platform, instance, key, voxels={"voxel_size": [0.32, 0.32]})
    assert not short.success
    assert "field: voxel_size" in failure_of(instance, short.run_id)
    unknown = made(platform, instance, key, kitti_coco={"categories": ["Lorry"]})
    assert "KITTI has no such class" in failure_of(instance, unknown.run_id)


def test_each_shard_is_judged_by_its_own_data_version(
    platform: Platform, instance: DagsterInstance, world: DatasetVersion
) -> None:
    keys = register_shards(instance, platform, world)
    assert made(platform, instance, keys[0]).success
    resolver = CachingStaleStatusResolver(instance, defs.resolve_asset_graph(), LoadingContextForTest(instance))
    for asset in ("kitti_frames", "voxels", "kitti_coco"):
        assert resolver.get_status(AssetKey(asset), keys[0]) == StaleStatus.FRESH
        assert resolver.get_status(AssetKey(asset), keys[1]) == StaleStatus.MISSING


def test_the_sensor_adds_partitions_of_new_versions_once_and_keeps_those_of_old_ones(
    platform: Platform, instance: DagsterInstance, world: DatasetVersion
) -> None:
    def tick(cursor: str | None) -> tuple[SensorResult | SkipReason, str | None]:
        context = build_sensor_context(instance=instance, cursor=cursor, resources={"platform": platform})
        return add_shards(context), context.cursor

    found, cursor = tick(None)
    assert isinstance(found, SensorResult) and found.dynamic_partitions_requests is not None
    first = list(found.dynamic_partitions_requests[0].partition_keys)
    assert first == list(ShardKeys(platform.store).keys(world)) and len(first) == 2
    instance.add_dynamic_partitions("kitti_shard", first)
    assert isinstance(tick(cursor)[0], SkipReason) and isinstance(tick(None)[0], SkipReason)
    damage(world, "000001")
    changed = registered(platform, Path(world.entry.source), shard_frames=6)
    newer, _ = tick(cursor)
    assert isinstance(newer, SensorResult) and newer.dynamic_partitions_requests is not None
    second = list(newer.dynamic_partitions_requests[0].partition_keys)
    assert second == list(ShardKeys(platform.store).keys(changed)) and len(second) == 1 and second[0] not in first
