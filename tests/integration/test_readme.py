"""The commands of the README, typed in its order, do what the README says they print."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.diagram import __file__ as inside_the_project

ROOT = Path(inside_the_project).resolve().parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.service]


def sessions(text: str) -> Iterator[tuple[str, list[str]]]:
    """(command, lines it should print) of every `console` block."""
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.S):
        command, expected = "", list[str]()
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, expected
                command, expected = line[2:], []
            else:
                expected.append(line)
        if command:
            yield command, expected


def same_shape(text: str) -> str:
    """Without what differs from run to run: identifiers, ports, numbers after the point."""
    text = re.sub(r"train-\d{8}-\d{6}-[0-9a-f]+", "TRAINING", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text)
    return re.sub(r"\s+", " ", re.sub(r"\d+\.\d{2,}", "NUMBER", text)).strip()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which `mlops` is this checkout's command, with a home of its own."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "mlops").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m jobs "$@"\n')
    (bin_folder / "mlops").chmod(0o755)
    environment = {
        **os.environ,
        "MLOPS_HOME": str(tmp_path / "home"),
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    yield environment
    subprocess.run(["mlops", "stop", "customer-churn"], env=environment, cwd=ROOT, capture_output=True, check=False)
    shutil.rmtree(tmp_path / "home", ignore_errors=True)


def test_every_command_of_the_readme_does_what_it_says(shell: dict[str, str]) -> None:
    commands = list(sessions((ROOT / "README.md").read_text(encoding="utf-8")))
    assert len(commands) >= 12
    for command, expected in commands:
        done = subprocess.run(
            ["bash", "-c", command], env=shell, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed = same_shape(done.stdout)
        for line in expected:
            assert same_shape(line) in printed, f"{command} does not print: {line}\nit prints: {done.stdout}"


def test_the_make_targets_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([a-z-]+)`", text))
    assert {"demo", "test", "ui", "mlflow-ui"} <= targets
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
