"""Endpoints as they run: real processes on loopback, killed, tampered with, switched under load."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlops_assets.errors import IntegrityError, NotFound, UserError
from mlops_assets.serving.client import DeploymentFailed, predict
from mlops_assets.serving.deployment import deploy, ensure_running, rollback, stop
from mlops_assets.serving.endpoint_state import POINTER, SERVER_LOCK, SUPERVISOR_LOCK, read_state, read_status
from mlops_assets.serving.inventory import endpoint_folder, list_endpoints
from mlops_assets.serving.process import holder, port_is_free
from resources.endpoints import Endpoints, LocalEndpoints

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "serving"))
import fabricated

from tests.forks import forked

pytestmark = [pytest.mark.service]
WHO = {"who": "tester", "why": "test"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packages")
    return {v: fabricated.package(folder / v, v, w) for v, w in (("v1.0.0", 1.0), ("v1.1.0", 2.0), ("v2.0.0", 3.0))}


@pytest.fixture(autouse=True)
def unmeasured_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers start and end here as they do for users: measured for coverage they linger, and timing is what is tested."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "endpoints"
    yield folder
    for status in list_endpoints(folder):
        stop(folder, status.name)


def version_at(url: str) -> str:
    return str(predict(url, [fabricated.ROWS[0]])["model_version"])


def server_pid(folder: Path) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        pid = holder(folder / SERVER_LOCK)
        if pid:
            return pid
        time.sleep(0.01)
    raise AssertionError("no server process")


def test_deploying_serves_the_native_predictions_and_again_changes_nothing(root: Path, packages: dict[str, Path]) -> None:
    state = deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)
    answer = predict(state.url, fabricated.ROWS)
    for row, prediction in zip(fabricated.ROWS, answer["predictions"], strict=True):
        assert prediction["probabilities"]["はい"] == pytest.approx(fabricated.probability(row, 1.0), abs=1e-5)
    pid, pointer = server_pid(endpoint_folder(root, "churn", "dev")), endpoint_folder(root, "churn", "dev") / POINTER
    before = pointer.read_bytes()
    assert deploy(root, "churn", "dev", packages["v1.0.0"], who="someone else", why="again") == state
    assert pointer.read_bytes() == before
    assert server_pid(pointer.parent) == pid
    (status,) = list_endpoints(root)
    assert (status.name, status.version, status.alive, status.healthy, status.url) == (
        "dev/churn",
        "v1.0.0",
        True,
        True,
        state.url,
    )
    assert status.since


def test_switching_under_load_fails_no_request(root: Path, packages: dict[str, Path]) -> None:
    url = deploy(root, "churn", "staging", packages["v1.0.0"], **WHO).url
    stopped = threading.Event()
    body = json.dumps(fabricated.ROWS[0]).encode()

    def client() -> dict[str, int]:
        seen: dict[str, int] = {}
        while not stopped.is_set():
            request = urllib.request.Request(f"{url}/invocations", data=body, headers={"content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=10) as reply:
                version = json.load(reply)["model_version"]
            seen[version] = seen.get(version, 0) + 1
        return seen

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client) for _ in range(8)]
        try:
            for version in ("v1.1.0", "v2.0.0", "v1.0.0"):
                deploy(root, "churn", "staging", packages[version], **WHO)
                assert version_at(url) == version
            rollback(root, "churn", "staging", **WHO)
            assert version_at(url) == "v2.0.0"
        finally:
            stopped.set()
        # A failed request would be raised here.
        seen = [job.result() for job in clients]
    assert {version for counts in seen for version in counts} >= {"v1.0.0", "v1.1.0", "v2.0.0"}


def test_a_killed_server_comes_back_by_itself_and_a_killed_supervisor_with_ensure_running(
    root: Path, packages: dict[str, Path]
) -> None:
    state = deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)
    folder = endpoint_folder(root, "churn", "dev")
    chance = random.Random(7)
    for victim in (SERVER_LOCK, SUPERVISOR_LOCK, SERVER_LOCK, SUPERVISOR_LOCK):
        pid = holder(folder / victim)
        child = server_pid(folder)
        assert pid
        os.kill(pid, signal.SIGKILL)
        time.sleep(chance.uniform(0, 0.2))
        again = ensure_running(root, "churn", "dev")
        assert again.url == state.url
        assert version_at(state.url) == "v1.0.0"
        assert server_pid(folder) != child
    stop(root, "dev/churn")
    assert port_is_free(state.host, state.port), "an orphan keeps the port"


def test_the_server_dies_with_its_supervisor_and_frees_the_port(root: Path, packages: dict[str, Path]) -> None:
    state = deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)
    folder = endpoint_folder(root, "churn", "dev")
    supervisor = holder(folder / SUPERVISOR_LOCK)
    assert supervisor
    os.kill(supervisor, signal.SIGKILL)
    deadline = time.monotonic() + 3
    while not port_is_free(state.host, state.port) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert port_is_free(state.host, state.port)
    assert holder(folder / SERVER_LOCK) is None
    (status,) = list_endpoints(root)
    assert (status.alive, status.healthy, status.pid) == (False, False, None)


def test_a_deployment_killed_half_way_is_finished_by_the_next_one(root: Path, packages: dict[str, Path]) -> None:
    deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)
    chance = random.Random(3)
    for _ in range(3):
        pid = forked()
        if pid == 0:
            try:
                deploy(root, "churn", "dev", packages["v1.1.0"], **WHO)
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0, 0.25))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        state = deploy(root, "churn", "dev", packages["v1.1.0"], **WHO)
        assert state.active is not None
        assert (state.active.version, state.candidate) == ("v1.1.0", None)
        assert [entry.after for entry in state.history].count("v1.1.0") == 1
        assert version_at(state.url) == "v1.1.0"
        assert [p.name for p in (endpoint_folder(root, "churn", "dev") / "packages").iterdir() if p.name.startswith(".")] == []
        stop(root, "churn")
        shutil.rmtree(endpoint_folder(root, "churn", "dev"))
        deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)


def test_a_package_that_contradicts_its_examples_is_refused_and_the_old_version_serves(
    root: Path, packages: dict[str, Path], tmp_path: Path
) -> None:
    state = deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)
    altered = fabricated.with_wrong_example(Path(shutil.copytree(packages["v1.1.0"], tmp_path / "altered")))
    with pytest.raises(DeploymentFailed, match=r"refused v1\.1\.0: examples: the graph") as caught:
        deploy(root, "churn", "dev", altered, **WHO)
    assert "v1.0.0 goes on serving" in str(caught.value)
    assert version_at(state.url) == "v1.0.0"
    after = read_state(endpoint_folder(root, "churn", "dev"))
    assert after is not None
    assert (after.active, after.candidate, after.history) == (state.active, None, state.history)
    # The same version with sound content was never active, so it may come now.
    deploy(root, "churn", "dev", packages["v1.1.0"], **WHO)
    assert version_at(state.url) == "v1.1.0"


def test_a_tampered_package_is_refused_before_anything_is_touched(root: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    altered = Path(shutil.copytree(packages["v1.0.0"], tmp_path / "altered"))
    (altered / "model.onnx").write_bytes(fabricated.classifier(9.0))
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        deploy(root, "churn", "dev", altered, **WHO)
    assert list_endpoints(root) == []


def test_a_first_deployment_that_fails_leaves_no_process(root: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    altered = fabricated.with_wrong_example(Path(shutil.copytree(packages["v1.0.0"], tmp_path / "altered")))
    with pytest.raises(DeploymentFailed, match="nothing is served yet"):
        deploy(root, "churn", "dev", altered, **WHO)
    (status,) = list_endpoints(root)
    assert (status.alive, status.version) == (False, None)


def test_a_damaged_stored_package_is_unhealthy_after_a_restart_and_repaired_by_deploying_again(
    root: Path, packages: dict[str, Path]
) -> None:
    state = deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)
    folder = endpoint_folder(root, "churn", "dev")
    stop(root, "churn")
    (folder / "packages" / "v1.0.0" / "model.onnx").write_bytes(b"junk")
    with pytest.raises(DeploymentFailed, match=r"model\.onnx: expected SHA-256"):
        ensure_running(root, "churn", "dev")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{state.url}/ping", timeout=5)
    assert caught.value.code == 503
    assert "expected SHA-256" in json.load(caught.value)["error"]["message"]
    deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)
    assert version_at(state.url) == "v1.0.0"


def test_rollback_moves_the_pointer_also_when_nothing_runs(root: Path, packages: dict[str, Path]) -> None:
    deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)
    url = deploy(root, "churn", "dev", packages["v1.1.0"], **WHO).url
    stop(root, "churn")
    state = rollback(root, "churn", "dev", who="operator", why="too many errors")
    assert state.active is not None
    assert (state.active.version, state.previous) == ("v1.0.0", None)
    entry = state.history[-1]
    assert (entry.kind, entry.before, entry.after, entry.who, entry.why) == (
        "rollback",
        "v1.1.0",
        "v1.0.0",
        "operator",
        "too many errors",
    )
    (status,) = list_endpoints(root)
    assert not status.alive
    # A repeated call must not bring back what was rolled back.
    with pytest.raises(UserError, match=r"it was rolled back from v1\.1\.0 to v1\.0\.0"):
        rollback(root, "churn", "dev", **WHO)
    ensure_running(root, "churn", "dev")
    assert version_at(url) == "v1.0.0"
    assert rollback(root, "churn", "dev", to="v1.1.0", **WHO).active.version == "v1.1.0"  # type: ignore[union-attr]
    assert version_at(url) == "v1.1.0"
    with pytest.raises(NotFound, match=r"v9\.9\.9"):
        rollback(root, "churn", "dev", to="v9.9.9", **WHO)


def test_two_deployers_at_once_are_one_after_the_other(root: Path, packages: dict[str, Path]) -> None:
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(deploy, root, "churn", "dev", packages[v], **WHO) for v in ("v1.0.0", "v1.1.0", "v1.0.0")]
        states = [job.result() for job in jobs]
    final = read_state(endpoint_folder(root, "churn", "dev"))
    assert final is not None
    assert final.active is not None
    assert final.generation == max(state.generation for state in states)
    assert version_at(final.url) == final.active.version
    # Each switch starts from what the one before it left.
    befores = [entry.before for entry in final.history]
    assert befores == [None, *[entry.after for entry in final.history[:-1]]]


def test_a_port_taken_by_someone_else_is_given_up_and_told(root: Path, packages: dict[str, Path]) -> None:
    state = deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)
    stop(root, "churn")
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind((state.host, state.port))
        stranger.listen(1)
        moved = ensure_running(root, "churn", "dev")
        assert moved.port != state.port
        assert moved.history[-1].kind == "port"
        assert f"port {state.port} is taken" in moved.history[-1].why
        assert version_at(moved.url) == "v1.0.0"
    stop(root, "churn")
    assert ensure_running(root, "churn", "dev").port == moved.port


def test_two_lines_have_two_ports(root: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    other = fabricated.package(tmp_path / "other", model_id="other")
    endpoints: Endpoints = LocalEndpoints(root)
    first = endpoints.deploy("churn", "dev", packages["v1.0.0"], **WHO)
    second = endpoints.deploy("other", "dev", other, **WHO)
    assert first.port != second.port
    assert endpoints.predict("other", "dev", [fabricated.ROWS[0]])["model_version"] == "v1.0.0"
    assert [status.name for status in endpoints.list()] == ["dev/churn", "dev/other"]
    assert not endpoints.stop("other").alive
    assert endpoints.ensure("churn", "dev") == first
    # One damaged pointer hides nobody else.
    pointer = endpoint_folder(root, "other", "dev") / POINTER
    pointer.write_text("{half")
    sound, damaged = endpoints.list()
    assert (sound.healthy, damaged.name, damaged.healthy) == (True, "dev/other", False)
    assert "is not an endpoint's pointer" in damaged.reason
    pointer.unlink()


def test_what_cannot_be_deployed_is_said_with_what_can(root: Path, packages: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another model line"):
        deploy(root, "fraud", "dev", packages["v1.0.0"], **WHO)
    with pytest.raises(UserError, match="not the name of a model line"):
        deploy(root, "../churn", "dev", packages["v1.0.0"], **WHO)
    with pytest.raises(UserError, match="dev, staging, production"):
        deploy(root, "churn", "moon", packages["v1.0.0"], **WHO)  # type: ignore[arg-type]
    for call in (
        lambda: ensure_running(root, "churn", "dev"),
        lambda: rollback(root, "churn", "dev", **WHO),
        lambda: stop(root, "churn"),
    ):
        with pytest.raises(NotFound, match="no such endpoint"):
            call()
    state = deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)
    with pytest.raises(UserError, match="no previous version"):
        rollback(root, "churn", "dev", **WHO)
    other_content = fabricated.package(tmp_path / "other", "v1.0.0", 5.0)
    with pytest.raises(UserError, match="versions are immutable"):
        deploy(root, "churn", "dev", other_content, **WHO)
    assert version_at(state.url) == "v1.0.0"
    with pytest.raises(UserError, match=r"年齢.*required"):
        predict(state.url, [{}])


def test_stopping_twice_is_stopping_once_and_the_log_tells_it(root: Path, packages: dict[str, Path]) -> None:
    state = deploy(root, "churn", "dev", packages["v1.0.0"], **WHO)
    assert not stop(root, "dev/churn").alive
    assert not stop(root, "churn").alive
    with pytest.raises(UserError, match="nothing answers"):
        predict(state.url, [fabricated.ROWS[0]])
    assert "stopped" in (endpoint_folder(root, "churn", "dev") / "server.log").read_text()
    assert read_status(endpoint_folder(root, "churn", "dev")) is not None
