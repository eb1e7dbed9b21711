"""Work that a kill interrupts is gone on with, and removed when it is of no use to anybody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.errors import MlopsError
from resources.platform import Platform
from resources.workshop import KEPT_SECONDS, passing
from tests.standins.kitti_worlds import generated

ROOT = Path(__file__).resolve().parents[3]
PREFIX = "datasets/world/frames/0123"

KILLED = """
import os, signal, sys
from resources.platform import Platform
from resources.store import ObjectStore

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

told = lambda fraction, text: kill()
if sys.argv[1] == "published":
    publish, told = ObjectStore.publish, None
    ObjectStore.publish = lambda *given: (publish(*given), kill())
platform = Platform()
platform.shards.frames(platform.catalogue.current("world"), int(sys.argv[2]), told)
"""


@pytest.fixture
def world(tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops_assets.data.frame_registration.SHARD_FRAMES", 6)
    platform.catalogue.add(CatalogueEntry(dataset_id="world", source=str(generated(tmp_path / "world"))))


def killed(platform: Platform, moment: str, shard: int) -> None:
    """A process that is killed with its frames copied, or after it has published them."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, moment, str(shard)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLOPS_HOME": str(platform.home)}, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL


def works(platform: Platform) -> list[Path]:
    return list((platform.scratch / "making").iterdir())


def left(platform: Platform, prefix: str, age: float) -> Path:
    """Work as a killed process leaves it, begun so many seconds ago."""
    work = platform.scratch / "making" / prefix.replace("/", "+")
    (work / "training").mkdir(parents=True)
    (work / "training" / "000000.bin").write_bytes(b"half")
    (work / "training" / "000000.bin").chmod(0o444)
    os.utime(work, (time.time() - age,) * 2)
    return work


def test_what_a_kill_interrupts_is_gone_on_with_and_what_it_had_published_is_removed(platform: Platform, world: None) -> None:
    version = platform.catalogue.current("world")
    killed(platform, "published", 0)
    (finished,) = works(platform)
    killed(platform, "copied", 1)
    (copied,) = works(platform)  # the first is gone: the next process to make anything has removed it
    assert copied != finished and platform.shards.known(version, 0) is not None and platform.shards.known(version, 1) is None
    cloud = copied / "training" / "velodyne" / "000007.bin"
    inode = cloud.stat().st_ino
    folder, summary = platform.shards.frames(version, 1)
    assert len(summary.frames) == 6 and works(platform) == []
    assert (folder / "training" / "velodyne" / "000007.bin").stat().st_ino == inode, "no frame was copied again"


def test_work_to_which_nobody_came_back_for_a_week_is_removed_unless_somebody_works_on_it(platform: Platform) -> None:
    old = left(platform, PREFIX, KEPT_SECONDS + 60)
    busy = left(platform, f"{PREFIX}4", KEPT_SECONDS + 60)
    recent = left(platform, f"{PREFIX}5", KEPT_SECONDS - 60)
    stray = platform.scratch / "making" / "notes.txt"
    stray.write_text("somebody's")
    with FileLock(platform.home / "locks" / f"{busy.name}.lock"), platform.workshop.making(f"{PREFIX}6") as work:
        assert {*works(platform)} == {busy, recent, stray, work} and not old.exists()
    assert {*works(platform)} == {busy, recent, stray}
    platform.workshop.sweep()
    assert {*works(platform)} == {recent, stray}


def test_old_work_that_is_asked_for_again_is_gone_on_with(platform: Platform) -> None:
    work = left(platform, PREFIX, KEPT_SECONDS + 60)
    with pytest.raises(MlopsError, match=r"full.*what is made so far is kept"), platform.workshop.making(PREFIX) as place:
        assert place == work and (place / "training" / "000000.bin").is_file()
        raise OSError("the disk is full")
    platform.workshop.sweep()
    assert work.is_dir(), "begun anew, it is young again"


def test_passing_work_at_once_has_folders_of_its_own_and_a_killed_one_is_removed(tmp_path: Path) -> None:
    dead = tmp_path / "reproduce-999999999-abc"
    dead.mkdir()
    with passing(tmp_path, "reproduce") as one, passing(tmp_path, "reproduce") as other:
        assert one != other and {*tmp_path.iterdir()} == {one, other}
    assert not [*tmp_path.iterdir()]
