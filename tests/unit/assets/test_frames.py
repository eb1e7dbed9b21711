"""The frame assets run by Dagster over the shards of a generated world."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagster import AssetKey, DagsterInstance, ExecuteInProcessResult
from folder_shards import FolderShards, generated, published

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
from resources.frame_assets import register_shards
from resources.platform import Platform


@pytest.fixture
def world(tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> DatasetVersion:
    monkeypatch.setattr(Platform, "shards", property(FolderShards), raising=False)
    return published(platform, generated(tmp_path / "world", 6), shards=2)


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


def test_the_defaults_of_the_configuration_are_the_standard_ones() -> None:
    assert VoxelConfig().grid() == STANDARD.grid
    assert CocoConfig().policy() == CocoPolicy()


def test_a_shard_becomes_frames_voxels_and_coco_and_a_second_run_reuses_all_of_it(
    platform: Platform, instance: DagsterInstance, world: DatasetVersion
) -> None:
    keys = register_shards(instance, platform, world)
    assert keys == ("streets-8f3c2a1b-0000", "streets-8f3c2a1b-0001")
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
