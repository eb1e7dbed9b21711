"""Every recorded thread of tests/threads is replayed, must hold what it says, and must read as it was recorded.

A transcript that changed on purpose is written anew with `python -m tests.threads.record NAME`.
"""

from __future__ import annotations

import difflib
import os
import time
from pathlib import Path

import pytest

from tests.threads.record import FOLDER, SCRIPTS, recorded
from tests.threads.replay import replayed
from tests.threads.transcript import settled

pytestmark = [pytest.mark.slow, pytest.mark.service]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_thread_goes_as_it_was_recorded(script: Path, tmp_path: Path) -> None:
    with replayed(script, tmp_path) as replay:
        found = replay.transcript()
    expected = recorded(script).read_text(encoding="utf-8")
    changes = difflib.unified_diff(expected.splitlines(), found.splitlines(), "recorded", "now", lineterm="")
    assert found == expected, "\n".join(changes)


def test_every_recorded_thread_has_its_script() -> None:
    assert {path.stem for path in (FOLDER / "recorded").iterdir()} == {script.stem for script in SCRIPTS}
    assert len(SCRIPTS) >= 20


def test_a_thread_reads_the_same_in_another_place_and_at_another_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_HOME", "/nowhere")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        deep = tmp_path / "a place with spaces" / "ja 日本語"
        deep.mkdir(parents=True)
        script = FOLDER / "edit_before_approval.yaml"
        with replayed(script, deep) as replay:
            assert replay.transcript() == recorded(script).read_text(encoding="utf-8")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert os.environ.get("MLOPS_HOME") != "/nowhere"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("`train-20260101-000000-abcdef` took 3.2 s.", "`train-20261231-235959-012345` took 12 s."),
        ("- 所要時間: 約6.1秒（うち学習 0.2秒）", "- 所要時間: 約1分 5秒（うち学習 12秒）"),
        ("| a |   0.9123 |\n| --- | -----: |", "| a | 0.8 |".replace("0.8", "0.1234") + "\n| --- | ---: |"),
        ("<http://127.0.0.1:8123> at 2026-01-01 00:00 UTC", "<http://127.0.0.1:40001> at 2027-11-21 02:10 UTC"),
        ("`/tmp/x/home/store/reports`", "`/home/y/z-1/home/store/reports`"),
        ("| 3.1秒 | 3.0秒 | -0.1秒（-3.2%） |", "| 2.9秒 | 4.0秒 | +1.1秒（+37.9%） |"),
    ],
)
def test_what_differs_between_replays_is_masked(one: str, other: str) -> None:
    assert settled(one) == settled(other)


def test_what_people_must_read_is_not_masked() -> None:
    for text in ("threshold of 0.65", "12.1% → 50.0%", "412件", "v1.1.0", "attempt 2 of at most 4", "max_retry: 1", "mAP@0.5"):
        assert text in settled(text)
