"""The model server over HTTP: every answer it can give, asked of a real process."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets.errors import UserError
from mlops_assets.serving.client import predict
from mlops_assets.serving.limits import MAX_BODY_BYTES, MAX_ROWS

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "serving"))
import fabricated
from loopback import Reply, free_port, wait_healthy
from serving_process import JSON, Client, samples, served, start

pytestmark = [pytest.mark.service]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with served(fabricated.package(tmp_path_factory.mktemp("http") / "package")) as client:
        yield client


def test_rows_one_row_and_csv_are_answered_alike(client: Client) -> None:
    many = client.predict({"rows": fabricated.ROWS})
    assert (many.status, many.headers["content-type"]) == (200, "application/json")
    assert many.json["model_version"] == "v1.0.0"
    for row, prediction in zip(fabricated.ROWS, many.json["predictions"], strict=True):
        chance = fabricated.probability(row, 1.0)
        assert prediction["label"] == fabricated.CLASSES[chance > 0.5]
        assert prediction["probabilities"] == pytest.approx({"いいえ": 1 - chance, "はい": chance}, abs=1e-5)
    one = client.predict(fabricated.ROWS[0])
    assert one.json["predictions"] == many.json["predictions"][:1]
    csv = "年齢,income,city,joined\n42,350.5,東京,2026-01-31T09:00:00Z\n-3,,,\n"
    by_csv = client("POST", "/invocations", csv.encode(), {"content-type": "text/csv; charset=utf-8"})
    assert by_csv.json["predictions"] == [many.json["predictions"][0], many.json["predictions"][2]]


def test_a_refusal_names_field_row_value_and_what_is_allowed(client: Client) -> None:
    reply = client.predict({"rows": [fabricated.ROWS[0], {"年齢": "old"}]})
    assert reply.status == 422
    problem = reply.problem
    assert (problem["field"], problem["row"], problem["given"]) == ("年齢", 1, "old")
    assert "finite JSON number" in problem["allowed"]
    nan = client("POST", "/invocations", '{"年齢": NaN}'.encode(), JSON)
    assert (nan.status, nan.problem["code"], nan.problem["field"]) == (422, "not_finite", "年齢")
    bad = client("POST", "/invocations", b'{"rows": [}', JSON)
    assert (bad.status, bad.problem["code"]) == (400, "json")
    assert "byte 10" in bad.problem["message"]


@pytest.mark.parametrize(
    "header", [None, "application/x-www-form-urlencoded", "text/plain", "application/json; charset=shift_jis"]
)
def test_another_content_type_is_415(client: Client, header: str | None) -> None:
    reply = client("POST", "/invocations", b"{}", {"content-type": header} if header else {})
    assert reply.status == 415
    assert "application/json, text/csv" in reply.problem["allowed"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/invocations"), ("PUT", "/invocations"), ("POST", "/ping"), ("DELETE", "/metrics")]
)
def test_another_method_is_405_and_told_which(client: Client, method: str, path: str) -> None:
    reply = client(method, path)
    assert reply.status == 405
    assert reply.headers["allow"] == reply.problem["allowed"]


def test_another_path_is_404_and_told_which(client: Client) -> None:
    reply = client("GET", "/Invocations/%3Cb%3E")
    assert reply.status == 404
    assert "/invocations" in reply.problem["allowed"]


def test_too_many_rows_and_too_large_a_body_are_413(client: Client) -> None:
    rows = client("POST", "/invocations", ("年齢\n" + "1\n" * (MAX_ROWS + 1)).encode(), {"content-type": "text/csv"})
    assert (rows.status, rows.problem["code"]) == (413, "too_many_rows")
    # Announced: refused before it is read.
    head = ["POST /invocations HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {MAX_BODY_BYTES + 1}"]
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as raw:
        raw.sendall("\r\n".join([*head, "", ""]).encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")
    # Not announced: refused as soon as it is over.
    chunks = iter([b" " * 1_000_000] * (MAX_BODY_BYTES // 1_000_000 + 2))
    try:
        status = client("POST", "/invocations", chunks, JSON, encode_chunked=True).status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # the server may answer and close while the rest is still being sent
    assert status == 413
    assert client.predict(fabricated.ROWS[0]).status == 200


def test_a_long_batch_is_answered_whole_and_holds_up_nobody(client: Client) -> None:
    rows = fabricated.big_batch(MAX_ROWS)
    replies: list[Reply] = []
    batch = threading.Thread(target=lambda: replies.append(client.predict({"rows": rows})))
    batch.start()
    waits = []
    while batch.is_alive():
        started = time.perf_counter()
        assert client.predict(fabricated.ROWS[0]).status == 200
        waits.append(time.perf_counter() - started)
    assert len(replies[0].json["predictions"]) == MAX_ROWS
    assert replies[0].json["predictions"][-1]["probabilities"]["はい"] == pytest.approx(
        fabricated.probability(rows[-1], 1.0), abs=1e-5
    )
    assert sorted(waits)[len(waits) // 2] < 0.1


def test_ping_docs_and_openapi_describe_the_model(client: Client) -> None:
    ping = client("GET", "/ping").json
    assert (ping["model_id"], ping["version"], ping["status"]) == ("churn", "v1.0.0", "healthy")
    assert client("GET", "/openapi.json").json["openapi"] == "3.1.0"
    page = client("GET", "/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "年齢" in page.body.decode()
    head = client("HEAD", "/ping")
    assert (head.status, head.body) == (200, b"")


def test_metrics_count_requests_rows_classes_and_latency(client: Client) -> None:
    before = samples(client)
    client.predict({"rows": fabricated.ROWS})
    client.predict({"年齢": "x"})
    after = samples(client)
    grown = {name: value - before.get(name, 0.0) for name, value in after.items() if value != before.get(name, 0.0)}
    assert grown['mlops_serving_requests_total{"code": "200", "route": "/invocations"}'] == 1
    assert grown['mlops_serving_requests_total{"code": "422", "route": "/invocations"}'] == 1
    assert grown["mlops_serving_rows_total{}"] == len(fabricated.ROWS)
    for code in ("200", "422"):
        assert grown[f'mlops_serving_latency_seconds_count{{"code": "{code}"}}'] == 1
    yes = sum(fabricated.probability(row, 1.0) > 0.5 for row in fabricated.ROWS)
    assert grown['mlops_serving_predictions_total{"label": "はい", "version": "v1.0.0"}'] == yes
    info = [name for name, value in after.items() if name.startswith("mlops_serving_model_info") and value == 1]
    assert len(info) == 1
    assert '"version": "v1.0.0"' in info[0]


def test_half_a_surrogate_pair_is_refused_by_field(client: Client) -> None:
    with pytest.raises(UserError, match="年齢"):
        predict(f"http://127.0.0.1:{client.port}", [{"年齢": "\ud800"}])


def test_a_tampered_package_and_a_taken_port_end_the_process_with_a_reason(tmp_path: Path) -> None:
    package = fabricated.package(tmp_path / "package")
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen(1)
        process = start(package, stranger.getsockname()[1], tmp_path / "log")
        assert process.wait(timeout=15) == 98
    assert "is taken by another process" in (tmp_path / "log").read_text()
    (package / "model.onnx").write_bytes(fabricated.classifier(9.0))
    assert start(package, free_port(), tmp_path / "log").wait(timeout=15) == 1
    assert "expected SHA-256" in (tmp_path / "log").read_text()


def test_a_client_that_goes_away_costs_no_error_and_is_counted(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    process = start(fabricated.regression_package(tmp_path / "package"), port, log)
    client = Client(port)
    wait_healthy(port, "/ping", process, log)
    try:
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
            time.sleep(0.2)
        deadline = time.monotonic() + 10
        gone = 'mlops_serving_requests_total{"code": "499", "route": "/invocations"}'
        while gone not in (found := samples(client)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not any(name.startswith("mlops_serving_latency_seconds_count") for name in found)
        assert client.predict({"x": 2}).status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert "Traceback" not in log.read_text()


def test_sigterm_ends_it_while_a_connection_is_kept_open(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    process = start(fabricated.regression_package(tmp_path / "package"), port, log)
    client = Client(port)
    wait_healthy(port, "/ping", process, log)
    with socket.create_connection(("127.0.0.1", port)) as kept:
        kept.sendall(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")
        kept.recv(1000)
        assert client.predict({"x": 2}).json == {"predictions": [{"value": 4.0}], "model_version": "v1.0.0"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
