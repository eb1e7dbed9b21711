"""A model server as a process of its own, asked over HTTP; which package it serves and what it answers is in the tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from installation import ROOT
from loopback import Reply, ask, free_port, wait_healthy

JSON = {"content-type": "application/json"}


class Client:
    """Requests to one port, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any) -> Reply:
        return ask(self.port, method, path, body, headers, **options)

    def predict(self, document: Any) -> Reply:
        return self("POST", "/invocations", json.dumps(document).encode(), JSON)


def start(package: Path, port: int, log: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mlops_assets.serving", "--package", str(package), "--port", str(port), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=environment)


@contextmanager
def served(package: Path) -> Iterator[Client]:
    """A server of ``package`` that answers; it must end well when it is told to."""
    port, log = free_port(), package.parent / "log"
    process = start(package, port, log)
    try:
        wait_healthy(port, "/ping", process, log)
        yield Client(port)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def samples(client: Client) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(client("GET", "/metrics").body.decode())
    found = [sample for family in families for sample in family.samples]
    return {sample.name + json.dumps(sample.labels, sort_keys=True, ensure_ascii=False): sample.value for sample in found}
