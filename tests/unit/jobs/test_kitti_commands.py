"""`mlops kitti`: what a person types, reads and gets as an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import jobs.commands  # noqa: F401
from jobs.command_line import cli

SMALL = ("--beams", "16", "--azimuth-step", "1", "--image-size", "320x100")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["kitti", *arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kitti") / "world"
    result = run("generate", str(path), "--frames", "3", "--seed", "2", *SMALL)
    assert result.exit_code == 0, result.output
    assert f"next: mlops kitti check {path}" in result.output
    return path


def test_a_generated_copy_passes_the_check_within_80_columns(made: Path) -> None:
    result = run("check", str(made))
    assert result.exit_code == 0, result.output
    assert "object layout, training: 3 frames" in result.output and "no problems" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_the_check_as_json_has_everything_and_exit_code_1_with_problems(made: Path, tmp_path: Path) -> None:
    assert json.loads(run("check", str(made), "--json").stdout)["problems"] == 0
    cloud = made / "training/velodyne/000001.bin"
    whole = cloud.read_bytes()
    cloud.write_bytes(whole[:-3])
    try:
        result = run("check", str(made), "--json")
        without = run("check", str(made), "--without-clouds")
        told = run("check", str(made))
    finally:
        cloud.write_bytes(whole)
    assert result.exit_code == told.exit_code == 1 and without.exit_code == 0
    report = json.loads(result.stdout)
    assert report["problems"] == 1
    assert report["findings"][0]["file"] == "training/velodyne/000001.bin"
    assert "damaged files: 1" in told.output and "it was cut off" in told.output
    assert max(map(len, told.output.splitlines())) <= 80


def test_control_sequences_in_a_label_file_do_not_reach_the_terminal(made: Path) -> None:
    labels = made / "training/label_2/000000.txt"
    whole = labels.read_text()
    names = "".join(f"\x1b]0;{number}\x07 0.00 0 0 10 10 60 60 1.5 1.6 3.9 0 1.6 20 0\n" for number in range(30))
    labels.write_text(names)
    try:
        result = run("check", str(made))
    finally:
        labels.write_text(whole)
    assert result.exit_code == 1 and "\x1b" not in result.output and "unknown classes: 30" in result.output
    assert "… and 25 more" in result.output and len(result.output.splitlines()) < 70
    assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "nowhere"),
        ("check", ".", "--subset", "validation"),
        ("generate", "new", "--frames", "-1"),
        ("generate", "new", "--image-size", "99999x1"),
        ("generate", "new", "--image-size", "large"),
    ],
)
def test_mistakes_have_exit_code_2_and_make_nothing(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_another_seed_is_not_written_over(made: Path) -> None:
    result = run("generate", str(made), "--frames", "3", "--seed", "3", *SMALL)
    assert result.exit_code == 2 and "another seed" in result.output
