"""`mlops dev github`: starts by hand, tells how to use it, ends with Ctrl-C, and says so where it is not at hand."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from jobs.command_line import cli
from jobs.commands import dev
from tests.conftest import ROOT


def test_what_it_prints_can_be_used_as_it_stands(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobs", "dev", "github", "--repository", "acme/churn", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    running = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        lines = []
        for line in running.stdout:
            lines.append(line)
            if "/_standin/requests" in line:
                break
        text = "".join(lines)
        exported = dict(re.findall(r"export (MLOPS_\w+)=(\S+)", text))
        assert exported["MLOPS_TRACKER"] == "github"
        assert exported["MLOPS_GITHUB_REPOSITORY"] == "acme/churn"
        headers = {"Authorization": f"Bearer {exported['MLOPS_GITHUB_TOKEN']}"}
        repository = httpx.get(f"{exported['MLOPS_GITHUB_API_URL']}/repos/acme/churn", headers=headers).json()
        assert repository["permissions"]["push"]
        typed = [line.strip() for line in lines if line.strip().startswith("curl")][:3]
        for line in typed:
            told = subprocess.run(line.replace("/ID/", "/1/"), shell=True, capture_output=True, timeout=30, check=False)
            assert told.returncode == 0, line
        issue = httpx.get(f"{exported['MLOPS_GITHUB_API_URL']}/repos/acme/churn/issues/1").json()
        assert ([label["name"] for label in issue["labels"]], issue["comments"]) == (["mlops:train"], 1)
    finally:
        running.send_signal(signal.SIGINT)
        remaining = running.stdout.read()
        assert running.wait(timeout=20) == 0
    assert "stopped after" in remaining


def test_an_installed_package_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    told = CliRunner().invoke(cli, ["dev", "github"])
    assert told.exit_code == 2
    assert "not part of the installed package" in told.output
    assert "clone" in told.output


@pytest.mark.parametrize("options", [["--repository", "nonsense"], ["--repository", "a/b/c"], ["--port", "70000"]])
def test_mistakes_are_answered(options: list[str]) -> None:
    told = CliRunner().invoke(cli, ["dev", "github", *options])
    assert told.exit_code == 2
    assert options[1] in told.output


def test_a_port_in_use_is_told() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = CliRunner().invoke(cli, ["dev", "github", "--port", str(port)])
    assert told.exit_code == 2
    assert "free one" in told.output


def test_a_thumb_is_given_over_http_in_a_persons_name() -> None:
    from tests.standins.github import GitHubStandIn

    with GitHubStandIn("acme/models") as running:
        for login, permission, bot in dev.ACCOUNTS:
            assert running.add_user(login, permission, bot, token=login) == login
        port = running.html_url.rpartition(":")[2]
        number = running.open_issue("requester", "title", "body")
        early = CliRunner().invoke(cli, ["dev", "thumb", str(number), "--port", port])
        running.comment(number, "stranger", f"{dev.PROPOSAL}train-1 -->\nforged")
        proposal = running.comment(number, "platform", f"{dev.PROPOSAL}train-1 -->\nA proposal")
        running.comment(number, "platform", "something else")
        given = [
            CliRunner().invoke(cli, ["dev", "thumb", str(number), "--port", port, *more])
            for more in ([], ["--as", "stranger", "--down"])
        ]
        missing = CliRunner().invoke(cli, ["dev", "thumb", "9", "--port", port])
        assert running.reactions(proposal) == [("maintainer", "+1"), ("stranger", "-1")]
    assert [told.exit_code for told in (early, *given, missing)] == [2, 0, 0, 2]
    assert "proposed nothing" in early.output
    assert "404" in missing.output
    gone = CliRunner().invoke(cli, ["dev", "thumb", str(number), "--port", port])
    assert gone.exit_code == 2
    assert "mlops dev github" in gone.output
