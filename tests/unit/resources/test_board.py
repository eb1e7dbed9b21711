"""The progress board: the phase table in the ledger, and what listeners hear."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_assets.reports.record import PHASES
from resources.board import ProgressBoard, ProgressEvent
from resources.ledger import Ledger
from resources.store import ObjectStore

TRAINING = "train-20261103-000000-abcdef"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(ObjectStore((tmp_path / "store").as_uri(), tmp_path / "cache"), "folder")


def test_every_phase_waits_until_it_begins(ledger: Ledger) -> None:
    board = ProgressBoard(ledger)
    assert [(row.phase, row.state) for row in board.phases(TRAINING)] == [(phase, "waiting") for phase in PHASES]


def test_a_phase_that_is_over_has_its_seconds_and_its_detail(ledger: Ledger) -> None:
    board = ProgressBoard(ledger)
    board.start(TRAINING, "data")
    assert {row.phase: row.state for row in board.phases(TRAINING)}["data"] == "running"
    board.finish(TRAINING, "data", "done", "398 rows")
    row = {row.phase: row for row in board.phases(TRAINING)}["data"]
    assert (row.state, row.detail) == ("done", "398 rows")
    assert row.seconds is not None and row.seconds >= 0
    assert {r.state for r in board.phases(TRAINING) if r.phase != "data"} == {"waiting"}


def test_another_process_goes_on_with_the_table_as_it_was_left(ledger: Ledger) -> None:
    board = ProgressBoard(ledger)
    board.start(TRAINING, "data")
    board.finish(TRAINING, "data", "done", "398 rows")
    board.start(TRAINING, "training")
    after = ProgressBoard(ledger)
    states = {row.phase: row.state for row in after.phases(TRAINING)}
    assert (states["data"], states["training"], states["package"]) == ("done", "running", "waiting")


def test_what_was_done_before_a_kill_keeps_its_seconds_when_it_is_shown_again(ledger: Ledger) -> None:
    board = ProgressBoard(ledger)
    board.start(TRAINING, "data")
    board.finish(TRAINING, "data", "done", "398 rows")
    measured = {row.phase: row.seconds for row in board.phases(TRAINING)}["data"]
    ProgressBoard(ledger).finish(TRAINING, "data", "done", "398 rows")
    assert {row.phase: row.seconds for row in board.phases(TRAINING)}["data"] == measured


def test_listeners_hear_every_change_and_fractions_are_not_written(ledger: Ledger) -> None:
    board = ProgressBoard(ledger)
    heard: list[ProgressEvent] = []
    board.listen(heard.append)
    board.start(TRAINING, "training")
    board.moved(TRAINING, "training", 0.5, "round 5 of 10", {"loss": 0.1})
    board.finish(TRAINING, "training", "failed", "out of memory")
    assert [(e.state, e.fraction, e.text) for e in heard] == [
        ("running", None, ""),
        ("running", 0.5, "round 5 of 10"),
        ("failed", None, "out of memory"),
    ]
    assert {row.phase: row.detail for row in board.phases(TRAINING)}["training"] == "out of memory"
