"""The ledger of trainings: what is written once stays, also under a race."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest

from mlops_assets.errors import NotFound
from mlops_assets.reports.record import PhaseProgress
from mlops_assets.request.lifecycle import Approval, TrainingIdentity
from mlops_assets.request.schema import TrainingRequest
from resources.history import TRAINING_ID
from resources.ledger import ArtifactReference, Ledger, LineConfiguration, Progress, Refusal, new_training_id, now
from resources.store import ObjectStore

REQUEST = TrainingRequest.model_validate(
    {
        "model_id": "a-line",
        "dataset": {"dataset_id": "breast-cancer"},
        "learning_type": "supervised",
        "task_type": "classification",
        "algorithm": "random_forest",
    }
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(ObjectStore((tmp_path / "store").as_uri(), tmp_path / "cache"), "folder")


def identity(training_id: str | None = None, issue: int = 7) -> TrainingIdentity:
    return TrainingIdentity(
        training_id=training_id or new_training_id(),
        model_id="a-line",
        issue=issue,
        body_digest="d" * 64,
        attempt=1,
        created_at=now(),
        requested_by="somebody",
    )


def test_of_many_at_once_one_training_is_allotted_and_all_are_given_it(ledger: Ledger) -> None:
    start = Barrier(16)

    def allot(_: int) -> TrainingIdentity:
        mine = identity()
        start.wait()
        return ledger.allot(mine, REQUEST, place=1)

    with ThreadPoolExecutor(16) as pool:
        given = set(pool.map(allot, range(16)))
    assert len(given) == 1
    assert ledger.attempts(7, "d" * 64) == list(given)
    (winner,) = given
    assert ledger.request(winner.training_id) == REQUEST


def test_trainings_of_one_wording_come_in_their_order_and_no_other_issues_are_among_them(ledger: Ledger) -> None:
    given = {place: ledger.allot(identity(), REQUEST, place=place) for place in (2, 11, 1)}
    ledger.allot(identity(issue=70), REQUEST, place=1)
    assert ledger.attempts(7, "d" * 64) == [given[1], given[2], given[11]]
    assert ledger.attempts(7, "e" * 64) == []


def test_the_first_approval_of_a_plan_stands_and_is_for_that_plan_only(ledger: Ledger) -> None:
    first = Approval(plan_digest="p1", by="first", at=now(), how="command")
    assert ledger.approve("train-1", first) == first
    assert ledger.approve("train-1", first.model_copy(update={"by": "second"})) == first
    assert ledger.approval("train-1", "p1") == first
    assert ledger.approval("train-1", "p2") is None
    assert ledger.approval("train-2", "p1") is None


def test_the_first_artifact_of_an_asset_stands(ledger: Ledger) -> None:
    first = ArtifactReference(
        asset="model", model_id="a-line", training_id="train-1", prefix="a", digest="1" * 64, created_at=now()
    )
    assert ledger.refer(first) == first
    assert ledger.refer(first.model_copy(update={"prefix": "b"})) == first
    assert ledger.reference("train-1", "model") == first
    assert ledger.reference("train-1", "package") is None


def test_a_refused_wording_is_remembered_by_its_digest(ledger: Ledger) -> None:
    ledger.refuse(Refusal(issue=7, body_digest="d", problems=2, at=now()))
    assert ledger.is_refused(7, "d")
    assert not ledger.is_refused(7, "e")
    assert not ledger.is_refused(77, "d")


def test_progress_is_replaced_and_belongs_to_its_training(ledger: Ledger) -> None:
    assert ledger.progress("train-1") is None
    for state in ("running", "done"):
        ledger.save_progress(Progress(training_id="train-1", phases=(PhaseProgress(phase="plan", state=state),)))
    found = ledger.progress("train-1")
    assert found is not None
    assert found.phases[0].state == "done"
    assert ledger.progress("train-2") is None


def test_a_line_has_its_latest_request_and_all_its_trainings(ledger: Ledger) -> None:
    for number, seed in ((1, 1), (2, 2)):
        request = REQUEST.model_copy(update={"seed": seed})
        ledger.configure_line(LineConfiguration(model_id="a-line", request=request, issue=number, training_id=f"train-{number}"))
    assert ledger.line("a-line").request.seed == 2
    assert ledger.trainings("a-line") == ["train-1", "train-2"]
    assert ledger.lines() == ["a-line"]


def test_what_is_not_there_is_named_with_what_is(ledger: Ledger) -> None:
    ledger.configure_line(LineConfiguration(model_id="a-line", request=REQUEST, issue=1, training_id="train-1"))
    with pytest.raises(NotFound) as line:
        ledger.line("b-line")
    assert line.value.allowed == ("a-line",)
    with pytest.raises(NotFound):
        ledger.identity("train-20260101-000000-abcdef")


def test_training_ids_tell_their_time_differ_and_are_file_names() -> None:
    ids = {new_training_id(lambda: datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC)) for _ in range(200)}
    assert len(ids) == 200
    assert all(name.startswith("train-20261103-040506-") and TRAINING_ID.fullmatch(name) for name in ids)
