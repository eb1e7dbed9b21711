"""`mlops ui` over an installation whose issues live on GitHub: started as a person starts it, ended as one does, or killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
from installation import ROOT, unmeasured
from loopback import free_port, until

from jobs.instance import instance_folder
from resources.settings import Settings

ValueT = TypeVar("ValueT")


class Daemon:
    """The daemon, code server and web server of one installation; may be started again after it has ended."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.log = folder / "ui.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The settings as a person sets them: nothing but variables."""
        assert self.settings.github_token is not None
        told = {
            "MLOPS_HOME": str(self.settings.home),
            "MLOPS_TRACKER": "github",
            "MLOPS_GITHUB_REPOSITORY": str(self.settings.github_repository),
            "MLOPS_GITHUB_API_URL": self.settings.github_api_url,
            "MLOPS_GITHUB_TOKEN": self.settings.github_token.get_secret_value(),
        }
        if self.settings.slack_webhook_url is not None:
            told["MLOPS_SLACK_WEBHOOK_URL"] = self.settings.slack_webhook_url.get_secret_value()
        return {**unmeasured(), **told, "PYTHONPATH": str(ROOT)}

    def start(self) -> None:
        """Start it and wait until its web server answers."""
        port = free_port()
        self._start([sys.executable, "-m", "jobs", "ui", "--port", str(port)], self.environment)
        self.until("the web server", lambda: answers(port))

    def start_alone(self) -> None:
        """Start the daemon and its code server without a web server, which takes less time."""
        program = str(Path(sys.executable).with_name("dagster-daemon"))
        dagster_home = {"DAGSTER_HOME": str(instance_folder(self.settings.resolved_home))}
        self._start([program, "run", "-m", "mlops_assets.definitions"], self.environment | dagster_home)

    def _start(self, command: list[str], environment: dict[str, str]) -> None:
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=self._folder,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL to everything that belongs to it at once, its run workers included; model servers stay."""
        assert self._process is not None
        family = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                if "mlops_assets.serving" not in one.cmdline():
                    one.send_signal(signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """As Ctrl-C does."""
        if self._process is not None:
            end(self._process)

    def until(self, what: str, found: Callable[[], ValueT | None], seconds: float = 60.0) -> ValueT:
        """Wait for something to be found."""
        return until(what, found, self.log, seconds)


def answers(port: int) -> bool:
    """Whether the web server of ``mlops ui`` is there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2):
            return True
    except OSError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does; then whatever of it is left, by process id."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(15)
    _, left = psutil.wait_procs(family, timeout=5)
    for one in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    if process.poll() is None:
        process.kill()
        process.wait()
