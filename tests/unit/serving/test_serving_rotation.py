"""The server process follows its pointer, and nothing that goes wrong with files stops what answers."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from mlops_assets.serving.application import ActiveModel
from mlops_assets.serving.endpoint_state import (
    POINTER,
    STATUS,
    Candidate,
    Deployed,
    EndpointState,
    ServerStatus,
    read_status,
    write_atomically,
)
from mlops_assets.serving.metrics import ServingMetrics
from mlops_assets.serving.package import verify
from mlops_assets.serving.process import LockHeld, hold, holder
from mlops_assets.serving.rotation import Rotation

sys.path.insert(0, str(Path(__file__).parent))
import fabricated


class Endpoint:
    """An endpoint folder with two packages, and a rotation that looks when told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.one = self.stored("v1.0.0", 1.0)
        self.two = self.stored("v2.0.0", 2.0)
        self.state = EndpointState(model_id="churn", environment="dev", host="127.0.0.1", port=1)
        self.active = ActiveModel()
        self.rotation = Rotation(folder, self.active, ServingMetrics("dev"))

    def stored(self, version: str, weight: float) -> Deployed:
        package = fabricated.package(self.folder / "packages" / version, version, weight)
        return Deployed(version=version, package=f"packages/{version}", digest=verify(package).digest)

    def point(self, **changes: object) -> ServerStatus:
        self.state = self.state.model_copy(update={**changes, "generation": self.state.generation + 1})
        write_atomically(self.folder / POINTER, self.state)
        self.rotation.look()
        status = read_status(self.folder)
        assert status is not None
        return status

    @property
    def answering(self) -> str | None:
        return self.active.model.version if self.active.model else None


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    return Endpoint(tmp_path)


def candidate(deployed: Deployed, attempt: str) -> Candidate:
    return Candidate(**deployed.model_dump(), attempt=attempt)


def test_a_candidate_is_loaded_beside_the_active_one_and_answers_only_when_the_pointer_says_so(endpoint: Endpoint) -> None:
    status = endpoint.point(active=endpoint.one)
    assert (endpoint.answering, status.active, status.trial) == ("v1.0.0", endpoint.one, None)
    status = endpoint.point(candidate=candidate(endpoint.two, "a"))
    assert endpoint.answering == "v1.0.0"
    assert status.trial is not None
    assert (status.trial.attempt, status.trial.healthy, status.loaded) == ("a", True, ("v1.0.0", "v2.0.0"))
    # From memory: what happens to the files after the trial does not matter to the switch.
    shutil.rmtree(endpoint.folder / "packages" / "v2.0.0")
    status = endpoint.point(active=endpoint.two, candidate=None, previous=endpoint.one)
    assert (endpoint.answering, status.active, status.reason) == ("v2.0.0", endpoint.two, "")
    assert status.loaded == ("v1.0.0", "v2.0.0"), "the previous version stays loaded for a rollback"
    assert endpoint.point(active=endpoint.one, previous=None).loaded == ("v1.0.0",)
    assert endpoint.answering == "v1.0.0"


def test_a_pointer_to_a_damaged_package_is_told_and_what_answers_goes_on(endpoint: Endpoint) -> None:
    endpoint.point(active=endpoint.one)
    model = endpoint.folder / "packages" / "v2.0.0" / "model.onnx"
    sound = model.read_bytes()
    model.write_bytes(b"junk")
    status = endpoint.point(active=endpoint.two)
    assert endpoint.answering == "v1.0.0"
    assert status.active is None
    assert "expected SHA-256" in status.reason
    model.write_bytes(sound)
    assert endpoint.point(active=endpoint.two).active == endpoint.two
    assert endpoint.answering == "v2.0.0"


def test_a_package_other_than_the_pointer_says_is_refused(endpoint: Endpoint) -> None:
    wrong = endpoint.two.model_copy(update={"digest": endpoint.one.digest})
    status = endpoint.point(candidate=candidate(wrong, "a"))
    assert status.trial is not None
    assert not status.trial.healthy
    assert f"not {endpoint.one.digest[:12]}" in status.trial.reason


def test_an_unreadable_pointer_or_a_status_that_cannot_be_written_stops_nothing(endpoint: Endpoint) -> None:
    endpoint.point(active=endpoint.one)
    (endpoint.folder / POINTER).write_text("{half")
    endpoint.rotation.look()
    assert endpoint.answering == "v1.0.0"
    (endpoint.folder / POINTER).unlink()
    endpoint.rotation.look()
    (endpoint.folder / STATUS).unlink()
    (endpoint.folder / STATUS).mkdir()
    endpoint.state = endpoint.state.model_copy(update={"active": endpoint.two, "generation": 9})
    write_atomically(endpoint.folder / POINTER, endpoint.state)
    endpoint.rotation.look()
    assert endpoint.answering == "v2.0.0"
    (endpoint.folder / STATUS).rmdir()
    endpoint.rotation.look()
    status = read_status(endpoint.folder)
    assert status is not None
    assert (status.generation, status.active) == (9, endpoint.two)
    assert [path.name for path in endpoint.folder.iterdir() if path.name.startswith(".")] == []


def test_a_lock_tells_its_holder_only_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) is None
    with hold(path, 0) as _:
        assert holder(path)
        with pytest.raises(LockHeld, match="is held by process"):
            hold(path, 0.05)
    assert path.read_text().strip(), "the id stays written, so it proves nothing"
    assert holder(path) is None
