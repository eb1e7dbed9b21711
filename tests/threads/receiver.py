"""The webhook receiver of a replayed thread: the product's own process, as `mlops webhook` starts it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from typing import Final

from resources.settings import Settings
from tests.conftest import ROOT

SECRET: Final = "a secret of the test"


class Receiver:
    """One `mlops webhook` process over the home of a replay."""

    def __init__(self, settings: Settings) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        home = settings.resolved_home
        home.mkdir(parents=True, exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MLOPS_")}
        ours = {
            "PYTHONPATH": str(ROOT),
            "MLOPS_HOME": str(home),
            "MLOPS_TRACKER": "github",
            "MLOPS_GITHUB_REPOSITORY": str(settings.github_repository),
            "MLOPS_WEBHOOK_SECRET": SECRET,
        }
        command = [sys.executable, "-m", "jobs", "webhook", "--port", str(port)]
        with (home / "webhook.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env={**clean, **ours}, cwd=home)
        self.url = f"http://127.0.0.1:{port}/webhook"
        deadline = time.monotonic() + 20
        while not _answers(port):
            assert self._process.poll() is None and time.monotonic() < deadline, (home / "webhook.log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(timeout=10)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
