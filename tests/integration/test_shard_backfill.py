"""The real daemon over a registered KITTI copy: its sensor makes partitions, and a backfill makes the shards of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_process import end
from dagster import AssetCheckKey, AssetKey, DagsterInstance
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG
from installation import ROOT, unmeasured
from loopback import until

from jobs.frame_jobs import FRAME_ASSETS
from jobs.instance import instance_folder, open_instance
from mlops_assets.definitions import defs
from mlops_assets.partitions import KITTI_SHARDS
from resources.frame_assets import ShardKeys
from resources.platform import Platform
from tests.streets import cut_off, generated, registered

pytestmark = [pytest.mark.slow, pytest.mark.service]

BACKFILL = "shards-of-streets"


@pytest.fixture
def daemon(platform: Platform, tmp_path: Path) -> Iterator[Path]:
    """The daemon and its code server, as `mlops ui` starts them, without the web server; its log."""
    home = str(platform.home)
    environment = {
        **unmeasured(),
        "MLOPS_HOME": home,
        "DAGSTER_HOME": str(instance_folder(platform.home)),
        "PYTHONPATH": str(ROOT),
    }
    program, log = str(Path(sys.executable).with_name("dagster-daemon")), tmp_path / "daemon.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [program, "run", "-m", "mlops_assets.definitions"],
            env=environment, cwd=tmp_path, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    yield log
    end(process)


def begin(instance: DagsterInstance, keys: list[str]) -> None:
    """What the button *Materialize all* of the UI stores for the daemon."""
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=BACKFILL,
            asset_graph=defs.resolve_asset_graph(),
            partition_names=keys,
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


def ended(instance: DagsterInstance) -> BulkActionStatus | None:
    backfill = instance.get_backfill(BACKFILL)
    assert backfill is not None
    return backfill.status if backfill.status != BulkActionStatus.REQUESTED else None


def test_a_backfill_makes_every_shard_and_names_the_damaged_file_of_one(
    platform: Platform, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = generated(tmp_path / "world", 6)
    cut_off(source, "000002")
    keys = list(ShardKeys(platform.store).keys(registered(platform, source, shard_frames=2)))
    log: Path = request.getfixturevalue("daemon")
    with open_instance(platform.home) as instance:
        until("the sensor", lambda: set(instance.get_dynamic_partitions(KITTI_SHARDS)) == set(keys), log, 120)
        begin(instance, keys)
        assert until("the backfill", lambda: ended(instance), log, 120) == BulkActionStatus.COMPLETED_SUCCESS
        runs = instance.get_runs()
        assert sorted(run.tags[PARTITION_NAME_TAG] for run in runs) == keys, "one run a shard, all its assets in it"
        assert {run.tags[BACKFILL_ID_TAG] for run in runs} == {BACKFILL}
        for name in FRAME_ASSETS:
            assert instance.get_materialized_partitions(AssetKey(name)) == set(keys)
        check = AssetCheckKey(AssetKey("kitti_frames"), "files_readable")
        records = instance.event_log_storage.get_asset_check_execution_history(check, limit=10)
    judged = {record.evaluation.partition: record for record in records if record.evaluation is not None}
    assert sorted(str(key) for key in judged) == keys
    for key, record in judged.items():
        damaged = key == keys[1]
        assert record.status == (AssetCheckExecutionRecordStatus.FAILED if damaged else AssetCheckExecutionRecordStatus.SUCCEEDED)
        assert record.evaluation is not None
        assert record.evaluation.metadata["frames_kept"].value == (1 if damaged else 2)
        assert ("training/velodyne/000002.bin" in str(record.evaluation.description)) == damaged
