"""Shards in the store: made once, shared by content, healed when the source is, and never half."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mlops_assets.data.dataset import CatalogueEntry, DatasetVersion
from mlops_assets.data.forms import form_of
from mlops_assets.errors import IntegrityError, NotFound, UserError
from resources.platform import Platform
from resources.settings import Settings
from tests.standins.kitti_worlds import FRAMES, copied, cut, generated


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated(tmp_path_factory.mktemp("shards") / "world")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops_assets.data.frame_registration.SHARD_FRAMES", 5)


def add(platform: Platform, source: Path, name: str = "world") -> DatasetVersion:
    return platform.catalogue.add(CatalogueEntry(dataset_id=name, source=str(source)))


def stored(platform: Platform, name: str = "world") -> list[str]:
    return platform.store.children(f"datasets/{name}/frames")


def test_a_shard_is_made_on_first_use_and_found_afterwards(platform: Platform, world: Path) -> None:
    version = add(platform, world)
    assert version.shards == 3 and platform.shards.known(version, 0) is None and stored(platform) == []
    told: list[float] = []
    folder, summary = platform.shards.frames(version, 2, lambda fraction, text: told.append(fraction))
    assert summary.frames == ("000010", "000011") and told[-1] == 1.0 and (summary.shard, summary.version) == (2, version.version)
    assert platform.shards.known(version, 2) == summary
    told.clear()
    again, same = Platform(platform.settings).shards.frames(version, 2, lambda fraction, text: told.append(fraction))
    assert (again, same, told) == (folder, summary, []) and len(stored(platform)) == 1
    assert not list((platform.scratch / "making").iterdir())


def test_another_version_shares_the_shards_whose_frames_are_the_same(platform: Platform, world: Path, tmp_path: Path) -> None:
    source = copied(world, tmp_path / "world")
    first = add(platform, source)
    folders = [platform.shards.frames(first, number)[0] for number in range(3)]
    (source / "training" / "label_2" / "000007.txt").write_text("")
    second = add(platform, source)
    assert second.version != first.version
    others = [platform.shards.frames(second, number) for number in range(3)]
    assert [folder for folder, _ in others][::2] == folders[::2] and others[1][0] != folders[1]
    assert others[0][1].version == second.version and len(stored(platform)) == 4


def test_a_damaged_shard_is_kept_without_the_frame_and_heals_with_its_source(
    platform: Platform, world: Path, tmp_path: Path
) -> None:
    source = copied(world, tmp_path / "world")
    version = add(platform, source)
    cloud = source / "training" / "velodyne" / "000001.bin"
    whole = cloud.read_bytes()
    cut(cloud, 160)
    folder, summary = platform.shards.frames(version, 0)
    assert [damage.key for damage in summary.damaged] == ["training/velodyne/000001.bin"] and len(summary.frames) == 4
    assert platform.shards.frames(version, 0) == (folder, summary) and platform.shards.known(version, 0) == summary
    inode = (folder / "training" / "velodyne" / "000000.bin").stat().st_ino
    cloud.write_bytes(whole)
    assert not list((platform.scratch / "making").iterdir()), "what a later call begins with is in the store"
    healed, summary = platform.shards.frames(version, 0)
    assert healed != folder and not summary.damaged and len(summary.frames) == 5
    assert (healed / "training" / "velodyne" / "000000.bin").stat().st_ino == inode, "no whole frame was copied again"
    assert platform.shards.known(version, 0) == summary
    assert not (folder / "training" / "velodyne" / "000001.bin").exists(), "what was published has not changed"


def test_a_damaged_shard_that_was_altered_in_the_store_heals_from_its_source_alone(
    platform: Platform, world: Path, tmp_path: Path
) -> None:
    source = copied(world, tmp_path / "world")
    version = add(platform, source)
    cloud = source / "training" / "velodyne" / "000001.bin"
    whole = cloud.read_bytes()
    cut(cloud, 160)
    folder, _ = platform.shards.frames(version, 0)
    altered = folder / "training" / "velodyne" / "000000.bin"
    altered.unlink()
    altered.write_bytes(b"\0" * 160)
    cloud.write_bytes(whole)
    healed, summary = platform.shards.frames(version, 0)
    assert not summary.damaged
    for path in (healed / "training" / "velodyne").iterdir():
        assert path.read_bytes() == (source / "training" / "velodyne" / path.name).read_bytes()


def test_a_copy_that_moved_is_found_where_it_was_registered_last(platform: Platform, world: Path, tmp_path: Path) -> None:
    source = copied(world, tmp_path / "first place")
    version = add(platform, source)
    source.rename(tmp_path / "second place")
    with pytest.raises(NotFound, match="not there any more"):
        platform.shards.frames(version, 0)
    moved = add(platform, tmp_path / "second place")
    assert moved.version == version.version
    assert len(platform.shards.frames(version, 0)[1].frames) == 5


def test_makers_at_once_make_one_shard(platform: Platform, world: Path) -> None:
    version = add(platform, world)
    found: list[Path] = []
    makers = [
        threading.Thread(target=lambda: found.append(Platform(platform.settings).shards.frames(version, 0)[0])) for _ in range(4)
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(found) == 4 and len(set(found)) == 1 and len(stored(platform)) == 1


def test_a_shard_altered_in_the_store_is_refused(platform: Platform, world: Path) -> None:
    version = add(platform, world)
    folder, _ = platform.shards.frames(version, 0)
    cloud = folder / "training" / "velodyne" / "000000.bin"
    cloud.unlink()
    cloud.write_bytes(b"\0" * 160)
    with pytest.raises(IntegrityError, match=r"000000\.bin"):
        platform.shards.frames(version, 0)


def test_what_has_no_such_shard_says_so(platform: Platform, world: Path) -> None:
    version = add(platform, world)
    for number in (-1, 3):
        with pytest.raises(NotFound, match=r"0 … 2"):
            platform.shards.frames(version, number)
    with pytest.raises(UserError, match="has no shards"):
        platform.shards.frames(platform.catalogue.current("breast-cancer"), 0)


def test_shards_live_in_s3_too(world: Path, tmp_path: Path, s3: str) -> None:
    platform = Platform(Settings(home=tmp_path / "home", store_url="s3://mlops/frames", s3_endpoint=s3))
    version = add(platform, world)
    folder, summary = platform.shards.frames(version, 0)
    assert folder.is_relative_to(tmp_path / "home" / "cache") and len(summary.frames) == 5
    assert form_of(version).name == "kitti" and platform.shards.known(version, 0) == summary
    assert platform.store.exists(f"datasets/world/frames/{stored(platform)[0]}/training/velodyne/000004.bin")


def test_all_frames_are_in_some_shard(platform: Platform, world: Path) -> None:
    version = add(platform, world)
    told: list[float] = []
    opener = platform.shards.opener(version, lambda fraction, text: told.append(fraction))
    names = [path.stem for number in range(version.shards) for path in (opener(number) / "training" / "image_2").iterdir()]
    assert len(names) == len(set(names)) == FRAMES and told == sorted(told) and told[-1] == 1.0
