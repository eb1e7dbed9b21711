"""The folder tracker as a file that people edit, and that processes write at the same time or die writing."""

from __future__ import annotations

import getpass
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.folder_tracker import FolderTracker
from resources.thread_file import Thread, read_thread, write_thread
from resources.tracker import Comment

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def tracker(tmp_path) -> FolderTracker:
    return FolderTracker(tmp_path / "issues")


def file_of(tracker: FolderTracker, number: int) -> Path:
    (path,) = tracker.folder.glob(f"{number:04d}-*.md")
    return path


def test_file_is_readable_markdown(tracker):
    number = tracker.open_issue("Which customers will leave?", "the body", ["mlops:train"]).number
    tracker.upsert_comment(number, "plan", "the plan")
    path = file_of(tracker, number)
    assert path.name == "0001-which-customers-will-leave.md"
    visible = [line for line in path.read_text().splitlines() if line and not line.startswith("<!--")]
    assert visible[:3] == ["# Which customers will leave?", "the body", "---"]
    assert re.fullmatch(r"### mlops · \d{4}-\d\d-\d\d \d\d:\d\d UTC", visible[3])
    assert visible[4:] == ["the plan"]


def test_hand_edit_of_title_and_body_comes_through(tracker):
    number = tracker.open_issue("old title", "threshold: 0.9", []).number
    tracker.upsert_comment(number, "plan", "p")
    path = file_of(tracker, number)
    path.write_text(path.read_text().replace("old title", "new title").replace("threshold: 0.9", "threshold: 0.8\nseed: 1"))
    issue = tracker.issue(number)
    assert (issue.title, issue.body) == ("new title", "threshold: 0.8\nseed: 1")
    assert [c.body for c in issue.comments] == ["p"]


def test_text_appended_by_hand_is_a_comment_of_the_owner(tracker):
    number = tracker.open_issue("t", "b", []).number
    tracker.upsert_comment(number, "plan", "p")
    path = file_of(tracker, number)
    path.write_text(path.read_text() + "\n---\n/approve\n\nplease\n")
    comment = tracker.issue(number).comments[-1]
    assert (comment.body, comment.author, comment.marker) == ("/approve\n\nplease", path.owner(), None)
    tracker.upsert_comment(number, "result", "r")
    kept = tracker.issue(number).comments
    assert [c.body for c in kept] == ["p", "/approve\n\nplease", "r"]
    assert kept[1].id == comment.id, "a comment that was acted upon must not come back under another identity"


def test_the_same_words_by_hand_twice_are_two_comments(tracker):
    number = tracker.open_issue("t", "b", []).number
    path = file_of(tracker, number)
    for answer in ("one", "two"):
        path.write_text(path.read_text() + "\n/retry\n")
        tracker.upsert_comment(number, answer, answer)
    comments = [c for c in tracker.issue(number).comments if c.body == "/retry"]
    assert len({c.id for c in comments}) == 2


def test_file_written_entirely_by_hand_is_an_issue(tracker):
    tracker.folder.mkdir()
    (tracker.folder / "0007-mine.md").write_text("# Mine\r\n\r\ndataset_id: x\r\n", newline="")
    issue = tracker.issue(7)
    assert (issue.title, issue.body, issue.author, issue.comments) == ("Mine", "dataset_id: x", tracker.folder.owner(), ())
    tracker.upsert_comment(7, "plan", "p")
    assert [c.body for c in tracker.issue(7).comments] == ["p"]
    assert tracker.open_issue("next", "b", []).number == 8


def test_damaged_hidden_lines_lose_no_text(tracker):
    number = tracker.open_issue("t", "b", []).number
    tracker.upsert_comment(number, "plan", "the plan")
    path = file_of(tracker, number)
    path.write_text(re.sub(r"mlops:comment \{", "mlops:comment {{", path.read_text()))
    assert "the plan" in "\n".join(c.body for c in tracker.issue(number).comments)
    path.write_text(path.read_text().replace("<!-- mlops:end -->", ""))
    issue = tracker.issue(number)
    assert "the plan" in issue.body + "".join(c.body for c in issue.comments)


def test_bytes_of_another_encoding_survive_a_write(tracker):
    number = tracker.open_issue("t", "b", []).number
    path = file_of(tracker, number)
    path.write_bytes(path.read_bytes().replace(b"\nb\n", "\n日本\n".encode("cp932")))
    tracker.upsert_comment(number, "plan", "p")
    assert "日本".encode("cp932") in path.read_bytes()


def test_number_of_a_removed_issue_is_not_given_again(tracker):
    first = tracker.open_issue("a", "b", []).number
    file_of(tracker, first).unlink()
    assert tracker.open_issue("a", "b", []).number == first + 1


def test_unchanged_upsert_does_not_touch_the_file(tracker):
    number = tracker.open_issue("t", "b", []).number
    tracker.upsert_comment(number, "plan", "p\r\n")
    before = file_of(tracker, number).stat()
    tracker.upsert_comment(number, "plan", "p")
    after = file_of(tracker, number).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_actor_is_the_user_of_the_process_not_of_a_variable(tracker, monkeypatch):
    real = tracker.current_actor()
    monkeypatch.setenv("LOGNAME", "root-of-all")
    monkeypatch.setenv("USER", "root-of-all")
    assert getpass.getuser() == "root-of-all"
    assert tracker.current_actor() == real
    assert FolderTracker(tracker.folder, actor="guest").current_actor() == "guest"
    tracker.open_issue("t", "b", [])
    assert FolderTracker(tracker.folder, actor="guest").permission("guest") == "read"


def test_title_cannot_break_out_of_its_line(tracker):
    issue = tracker.open_issue("a\n# b\n<!-- mlops:end -->", "body", [])
    assert (issue.title, issue.body) == ("a # b <!-- mlops:end -->", "body")


def test_full_disk_leaves_the_thread_as_it_was(tracker, monkeypatch):
    number = tracker.open_issue("t", "b", []).number
    monkeypatch.setattr(os, "fsync", _no_space)
    with pytest.raises(OSError, match="No space"):
        tracker.upsert_comment(number, "plan", "p")
    monkeypatch.undo()
    assert tracker.issue(number).comments == ()
    assert list(tracker.folder.glob(".writing-*")) == []


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


OPEN_SOME = """
import sys
from pathlib import Path
from resources.folder_tracker import FolderTracker
tracker = FolderTracker(Path(sys.argv[1]))
for i in range(3):
    print(tracker.open_issue(f"from {sys.argv[2]}", "b", []).number, flush=True)
tracker.upsert_comment(1, f"of {sys.argv[2]}", "x")
"""


def test_eight_processes_get_their_own_numbers(tracker):
    tracker.open_issue("first", "b", [])
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN_SOME, str(tracker.folder), str(i)], env=ENVIRONMENT, stdout=subprocess.PIPE)
        for i in range(8)
    ]
    numbers = [int(line) for process in processes for line in process.communicate(timeout=60)[0].split()]
    assert all(process.returncode == 0 for process in processes)
    assert sorted(numbers) == list(range(2, 26))
    assert [issue.number for issue in tracker.issues()] == list(range(1, 26))
    assert len(tracker.issue(1).comments) == 8


WRITE_FOREVER = """
import sys
from pathlib import Path
from resources.folder_tracker import FolderTracker
tracker = FolderTracker(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    tracker.upsert_comment(1, f"marker-{number % 5}", f"begin {number} " + "x" * 50_000 + f" end {number}")
    if number == 1:
        print("writing", flush=True)
"""


def test_killed_writer_leaves_a_whole_thread(tracker):
    tracker.open_issue("t", "the body", [])
    chance = random.Random(1)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOREVER, str(tracker.folder)], env=ENVIRONMENT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        issue = tracker.issue(1)
        assert (issue.title, issue.body) == ("t", "the body")
        for comment in issue.comments:
            found = re.fullmatch(r"begin (\d+) x{50000} end (\d+)", comment.body)
            assert found and found[1] == found[2]
        assert len({c.marker for c in issue.comments}) == len(issue.comments) <= 5
    tracker.upsert_comment(1, "after", "the next writer is not blocked")
    assert list(tracker.folder.glob(".writing-*")) == []


ALPHABET = [
    *'ab #-·\\`\n{}<>!"é顧',
    "<!-- mlops:",
    "<!-- \\mlops:",
    " -->",
    "mlops:end",
    "<!-- mlops:end -->",
    "\n---\n",
    "\n### x",
]
words = st.lists(st.sampled_from(ALPHABET), max_size=30).map("".join)
moments = st.integers(1_600_000_000, 2_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@settings(max_examples=150, deadline=None)
@given(title=words, body=words, comments=st.lists(st.tuples(words, words, words), max_size=3), when=moments)
def test_thread_is_read_back_as_written(title, body, comments, when):
    entries = tuple(
        Comment(f"id{i}", author, text.strip("\n"), when, when, marker, ((author, "+1"),))
        for i, (author, text, marker) in enumerate(comments)
    )
    thread = Thread(" ".join(title.split()), body.strip("\n"), "owner", when, frozenset({"a", "b"}), "open", entries)
    assert read_thread(write_thread(thread), owner="owner", edited=when) == thread


@settings(max_examples=150, deadline=None)
@given(text=words, tail=words)
def test_any_file_is_a_thread_that_survives_a_write(text, tail):
    now = datetime(2026, 11, 3, tzinfo=UTC)
    start = write_thread(Thread("t", "b", "owner", now, frozenset(), "open", ()))
    for content in (text, start + tail, start.replace("\nb\n", f"\n{text}\n")):
        thread = read_thread(content, owner="owner", edited=now)
        adopted = replace(thread, entries=tuple(replace(e, id=e.id or f"id{i}") for i, e in enumerate(thread.entries)))
        assert read_thread(write_thread(adopted), owner="owner", edited=now) == adopted
