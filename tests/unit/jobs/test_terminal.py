"""How results look in a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from rich.cells import cell_len

from jobs.progress import TerminalProgress
from jobs.terminal import render_thread, table
from resources.board import ProgressEvent
from resources.tracker import Comment, Issue

NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)


def test_columns_line_up_also_where_characters_are_two_cells_wide() -> None:
    lines = table(("line", "version"), [("顧客離反", "v1.0.0"), ("churn", "v10.0.0")]).splitlines()
    assert {cell_len(line[: line.index("v")]) for line in lines} == {10}
    assert lines[0].split() == ["line", "version"]


def test_no_line_ends_in_blanks_and_a_table_may_have_no_rows() -> None:
    text = table(("a", "b"), [("x" * 20, ""), ("y", "z")])
    assert [line.rstrip() for line in text.splitlines()] == text.splitlines()
    assert table(("a", "b"), []) == "a  b"


def thread() -> Issue:
    comment = Comment("1", "mlops", "**Done** <details>\n<summary>Plan</summary>\n\nsecret\n\n</details>", NOW, NOW, "training:x")
    return Issue(1, "Churn", "body", "me", frozenset({"mlops:done"}), "open", NOW, NOW, (comment,))


def test_in_a_pipe_a_thread_is_the_markdown_as_it_is() -> None:
    text = render_thread(thread())
    assert "# Churn (#1)" in text
    assert thread().comments[0].body in text


def test_on_a_terminal_folded_parts_are_only_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    text = render_thread(thread())
    assert "▸ Plan" in text
    assert "secret" not in text
    assert "**" not in text


def event(state: str, fraction: float | None = None, text: str = "") -> ProgressEvent:
    return ProgressEvent("train-x", "training", state, fraction, text, {})  # type: ignore[arg-type]


@pytest.fixture
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(os.environ, "TERM", "dumb")
    yield


@pytest.mark.usefixtures("no_terminal")
def test_progress_goes_to_standard_error_a_line_for_each_phase_that_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress(quiet=False) as progress:
        progress.announce("approve", "me")
        progress.show(event("running"))
        progress.show(event("running", 0.5, "round 5"))
        progress.show(event("done", text="100 rounds"))
        progress.show(event("failed", text="out of memory"))
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = [line for line in shown.err.splitlines() if line.strip()]
    assert [line.split()[0] for line in lines] == ["✔", "✔", "✘"]
    assert "100 rounds" in lines[1] and " s " in lines[1]


def test_text_of_a_requester_is_no_markup_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress(quiet=False) as progress:
        progress.show(event("failed", text="column [/] and [bold]x[/bold] are missing"))
    assert "column [/] and [bold]x[/bold] are missing" in capsys.readouterr().err


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress(quiet=True) as progress:
        progress.announce("approve", "me")
        progress.show(event("done", text="x"))
    assert capsys.readouterr() == ("", "")
