"""The process of `mlops webhook`: started, stopped, killed, on a full disk and against senders who never end."""

from __future__ import annotations

import http.client
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from loopback import free_port
from webhook_process import REPOSITORY, SECRET, Server, environment_of, headers_of, payload, start

pytestmark = [pytest.mark.service]


def test_every_answered_delivery_is_in_the_inbox_after_kill_9(tmp_path: Path) -> None:
    answered: set[str] = set()
    home, sent = tmp_path / "home", 0
    for number in range(3):
        server = start(home, free_port())
        ending = threading.Event()

        def keep_sending(server: Server = server, ending: threading.Event = ending) -> int:
            count = 0
            while not ending.is_set():
                delivery = str(uuid.uuid4())
                count += 1
                try:
                    reply = server.deliver(payload(count), "issues", delivery)
                except (OSError, http.client.HTTPException):
                    return count
                assert reply.status == 202
                answered.add(delivery)
            return count

        with ThreadPoolExecutor(4) as threads:
            senders = [threads.submit(keep_sending) for _ in range(4)]
            time.sleep(0.15 + 0.1 * number)
            server.stop(signal.SIGKILL)
            ending.set()
            sent += sum(sender.result() for sender in senders)
    stored = {d.delivery_id for d in server.inbox.pending(100_000)}
    assert len(answered) > 30 and answered <= stored
    assert len(stored) <= sent


def test_a_full_disk_and_a_locked_inbox_answer_503_and_the_delivery_can_come_again(tmp_path: Path) -> None:
    import sqlite3

    server = start(tmp_path / "home", free_port())
    try:
        assert server.deliver(payload(1)).status == 202
        process = psutil.Process(server.process.pid)
        unlimited = process.rlimit(resource.RLIMIT_FSIZE)
        delivery, body = str(uuid.uuid4()), payload(2, padding="x" * 200_000)
        process.rlimit(resource.RLIMIT_FSIZE, (64 * 1024, unlimited[1]))
        full = server.deliver(body, "issues", delivery)
        assert (full.status, full.problem["code"]) == (503, "inbox")
        process.rlimit(resource.RLIMIT_FSIZE, unlimited)
        assert server.deliver(body, "issues", delivery).json["status"] == "stored"

        other = sqlite3.connect(server.home / "webhook" / "inbox.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        delivery = str(uuid.uuid4())
        began = time.monotonic()
        locked = server.deliver(payload(3), "issues", delivery)
        assert locked.status == 503 and time.monotonic() - began < 8
        other.execute("ROLLBACK")
        other.close()
        assert server.deliver(payload(3), "issues", delivery).json["status"] == "stored"
        assert sorted(server.inbox.changed_issues()[0]) == [1, 2, 3]
    finally:
        assert server.stop() == 0, server.log.read_text()


SLOW = (
    "import sys, pathlib\nfrom resources.inbox import Inbox\nfrom resources.webhook import Receiver, serve\n"
    "receiver = Receiver(Inbox(pathlib.Path(sys.argv[1])), sys.argv[2], sys.argv[3], body_seconds=0.4)\n"
    "serve(receiver, '127.0.0.1', int(sys.argv[4]), header_seconds=0.4)\n"
)


def test_slow_senders_are_cut_off_and_hold_up_nobody(tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    server = start(home, port, ["-c", SLOW, str(home / "webhook" / "inbox.db"), SECRET, REPOSITORY, str(port)])
    try:
        slow, body = [], payload(7)
        for number in range(60):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            head = "".join(f"{k}: {v}\r\n" for k, v in headers_of(body, "issues").items())
            begun = f"POST /webhook HTTP/1.1\r\nhost: x\r\n{head}content-length: {len(body)}\r\n\r\n" if number % 2 else "POST /w"
            connection.sendall(begun.encode() + (body[:5] if number % 2 else b""))
            slow.append(connection)
        began = time.monotonic()
        assert server.deliver(payload(9)).status == 202
        assert time.monotonic() - began < 1
        answers = [connection.recv(100) for connection in slow]
        assert time.monotonic() - began < 5
        assert all(b" 408 " in answer for answer in answers[1::2])
        assert all(answer == b"" or b" 408 " in answer or b" 400 " in answer for answer in answers[::2])
        for connection in slow:
            connection.close()
        assert server.inbox.changed_issues()[0] == {9}
    finally:
        server.stop(signal.SIGTERM)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"MLOPS_WEBHOOK_SECRET": ""}, "MLOPS_WEBHOOK_SECRET"),
        ({"MLOPS_WEBHOOK_SECRET": None}, "MLOPS_WEBHOOK_SECRET"),
        ({"MLOPS_GITHUB_REPOSITORY": None}, "MLOPS_GITHUB_REPOSITORY"),
        ({"MLOPS_TRACKER": "folder"}, "MLOPS_TRACKER"),
    ],
)
def test_it_does_not_start_without_what_it_needs_and_says_what_that_is(
    tmp_path: Path, changed: dict[str, str | None], field: str
) -> None:
    environment = {**environment_of(tmp_path), **{k: v for k, v in changed.items() if v is not None}}
    for name in (name for name, value in changed.items() if value is None):
        del environment[name]
    command = [sys.executable, "-m", "jobs", "webhook", "--port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=20, check=False)
    assert done.returncode == 2
    assert f"field: {field}" in done.stderr and SECRET not in done.stdout + done.stderr
    assert not (tmp_path / "webhook").exists()


def test_sigterm_ends_it_well_while_a_connection_is_kept_open(tmp_path: Path) -> None:
    server = start(tmp_path / "home", free_port())
    with socket.create_connection(("127.0.0.1", server.port)) as kept:
        kept.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        kept.recv(1000)
        assert server.deliver(payload(4)).status == 202
        assert server.stop() == 0
    assert server.inbox.changed_issues()[0] == {4}
    assert SECRET not in server.log.read_text()
