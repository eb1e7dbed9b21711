"""`mlops dataset` for frames: what a person types and reads, within 80 columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jobs import commands  # noqa: F401  registers the commands
from jobs.command_line import cli
from resources.platform import Platform
from tests.standins.kitti_worlds import FRAMES, generated


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated(tmp_path_factory.mktemp("commands") / "world")


def mlops(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def test_a_kitti_copy_is_added_shown_and_listed(platform: Platform, world: Path) -> None:
    added = mlops("dataset", "add", "streets", world)
    assert added.exit_code == 0, added.output
    for line in (f"{FRAMES} frames", ", 1 shard, 0 repeated", "image 12, cloud 12, calibration 12, labels 12", "Car", "class"):
        assert line in added.stdout
    assert all(len(line) <= 80 for line in added.stdout.splitlines() if not line.startswith("source")), added.stdout
    assert mlops("dataset", "show", "streets").stdout == added.stdout
    shown = json.loads(mlops("dataset", "show", "streets", "--json").stdout)
    assert (shown["form"], shown["rows"], shown["shards"]) == ("kitti", FRAMES, 1)
    assert "streets" in mlops("dataset", "list").stdout.split()


def test_options_about_columns_are_a_mistake_for_frames(platform: Platform, world: Path) -> None:
    refused = mlops("dataset", "add", "streets", world, "--target", "Car")
    assert refused.exit_code == 2 and "field: --target" in refused.stderr and "leave --target out" in refused.stderr
    assert platform.store.children("datasets") == []


def test_help_tells_of_folders(platform: Platform) -> None:
    assert "KITTI copy" in mlops("dataset", "add", "--help").stdout
