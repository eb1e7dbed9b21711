"""The receiver `mlops webhook` as a process of its own, and what GitHub sends it; what it answers is in the tests."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installation import ROOT
from loopback import Reply, ask, wait_healthy

from resources.inbox import Inbox

SECRET = "It's a Secret to Everybody"
REPOSITORY = "Codertocat/Hello-World"
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def signed(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def headers_of(body: bytes, event: str, delivery: str | None = None, **more: str | None) -> dict[str, str]:
    headers = {
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
        "X-Hub-Signature-256": signed(body),
        "Content-Type": JSON,
    }
    changed = {**headers, **{name.replace("_", "-"): value for name, value in more.items()}}
    return {name: value for name, value in changed.items() if value is not None}


def payload(number: int = 1, **more: Any) -> bytes:
    content = {"action": "opened", "issue": {"number": number}, "repository": {"full_name": REPOSITORY}, **more}
    return json.dumps(content).encode()


@dataclass
class Server:
    """One `mlops webhook` process over one home."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def inbox(self) -> Inbox:
        return Inbox(self.home / "webhook" / "inbox.db")

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any) -> Reply:
        return ask(self.port, method, path, body, headers, **options)

    def deliver(self, body: bytes, event: str = "issues", delivery: str | None = None, **headers: str | None) -> Reply:
        return self.ask("POST", "/webhook", body, headers_of(body, event, delivery, **headers))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=10)


def environment_of(home: Path, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLOPS_")}
    ours = {"MLOPS_HOME": str(home), "MLOPS_TRACKER": "github", "MLOPS_GITHUB_REPOSITORY": REPOSITORY}
    return {**clean, "PYTHONPATH": str(ROOT), **ours, "MLOPS_WEBHOOK_SECRET": SECRET, **more}


def start(home: Path, port: int, command: list[str] | None = None) -> Server:
    home.mkdir(parents=True, exist_ok=True)
    log = home / "log"
    command = command or ["-m", "jobs", "webhook", "--port", str(port)]
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, *command], stdout=output, stderr=output, env=environment_of(home), cwd=home)
    wait_healthy(port, "/healthz", process, log)
    return Server(home, port, process, log)
