"""The commands of the README, typed in its order, do what the README says they print."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from jobs.diagram import __file__ as inside_the_project
from mlops_assets.reports.language import sentence
from resources.github_access import USER_AGENT
from tests.conftest import ClientRequests
from tests.standins.github import Exchange

ROOT = Path(inside_the_project).resolve().parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.service]


def sessions(text: str, fence: str = "console") -> Iterator[tuple[str, list[str]]]:
    """(command, lines it should print) of every block with this fence; `shell` is typed into several terminals."""
    for block in re.findall(rf"```{fence}\n(.*?)```", text, flags=re.S):
        command, expected = "", list[str]()
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, expected
                command, expected = line[2:], []
            elif line != "…":
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


@pytest.fixture
def github(shell: dict[str, str], client_requests: ClientRequests | None) -> Iterator[tuple[int, dict[str, str]]]:
    """Port of the stand-in that the README's command has started, and the environment that it printed.

    What was asked of it meanwhile is held to GitHub's description, like the requests to every other stand-in.
    """
    command, expected = next(iter(sessions((ROOT / "README.md").read_text(encoding="utf-8"), "shell")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = subprocess.Popen(
        ["bash", "-c", f"exec {command} --port {port}"],
        env=shell | {"PYTHONUNBUFFERED": "1"}, cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert running.stdout is not None
        printed = ""
        for line in running.stdout:
            printed += line
            if "/_standin/requests" in line:
                break
        for line in expected:
            assert line.replace("8091", str(port)) in printed, f"{command} does not print: {line}\nit prints: {printed}"
        exported = dict(line.strip().removeprefix("export ").split("=", 1) for line in expected if "export " in line)
        assert exported.pop("MLOPS_HOME") == "$(mktemp -d)"
        yield port, shell | {name: value.replace("8091", str(port)) for name, value in exported.items()}
        if client_requests is not None:
            with urlopen(f"http://127.0.0.1:{port}/_standin/requests", timeout=10) as answer:
                log = json.load(answer)
            before = client_requests.seen
            for line in log:
                client_requests(Exchange.from_log(line))
            assert client_requests.seen > before
            assert any(line["agent"] == USER_AGENT and line["sent"] for line in log)
    finally:
        running.terminate()
        assert running.wait(timeout=20) == 0


def test_the_first_try_of_the_readme_without_an_account_ends_in_an_approved_proposal(
    github: tuple[int, dict[str, str]],
) -> None:
    port, environment = github
    typed = list(sessions((ROOT / "README.md").read_text(encoding="utf-8"), "shell"))[1:]
    assert [command.split()[:3] for command, _ in typed][-2:] == [["mlops", "dev", "thumb"]] * 2
    for command, expected in typed:
        # The daemon would need half a minute to start; this command makes the same decisions and comments.
        ran = command.replace("8091", str(port)).replace("mlops ui", "true")
        if ran.startswith("mlops dev thumb"):
            ran = f"mlops run 1 --plan-only >/dev/null && {ran} --port {port}"
        done = subprocess.run(
            ["bash", "-c", ran], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{ran}\n{done.stdout}\n{done.stderr}"
        for line in expected:
            assert same_shape(line) in same_shape(done.stdout), f"{ran} does not print: {line}\nit prints: {done.stdout}"
    with urlopen(f"http://127.0.0.1:{port}/acme/models/issues/1", timeout=10) as answer:
        page = answer.read().decode()
    assert sentence("heading.proposal", "en") in page
    assert "2 stranger, maintainer" in page
    assert sentence("heading.detected", "en") in page


def test_the_make_targets_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([a-z-]+)`", text))
    assert {"demo", "test", "ui", "mlflow-ui"} <= targets
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
