"""`mlops webhook` over HTTP: GitHub's own payloads and signatures, and what a hostile network sends; one process for all."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import free_port
from webhook_process import FORM, JSON, REPOSITORY, Server, environment_of, headers_of, payload, signed, start

from mlops_assets.serving.refusal import InputRefused
from resources.inbox import Delivery
from resources.webhook import MAX_BODY_BYTES, read_delivery, signature_holds

pytestmark = [pytest.mark.service]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = start(tmp_path_factory.mktemp("webhook"), free_port())
    yield started
    assert started.stop() == 0, started.log.read_text()


def vectors(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "signature-vectors.json").read_text())
    assert len(found) >= 10
    return found


def test_every_published_signature_vector_is_judged_as_published(shared: Path) -> None:
    folder = shared / "data" / "github" / "webhooks"
    for vector in vectors(folder):
        body = (folder / vector["payload_file"]).read_bytes() if "payload_file" in vector else vector["payload_utf8"].encode()
        judged = signature_holds(vector["secret"].encode(), body, vector["x_hub_signature_256"])
        assert judged is vector["valid"], vector["source"]


def test_every_real_payload_is_taken_signed_and_refused_when_one_byte_differs(server: Server, shared: Path) -> None:
    folder = shared / "data" / "github" / "webhooks"
    files = [vector for vector in vectors(folder) if "payload_file" in vector]
    for vector in files:
        body, event = (folder / vector["payload_file"]).read_bytes(), vector["x_github_event"]
        signature, delivery = vector["x_hub_signature_256"], str(uuid.uuid4())
        reply = server.deliver(body, event, delivery, X_Hub_Signature_256=signature)
        if json.loads(body)["repository"]["full_name"] != REPOSITORY:
            assert reply.status == 403, vector["payload_file"]
            continue
        assert (reply.status, reply.json["status"]) == (202, "stored"), vector["payload_file"]
        (kept,) = [d for d in server.inbox.pending(1000) if d.delivery_id == delivery]
        assert kept.body == body
        tampered = body.replace(b"Codertocat", b"Codertocaf", 1)
        refused = server.deliver(tampered, event, X_Hub_Signature_256=signature)
        assert (refused.status, refused.problem["code"]) == (401, "signature")
        again = server.deliver(json.dumps(json.loads(body)).encode(), event, X_Hub_Signature_256=signature)
        assert again.status == 401, "the same JSON in other bytes"


BODY = payload(7)
DIGEST = signed(BODY).removeprefix("sha256=")


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        DIGEST,
        f"sha1={DIGEST}",
        f"sha256={DIGEST.upper()}",
        f"SHA256={DIGEST}",
        f"sha256={DIGEST} ",
        f"sha256={DIGEST[:-1]}",
        f"sha256={DIGEST}0",
        f"sha256={DIGEST[:-1]}{'0' if DIGEST[-1] != '0' else '1'}",
        signed(BODY, "another secret"),
        signed(BODY, ""),
        signed(BODY + b"\n"),
        f"sha256={DIGEST[:-1]}é",
    ],
)
def test_any_other_signature_is_refused_and_nothing_is_kept(server: Server, signature: str | None) -> None:
    before = server.inbox.waiting()
    if signature == f"sha256={DIGEST} ":  # white space around a header's value is no part of it
        assert server.deliver(BODY, X_Hub_Signature_256=signature).status == 202
        return
    reply = server.deliver(BODY, X_Hub_Signature_256=signature)
    assert (reply.status, reply.problem["code"]) == (401, "signature")
    assert server.inbox.waiting() == before


def test_bytes_in_a_header_that_are_no_text_are_refused(server: Server) -> None:
    for name in ("X-Hub-Signature-256", "X-GitHub-Event", "X-GitHub-Delivery", "Content-Type"):
        head = b"".join(f"{k}: {v}\r\n".encode() for k, v in headers_of(BODY, "issues").items() if k != name)
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            wrong = name.encode() + b": sha256=\xff\xfe\x80\r\n"
            length = b"content-length: %d\r\n\r\n" % len(BODY)
            connection.sendall(b"POST /webhook HTTP/1.1\r\nhost: x\r\n" + wrong + head + length + BODY)
            assert connection.recv(100).split(b" ")[1] in (b"400", b"401", b"415"), name
    assert server.ask("GET", "/healthz").status == 200


def test_a_form_is_read_as_the_json_in_its_payload(server: Server) -> None:
    inner = payload(31, title="日本語 & = + %")
    body = urlencode({"payload": inner.decode()}).encode()
    delivery = str(uuid.uuid4())
    reply = server.deliver(body, "issues", delivery, Content_Type=f"{FORM}; charset=utf-8")
    assert (reply.status, reply.json["status"]) == (202, "stored")
    (kept,) = [d for d in server.inbox.pending(1000) if d.delivery_id == delivery]
    assert kept == Delivery(delivery, "issues", "opened", 31, None, inner)


@pytest.mark.parametrize("body", [b"", b"payload", b"x=1", b"payload=%7B&payload=%7B", b"payload=%FF", b"\xff=1", b"&" * 50])
def test_a_form_without_one_readable_payload_is_refused(server: Server, body: bytes) -> None:
    assert server.deliver(body, Content_Type=FORM).status == 400


def test_ping_answers_and_events_that_nothing_goes_by_are_not_kept(server: Server) -> None:
    before = server.inbox.waiting()
    hello = json.dumps({"zen": "Design for failure.", "hook_id": 1}).encode()
    assert server.deliver(hello, "ping").status == 200
    assert server.deliver(payload(), "ping").json["status"] == "pong"
    for event in ("star", "workflow_run", "issue_dependencies"):
        reply = server.deliver(payload(), event)
        assert (reply.status, reply.json["status"]) == (202, "not used")
    on_pull_request = payload(5, issue={"number": 5, "pull_request": {"url": "https://example.com"}})
    assert server.deliver(on_pull_request, "issue_comment").json["status"] == "not used"
    assert server.inbox.waiting() == before


def test_another_repository_is_refused_whatever_the_event(server: Server) -> None:
    body = payload(repository={"full_name": "stranger/<b>fork</b>"})
    for event in ("issues", "issue_comment", "push", "ping"):
        reply = server.deliver(body, event)
        assert (reply.status, reply.problem["field"], reply.problem["allowed"]) == (403, "repository.full_name", REPOSITORY)
    assert server.deliver(payload(repository=None), "issues").status == 403
    assert server.deliver(payload(repository={"full_name": REPOSITORY.upper()}), "issues").status == 202, "names ignore case"


@pytest.mark.parametrize(
    ("headers", "status", "field"),
    [
        ({"X_GitHub_Delivery": None}, 400, "X-GitHub-Delivery"),
        ({"X_GitHub_Delivery": "72d3162e"}, 400, "X-GitHub-Delivery"),
        ({"X_GitHub_Delivery": "72d3162ecc7811e381ab4c9367dc0958"}, 400, "X-GitHub-Delivery"),
        ({"X_GitHub_Event": None}, 400, "X-GitHub-Event"),
        ({"X_GitHub_Event": "issues; drop"}, 400, "X-GitHub-Event"),
        ({"Content_Type": None}, 415, "Content-Type"),
        ({"Content_Type": "text/plain"}, 415, "Content-Type"),
        ({"Content_Type": "multipart/form-data; boundary=x"}, 415, "Content-Type"),
    ],
)
def test_a_header_that_is_missing_or_wrong_is_named(server: Server, headers: dict[str, Any], status: int, field: str) -> None:
    reply = server.deliver(BODY, **headers)
    assert (reply.status, reply.problem["field"]) == (status, field)
    assert reply.problem["allowed"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b'{"a": ' + b"[" * 200_000,
        payload(issue=None),
        payload(issue={"number": 0}),
        payload(issue={"number": "1"}),
        payload(issue={"number": 2**70}),
        payload(action="x" * 200),
        payload(action=7),
        payload(repository="x"),
    ],
)
def test_a_signed_body_that_is_no_payload_is_refused(server: Server, body: bytes) -> None:
    reply = server.deliver(body)
    assert reply.status == 400, reply.body
    assert len(reply.body) < 1000


def test_other_paths_and_methods_are_told_what_there_is(server: Server) -> None:
    assert server.ask("GET", "/healthz").json["status"] == "healthy"
    head = server.ask("HEAD", "/healthz")
    assert (head.status, head.body) == (200, b"")
    assert server.ask("GET", "/webhook").status == 405
    assert server.ask("POST", "/healthz").status == 405
    assert server.ask("GET", "/../etc/passwd").status == 404
    assert server.ask("POST", "/", BODY, headers_of(BODY, "issues")).status == 202


def test_bodies_up_to_githubs_cap_are_taken_and_larger_ones_are_not(server: Server) -> None:
    largest = payload(1, padding="")
    largest = payload(1, padding="x" * (MAX_BODY_BYTES - len(largest)))
    assert len(largest) == MAX_BODY_BYTES
    assert server.deliver(largest).status == 202
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        head = "".join(f"{k}: {v}\r\n" for k, v in headers_of(b"", "issues").items())
        connection.sendall(f"POST /webhook HTTP/1.1\r\nhost: x\r\n{head}content-length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode())
        assert b" 413 " in connection.recv(100), "refused before a byte of it was read"
    chunks = (b"x" * 1024 * 1024 for _ in range(27))
    try:
        reply = server.ask("POST", "/webhook", chunks, headers_of(b"", "issues"), encode_chunked=True)
        assert reply.status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server answered and closed while this side was still sending
    assert server.deliver(BODY).status == 202


@given(body=st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)), keep=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hostile_bodies_are_refused_signed_or_not(server: Server, body: bytes, keep: bool) -> None:
    reply = server.deliver(body, **({} if keep else {"X_Hub_Signature_256": signed(body, "guess")}))
    assert reply.status == (400 if keep else 401) or (keep and reply.status == 403)


KEYS = ["repository", "full_name", "issue", "number", "ref", "action", "pull_request", "x"]
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    ),
    max_leaves=10,
)


@given(value=JSON_VALUES, event=st.sampled_from(["issues", "issue_comment", "push", "ping"]), named=st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_delivery_of_this_repository_or_refused(value: Any, event: str, named: bool) -> None:
    if named and isinstance(value, dict):
        value = {**value, "repository": {"full_name": REPOSITORY}}
    try:
        found = read_delivery("id", event, JSON, json.dumps(value).encode(), REPOSITORY)
    except InputRefused as refused:
        assert refused.status in (400, 403)
        return
    assert found is None or (named and (found.issue_number is not None) is (event != "push"))


def test_twenty_threads_with_one_delivery_id_leave_one_row(server: Server) -> None:
    delivery, body = str(uuid.uuid4()), payload(77)
    with ThreadPoolExecutor(20) as threads:
        replies = list(threads.map(lambda _: server.deliver(body, "issues", delivery), range(20)))
    assert sorted(r.json["status"] for r in replies) == ["known"] * 19 + ["stored"]
    assert server.deliver(payload(78), "issues", delivery.upper()).json["status"] == "known"
    assert [d.issue_number for d in server.inbox.pending(1000) if d.delivery_id == delivery] == [77]


def test_senders_who_announce_much_are_bounded_and_do_not_keep_usual_deliveries_out(server: Server) -> None:
    greedy = []
    for _ in range(6):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        head = "".join(f"{k}: {v}\r\n" for k, v in headers_of(b"", "issues").items())
        connection.sendall(f"POST /webhook HTTP/1.1\r\nhost: x\r\n{head}content-length: {MAX_BODY_BYTES}\r\n\r\nx".encode())
        greedy.append(connection)
        time.sleep(0.02)
    assert server.deliver(payload(1)).status == 202
    assert all(b" 503 " in connection.recv(100) for connection in greedy[4:])
    for connection in greedy:
        connection.close()
    time.sleep(0.2)
    assert server.deliver(payload(1, padding="x" * 2_000_000)).status == 202, "who hangs up gives back what was announced"


def test_an_answer_with_its_durable_commit_takes_less_than_50_ms(server: Server) -> None:
    seconds = []
    for number in range(60):
        body = payload(number + 1, padding="x" * 14_000)
        began = time.perf_counter()
        assert server.deliver(body).status == 202
        seconds.append(time.perf_counter() - began)
    assert statistics.median(seconds) < 0.05, "benchmarks/webhook.py measures the tail, on a machine with nothing else to do"


def test_a_taken_port_is_told(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobs", "webhook", "--port", str(server.port)]
    environment = environment_of(tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=20, check=False)
    assert done.returncode == 2 and "--port" in done.stderr
