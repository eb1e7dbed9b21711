"""`mlops kitti shards`: what a person types, reads and gets as an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import jobs.commands  # noqa: F401
from jobs.command_line import cli
from mlops_assets.data.dataset import CatalogueEntry, DatasetVersion
from resources.platform import Platform
from tests.streets import cut_off, generated, registered


@pytest.fixture
def world(tmp_path: Path, platform: Platform) -> DatasetVersion:
    return registered(platform, generated(tmp_path / "world", 6))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["kitti", "shards", *arguments])


def test_shards_are_listed_made_and_found_again_within_80_columns(platform: Platform, world: DatasetVersion) -> None:
    cut_off(Path(world.entry.source), "000004")
    name = f"streets-{world.version.removeprefix('sha256-')[:8]}"
    listed = run("streets")
    assert listed.exit_code == 0, listed.output
    assert "2 shards" in listed.stdout and f"partitions {name}-0000 … {name}-0001\n" in listed.stdout
    made = run("streets", "--make", "--shard", "1")
    assert made.exit_code == 0, made.output
    assert f"made    {name}-0001" in made.stderr
    assert "training/velodyne/000004.bin" in made.stdout
    again = json.loads(run("streets", "--make", "--json").stdout)
    assert [shard["outcome"] for shard in again["shards"]] == ["made", "reused"]
    assert [shard["frames"] for shard in again["shards"]] == [3, 2]
    assert again["shards"][1]["damaged"][0]["key"] == "training/velodyne/000004.bin"
    assert all(shard["voxels"] and shard["coco"] for shard in again["shards"])
    for result in (listed, made, run("streets")):
        assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_shard_that_fails_is_told_and_does_not_hold_up_the_others(
    platform: Platform, world: DatasetVersion, tmp_path: Path
) -> None:
    assert run("streets", "--make", "--shard", "1").exit_code == 0
    (tmp_path / "world").rename(tmp_path / "elsewhere")
    result = run("streets", "--make", "--json")
    assert result.exit_code == 1
    states = json.loads(result.stdout)["shards"]
    assert [state["outcome"] for state in states] == ["failed", "reused"]
    assert str(tmp_path / "world") in states[0]["error"]
    told = [line for line in result.stderr.splitlines() if " alembic." not in line]  # another test may have switched that log on
    assert any("0000 failed: " in line for line in told) and max(map(len, told)) <= 80


def test_what_has_no_shards_is_refused(platform: Platform, world: DatasetVersion) -> None:
    assert run("nothing").exit_code == 2
    beyond = run("streets", "--shard", "2")
    assert beyond.exit_code == 2 and "allowed: 0 … 1" in beyond.stderr
    (Path("rows.csv")).write_text("a,b\n" + "".join(f"{n},{n % 2}\n" for n in range(40)))
    platform.catalogue.add(CatalogueEntry(dataset_id="rows", source="rows.csv", target="b"))
    table = run("rows")
    assert table.exit_code == 2 and "is a table" in table.stderr


def test_grid_policy_and_version_can_be_chosen(platform: Platform, world: DatasetVersion, tmp_path: Path) -> None:
    (tmp_path / "world/training/label_2/000000.txt").write_text("")
    other = registered(platform, tmp_path / "world", shard_frames=6)
    assert "1 shard\npartition streets-" in run("streets").stdout
    assert f"{world.version}: 2 shards" in run("streets", "--version", world.version[7:12]).stdout
    config = tmp_path / "config.yaml"
    config.write_text("""
ops:
  voxels:
    config: {voxel_size: [0.32, 0.32, 4]}
  kitti_coco:
    config: {categories: [Car], ignored: {}}
""")
    made = run("streets", "--make", "--config", str(config))
    assert made.exit_code == 0, made.output
    (voxels,) = (
        platform.store.get(key) for key in platform.store.keys("datasets/streets/voxels") if key.endswith("summary.json")
    )
    (coco,) = (platform.store.get(key) for key in platform.store.keys("datasets/streets/coco") if key.endswith("summary.json"))
    assert json.loads(voxels)["grid"]["voxel_size"] == [0.32, 0.32, 4.0] and json.loads(voxels)["grid"]["max_points"] == 32
    assert json.loads(coco)["policy"]["categories"] == ["Car"]
    for wanted in ("", "0" * 20):
        refused = run("streets", "--version", wanted)
        assert refused.exit_code == 2 and world.version in refused.stderr and other.version in refused.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("ops: {voxels: {config: {voxel_sise: [1, 1, 1]}}}", "did you mean `voxel_size`?"),
        ("ops: {voxels: {config: {voxel_size: [1, 1]}}}", "voxel_size"),
        ("ops: {voxels: {config: {voxel_size: [1, 1, wide]}}}", "ops.voxels.config.voxel_size.2"),
        ("ops: {voxels: {config: {max_points: 0}}}", "max_points"),
        ("ops: {voxels: [1]}", "must be a mapping"),
        ("ops: {kitti_frames: {config: {}}}", "allowed: voxels, kitti_coco"),
        ("ops: {kitti_coco: {config: {categories: [Tree]}}}", "KITTI has no such class"),
        ("voxels: {}", "allowed: ops"),
        ("", "must be a mapping"),
        ("[" * 5000, "is no YAML"),
        ("\0", "is no YAML"),
        ("#" * 70_000, "too large"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_before_any_shard_is_made(
    platform: Platform, tmp_path: Path, content: str, told: str
) -> None:
    (tmp_path / "config.yaml").write_text(content)
    refused = run("streets", "--make", "--config", "config.yaml")
    assert refused.exit_code == 2 and told in refused.stderr
    assert "add --make" in run("streets", "--config", "config.yaml").stderr
    assert "cannot be read" in run("streets", "--make", "--config", "nowhere.yaml").stderr
