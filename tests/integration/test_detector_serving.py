"""Detectors behind real servers: HTTP, load, drift, switching and rollback, and the command line."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mlops_assets.serving.limits import MAX_FRAME_BODY_BYTES, MAX_WAITING
from mlops_assets.serving.package import graph_names
from resources.platform import Platform

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "serving"))
sys.path.insert(0, str(Path(__file__).parent))
import fabricated
import fabricated_detectors as detectors
from loopback import Reply
from serving_process import Client, samples, served

pytestmark = [pytest.mark.service]
PNG, BIN = {"content-type": "image/png"}, {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with served(detectors.image_package(tmp_path_factory.mktemp("street") / "package")) as client:
        yield client


def post(client: Client, body: bytes, headers: dict[str, str] = PNG) -> Reply:
    return client("POST", "/invocations", body, headers)


def test_an_image_is_answered_and_counted(street: Client) -> None:
    before = samples(street)
    reply = post(street, detectors.png(detectors.picture(250)))
    assert (reply.status, reply.json["model_version"]) == (200, "v1.0.0")
    assert [box["class"] for box in reply.json["predictions"][0]["boxes"]] == ["Car", "Pedestrian"]
    after = samples(street)
    grown = {name: value - before.get(name, 0.0) for name, value in after.items() if value != before.get(name, 0.0)}
    for label in detectors.CLASSES:
        assert grown[f'mlops_serving_predictions_total{{"label": "{label}", "version": "v1.0.0"}}'] == 1
    assert grown['mlops_serving_drift_values_count{"quantity": "brightness", "version": "v1.0.0"}'] == 1
    assert grown['mlops_serving_drift_values_sum{"quantity": "brightness", "version": "v1.0.0"}'] == pytest.approx(250)
    assert 'mlops_serving_drift_psi{"quantity": "brightness", "version": "v1.0.0"}' in after


def test_refusals_over_http(street: Client) -> None:
    assert post(street, b"").problem["code"] == "empty"
    truncated = post(street, detectors.png(detectors.street(1))[:200])
    assert (truncated.status, truncated.problem["code"]) == (422, "image")
    csv = street("POST", "/invocations", b"a\n1\n", {"content-type": "text/csv"})
    assert csv.status == 415
    assert "image/png, image/jpeg" in csv.problem["allowed"]
    large = street("POST", "/invocations", None, {**PNG, "content-length": str(MAX_FRAME_BODY_BYTES + 1)})
    assert (large.status, large.problem["allowed"]) == (413, f"at most {MAX_FRAME_BODY_BYTES:,} bytes")
    assert post(street, detectors.png(detectors.picture())).status == 200


def test_pages_of_a_detector(street: Client) -> None:
    assert street("GET", "/ping").json["model_id"] == "street"
    assert "image/png" in street("GET", "/openapi.json").json["paths"]["/invocations"]["post"]["requestBody"]["content"]
    page = street("GET", "/docs").body.decode()
    assert 'accept="image/png,image/jpeg"' in page
    assert street("HEAD", "/drift").body == b""


def test_more_requests_than_may_wait_are_told_to_come_back_and_nobody_fails(street: Client) -> None:
    body = detectors.png(detectors.picture(99, (2048, 4096)))
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(post(street, body))) for _ in range(3 * MAX_WAITING)]
    for thread in threads:
        thread.start()
    assert street("GET", "/ping").status == 200
    for thread in threads:
        thread.join()
    codes = [reply.status for reply in replies]
    assert set(codes) <= {200, 503}
    assert codes.count(200) >= MAX_WAITING
    for reply in replies:
        if reply.status == 503:
            assert (reply.problem["code"], reply.headers["retry-after"]) == ("busy", "1")


def test_a_cloud_over_http(tmp_path: Path) -> None:
    with served(detectors.cloud_package(tmp_path / "package")) as client:
        reply = post(client, detectors.cloud((6.0, 2.0)).tobytes(), BIN)
        assert reply.json["predictions"][0]["boxes"][0]["center"] == [6.0, 2.0, -1.0]
        nan = post(client, b"\0\0\xc0\x7f" * 4, BIN)
        assert (nan.status, nan.problem["code"]) == (422, "not_finite")
        assert post(client, bytes(20), BIN).problem["given"] == "20 bytes"
        names = [quantity["name"] for quantity in client("GET", "/drift").json["quantities"]]
        assert names == ["points", "density"]


def run(*arguments: str) -> Any:
    from jobs import commands  # noqa: F401  registers the commands
    from jobs.command_line import cli

    return CliRunner().invoke(cli, arguments)


def test_a_line_is_switched_rolled_back_watched_and_asked_from_the_command_line(platform: Platform, tmp_path: Path) -> None:
    deploy = platform.endpoints.deploy
    try:
        deploy("street", "dev", detectors.image_package(tmp_path / "one"), who="maintainer", why="test")
        state = deploy(
            "street", "dev", detectors.image_package(tmp_path / "two", "v1.1.0", weight=0.9), who="maintainer", why="test"
        )
        client = Client(state.port)
        bright = post(client, detectors.png(detectors.picture(250))).json
        assert (bright["model_version"], bright["predictions"][0]["boxes"][0]["score"]) == (
            "v1.1.0",
            pytest.approx(0.882, abs=1e-3),
        )

        for seed in range(120):
            assert post(client, detectors.png(detectors.street(seed))).status == 200
        page = client("GET", "/drift").json
        known = {quantity["name"]: quantity["verdict"] for quantity in page["quantities"]}
        assert (known["brightness"], known["contrast"]) == ("stable", "stable")
        assert (page["version"], page["environment"], page["frames"]) == ("v1.1.0", "dev", 121)
        for seed in range(120):
            post(client, detectors.png(detectors.street(seed, brightness=50)))
        told = run("drift", "street")
        assert told.exit_code == 0, told.output
        assert "major drift" in told.output.splitlines()[0]
        assert max(map(len, told.output.splitlines())) <= 80
        assert json.loads(run("drift", "street", "--json").output)["verdict"] == "major"

        file = tmp_path / "street.png"
        file.write_bytes(detectors.png(detectors.picture(250)))
        table = run("predict", "street", str(file))
        assert table.exit_code == 0, table.output
        assert table.output.splitlines()[0].split() == ["class", "score", "left", "top", "right", "bottom"]
        assert table.output.splitlines()[1].split() == ["Car", "0.882", "16.0", "32.0", "80.0", "64.0"]
        assert json.loads(run("predict", "street", str(file), "--json").output)["predictions"] == bright["predictions"]
        for wrong, word in (("cloud.bin", "reads an image"), ("rows.csv", "reads an image"), ("none.png", "no such file")):
            refused = run("predict", "street", str(tmp_path / wrong))
            assert (refused.exit_code, word in refused.output) == (2, True), refused.output

        platform.endpoints.rollback("street", "dev", who="maintainer", why="test")
        again = post(client, detectors.png(detectors.picture(250))).json
        assert (again["model_version"], again["predictions"][0]["boxes"][0]["score"]) == (
            "v1.0.0",
            pytest.approx(0.980, abs=1e-3),
        )
        assert client("GET", "/drift").json["frames"] == 1, "a version that becomes active begins anew"
    finally:
        platform.endpoints.stop("dev/street")


def test_clouds_of_every_format_and_tables_from_the_command_line(platform: Platform, tmp_path: Path) -> None:
    points = detectors.cloud((6.0, 2.0))
    (tmp_path / "scan.bin").write_bytes(points.tobytes())
    header = "VERSION .7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH {0}\nHEIGHT 1\n"
    header += "VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {0}\nDATA binary\n"
    (tmp_path / "scan.pcd").write_bytes(header.format(len(points)).encode() + points.tobytes())
    (tmp_path / "scan.json").write_text(json.dumps({"rows": [{"points": points.tolist()}, {"points": points.tolist()}]}))
    try:
        platform.endpoints.deploy("scan", "dev", detectors.cloud_package(tmp_path / "one"), who="maintainer", why="test")
        platform.endpoints.deploy("churn", "dev", fabricated.package(tmp_path / "table"), who="maintainer", why="test")
        for name in ("scan.bin", "scan.pcd"):
            told = run("predict", "scan", str(tmp_path / name))
            assert told.exit_code == 0, told.output
            assert told.output.splitlines()[1].split()[:5] == ["Car", "0.731", "6.00", "2.00", "-1.00"]
            assert max(map(len, told.output.splitlines())) <= 80
        several = run("predict", "scan", str(tmp_path / "scan.json"))
        assert [line.split()[0] for line in several.output.splitlines()] == ["frame", "0", "1"]
        plain = run("drift", "churn")
        assert "no reference was recorded" in plain.output
        assert json.loads(run("drift", "churn", "--json").output)["verdict"] == "no_reference"
        image = run("predict", "churn", str(tmp_path / "x.png"))
        assert (image.exit_code, "rows of a table" in image.output) == (2, True)
    finally:
        for name in ("scan", "churn"):
            platform.endpoints.stop(f"dev/{name}")


def test_mlflow_keeps_every_graph_and_says_who_serves_it(tmp_path: Path) -> None:
    import mlflow.onnx

    from resources.mlflow_model import SERVED_BY_TAG, save_model, served_by

    package = detectors.cloud_package(tmp_path / "package")
    save_model(package, tmp_path / "model", run_id="0" * 32, mlflow_model_id="m-1", metadata={})
    for name in graph_names(package):
        assert (tmp_path / "model" / name).read_bytes() == (package / name).read_bytes()
    loaded = mlflow.models.Model.load(str(tmp_path / "model"))
    assert [field.name for field in loaded.signature.inputs.inputs] == ["canvas"]
    assert "mlops_assets.serving" in served_by(package)[SERVED_BY_TAG]
    assert served_by(fabricated.package(tmp_path / "table")) == {}
