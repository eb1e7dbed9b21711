"""A backfill over the shards of a KITTI version, carried out by the daemon's own iteration, with one file damaged."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetCheckKey, AssetKey, DagsterInstance
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG
from dagster._core.test_utils import create_test_daemon_workspace_context, instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration
from tests.standins.folder_shards import FolderShards, generated, published

from jobs.frame_jobs import FRAME_ASSETS
from mlops_assets.definitions import defs
from resources.frame_assets import register_shards
from resources.platform import Platform

BACKFILL = "shards-of-streets"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    launcher = {"module": "dagster._core.launcher.sync_in_memory_run_launcher", "class": "SyncInMemoryRunLauncher"}
    (tmp_path / "dagster").mkdir()
    with instance_for_test(temp_dir=str(tmp_path / "dagster"), overrides={"run_launcher": launcher}) as opened:
        yield opened


def carry_out(instance: DagsterInstance) -> PartitionBackfill:
    """Iterate as the daemon does until the backfill is over."""
    logger = logging.getLogger("backfill")
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=None, module_name="mlops_assets.definitions", attribute="defs")
    )
    end = time.monotonic() + 12
    with create_test_daemon_workspace_context(InProcessWorkspaceLoadTarget(origin), instance) as workspace:
        while time.monotonic() < end:
            errors = [error for error in execute_backfill_iteration(workspace, logger) if error is not None]
            assert errors == []
            backfill = instance.get_backfill(BACKFILL)
            assert backfill is not None
            if backfill.status != BulkActionStatus.REQUESTED:
                return backfill
    raise AssertionError("the backfill did not end")


def test_a_backfill_makes_every_shard_and_names_the_damaged_file_of_one(
    platform: Platform, instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Platform, "shards", property(FolderShards), raising=False)
    monkeypatch.setattr(FolderShards, "size", 2)
    source = generated(tmp_path / "world", 6)
    cloud = source / "training/velodyne/000002.bin"
    cloud.write_bytes(cloud.read_bytes()[:-5])
    keys = register_shards(instance, platform, published(platform, source, shards=3))
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=BACKFILL,
            asset_graph=defs.resolve_asset_graph(),
            partition_names=list(keys),
            asset_selection=[AssetKey(name) for name in FRAME_ASSETS],
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
    )
    assert carry_out(instance).status == BulkActionStatus.COMPLETED_SUCCESS
    runs = instance.get_runs()
    assert sorted(run.tags[PARTITION_NAME_TAG] for run in runs) == sorted(keys), "one run a shard, all its assets in it"
    assert {run.tags[BACKFILL_ID_TAG] for run in runs} == {BACKFILL}
    for name in FRAME_ASSETS:
        assert instance.get_materialized_partitions(AssetKey(name)) == set(keys)
    records = instance.event_log_storage.get_asset_check_execution_history(
        AssetCheckKey(AssetKey("kitti_frames"), "files_readable"), limit=10
    )
    shards = {record.run_id: record for record in records}
    for run in runs:
        damaged = run.tags[PARTITION_NAME_TAG] == keys[1]
        record = shards[run.run_id]
        wanted = AssetCheckExecutionRecordStatus.FAILED if damaged else AssetCheckExecutionRecordStatus.SUCCEEDED
        assert record.status == wanted
        evaluation = record.evaluation
        assert evaluation is not None
        assert evaluation.metadata["frames_kept"].value == (1 if damaged else 2)
        assert ("training/velodyne/000002.bin" in str(evaluation.description)) == damaged
