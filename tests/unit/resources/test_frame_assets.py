"""Keys of shard partitions, and what is made of a shard when a process is killed, two run at once, or parts are missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.data.dataset import CatalogueEntry, DatasetVersion
from mlops_assets.data.frame_shards import ShardSummary
from mlops_assets.data.kitti.coco import CocoPolicy
from mlops_assets.errors import IntegrityError, NotFound
from mlops_assets.tasks.detection3d.pillar_settings import COARSE
from mlops_assets.tasks.detection3d.voxel_files import read_voxels, write_voxels
from mlops_assets.tasks.detection3d.voxels import VoxelGrid, voxelize
from resources.frame_assets import ShardKeys
from resources.frame_products import FrameProducts
from resources.platform import Platform
from resources.settings import Settings
from sim.driving.config import WorldConfig
from sim.driving.world import World, write_world

ROOT = Path(__file__).resolve().parents[3]
DIGITS = "8f3c2a1b00112233"


def version(dataset_id: str, name: str = f"sha256-{DIGITS}", shards: int = 3, form: str = "kitti") -> DatasetVersion:
    return DatasetVersion(
        dataset_id=dataset_id, version=name, form=form, raw_sha256="0" * 64, raw_bytes=1, rows=0, columns=(), duplicate_rows=0,
        shards=shards, entry=CatalogueEntry(dataset_id=dataset_id, source="here"), added_at="2026-01-01T00:00:00Z",
    )  # fmt: skip


def test_keys_are_readable_and_lead_back_to_their_shard(platform: Platform) -> None:
    keys = ShardKeys(platform.store)
    assert keys.keys(version("kitti-object")) == tuple(f"kitti-object-8f3c2a1b-000{n}" for n in range(3))
    place = keys.place("kitti-object-8f3c2a1b-0002")
    assert (place.dataset_id, place.version, place.shard) == ("kitti-object", f"sha256-{DIGITS}", 2)
    assert keys.keys(version("churn", form="table", shards=0)) == ()


def test_versions_whose_names_would_be_equal_get_different_keys(platform: Platform) -> None:
    keys = ShardKeys(platform.store)
    alike = [
        version("kitti"),
        version("kitti", f"sha256-{DIGITS}-00000001"),  # the same content, declared otherwise
        version("kitti", f"sha256-{DIGITS[:8]}99999999"),
        version(f"kitti-{DIGITS[:8]}", f"sha256-{DIGITS}"),
    ]
    named = [keys.keys(one) for one in alike]
    assert len({key for some in named for key in some}) == 12
    for one, some in zip(alike, named, strict=True):
        assert some == keys.keys(one), "the names do not change when they are asked for again"
        assert [keys.place(key).version for key in some] == [one.version] * 3
        assert {keys.place(key).dataset_id for key in some} == {one.dataset_id}


@pytest.mark.parametrize("key", ["kitti-8f3c2a1b-0003", "kitti-8f3c2a1b-", "kitti-8f3c2a1b-²", "kitti", "", "../../x-0", "-1"])
def test_a_key_of_no_shard_is_refused(platform: Platform, key: str) -> None:
    keys = ShardKeys(platform.store)
    keys.keys(version("kitti"))
    with pytest.raises(NotFound):
        keys.place(key)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ShardSummary]:
    folder = tmp_path_factory.mktemp("shard")
    write_world(folder, World(seed=1, frames=5, sequences=0, config=WorldConfig(beams=16, azimuth_step=1.0)))
    names = tuple(f"{number:06d}" for number in range(5))
    return folder, ShardSummary(dataset_id="streets", version="v", shard=0, frames=names, bytes=1, digest="ab" * 32)


def silent(fraction: float, text: str) -> None: ...


KILLED_AFTER_TWO = """
import os, signal, sys
from pathlib import Path
from mlops_assets.data.frame_shards import ShardSummary
from mlops_assets.tasks.detection3d.pillar_settings import COARSE
from resources.frame_products import FrameProducts
from resources.platform import Platform

def told(fraction, text):
    if text.startswith("3 of"):
        os.kill(os.getpid(), signal.SIGKILL)

folder, summary = Path(sys.argv[1]), ShardSummary.model_validate_json(sys.argv[2])
FrameProducts(Platform()).voxels(summary, folder, COARSE.grid, told)
"""


def test_voxels_of_a_killed_process_are_kept_and_the_result_is_that_of_one_never_killed(
    platform: Platform, tmp_path: Path, shard: tuple[Path, ShardSummary]
) -> None:
    folder, summary = shard
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_TWO, str(folder), summary.model_dump_json()],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLOPS_HOME": str(platform.home)}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    (work,) = platform.scratch.glob("making/*voxels*/frames")
    left = sorted(work.iterdir())
    assert [path.stem for path in left] == ["000000", "000001", "000002"]
    left[1].write_bytes(left[1].read_bytes()[:-100])  # as after a power cut
    (work / ".000003.npz.part").write_bytes(b"half")
    before = {path.name: path.stat().st_ino for path in left}
    after: dict[str, int] = {}

    def told(fraction: float, text: str) -> None:
        after.update({path.name: path.stat().st_ino for path in work.iterdir()})

    made = FrameProducts(platform).voxels(summary, folder, COARSE.grid, told)
    assert [after[name] == before[name] for name in sorted(before)] == [True, False, True]
    whole = FrameProducts(Platform(Settings(home=tmp_path / "other"))).voxels(summary, folder, COARSE.grid, silent)
    assert made.summary == whole.summary and not made.reused
    assert sorted(platform.store.keys(f"{made.prefix}/frames")) == [f"{made.prefix}/frames/{name}.npz" for name in summary.frames]
    assert not list((platform.scratch / "making").iterdir())


def test_two_processes_make_voxels_once(platform: Platform, shard: tuple[Path, ShardSummary]) -> None:
    from threading import Thread

    folder, summary = shard
    made = []
    threads = [
        Thread(target=lambda: made.append(FrameProducts(platform).voxels(summary, folder, COARSE.grid, silent))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.reused for one in made) == [False, True]
    assert made[0].summary == made[1].summary


def test_frames_without_clouds_or_labels_are_counted_and_left_out(
    platform: Platform, tmp_path: Path, shard: tuple[Path, ShardSummary]
) -> None:
    source, summary = shard
    folder = tmp_path / "images-only"
    for part in ("image_2", "calib"):
        (folder / "training" / part).mkdir(parents=True)
        for path in (source / "training" / part).iterdir():
            os.link(path, folder / "training" / part / path.name)
    products = FrameProducts(platform)
    voxels = products.voxels(summary, folder, COARSE.grid, silent).summary
    assert (voxels.frames, voxels.without_cloud, voxels.occupancy) == ((), 5, None)
    coco = products.coco(summary, folder, CocoPolicy(), silent).summary
    assert (coco.images, coco.without_labels) == (0, 5)
    assert products.pictures(summary, folder) is None


def test_a_damaged_file_of_voxels_is_named(tmp_path: Path, shard: tuple[Path, ShardSummary]) -> None:
    grid = VoxelGrid(range_min=(0, -8, -3), range_max=(16, 8, 1), voxel_size=(0.5, 0.5, 4), max_points=3, max_voxels=50)
    cloud = np.random.default_rng(0).uniform((0, -8, -3, 0), (16, 8, 1, 1), (2000, 4)).astype(np.float32)
    expected = voxelize(cloud, grid)
    path = tmp_path / "000000.npz"
    write_voxels(path, expected)
    read = read_voxels(path)
    assert np.array_equal(read.features, expected.features) and np.array_equal(read.coordinates, expected.coordinates)
    assert np.array_equal(read.points_per_voxel, expected.points_per_voxel) and read.points_in_range == expected.points_in_range
    whole = path.read_bytes()
    for damaged in (b"", whole[:50], whole[:-1], whole[:700] + bytes([whole[700] ^ 1]) + whole[701:], b"not an archive"):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"000000\.npz"):
            read_voxels(path)
