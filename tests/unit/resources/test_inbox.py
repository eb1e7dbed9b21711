"""The inbox under repetition, concurrency, a full disk, a locked or removed file, and a process killed while it writes."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources import inbox as module
from resources.inbox import KEPT_SECONDS, Delivery, Inbox, InboxUnavailable
from resources.platform import Platform

ROOT = Path(__file__).resolve().parents[3]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "webhook" / "inbox.db"


@pytest.fixture
def inbox(path: Path) -> Iterator[Inbox]:
    opened = Inbox(path)
    yield opened
    opened.close()


def comment(number: int, delivery_id: str | None = None) -> Delivery:
    return Delivery(delivery_id or f"comment-{number}", "issue_comment", "created", number, None, b'{"n":%d}' % number)


def test_a_stored_delivery_is_pending_with_all_it_said_oldest_first(inbox: Inbox) -> None:
    push = Delivery("a-push", "push", None, None, "refs/heads/main", b"\x00\xff bytes")
    assert inbox.store_all([comment(2), comment(1), push]) == [True, True, True]
    assert inbox.pending(10) == [comment(2), comment(1), push]
    assert inbox.pending(2) == [comment(2), comment(1)]
    assert inbox.pending(10, ["push"]) == [push]
    assert inbox.waiting() == 3


def test_a_duplicate_changes_nothing_also_within_one_batch_and_after_it_was_consumed(inbox: Inbox) -> None:
    assert inbox.store("id", "issues", "opened", 1, None, b"first")
    assert not inbox.store("id", "issue_comment", "deleted", 2, None, b"second")
    assert inbox.store_all([comment(3), comment(3)]) == [True, False]
    assert [d.body for d in inbox.pending(10)] == [b"first", b'{"n":3}']
    inbox.consume(["id"])
    assert not inbox.store("id", "issues", "opened", 1, None, b"first")
    assert [d.delivery_id for d in inbox.pending(10)] == ["comment-3"]


def test_reading_and_consuming_where_nothing_was_received_make_no_file(inbox: Inbox, path: Path) -> None:
    assert inbox.pending(10) == []
    assert inbox.changed_issues() == (set(), ())
    assert inbox.waiting() == 0
    inbox.consume(["x"])
    assert not path.parent.exists()


def test_the_platform_opens_the_inbox_in_its_home_without_making_it(platform: Platform) -> None:
    assert platform.inbox.changed_issues() == (set(), ())
    assert not (platform.home / "webhook").exists()
    platform.inbox.store("id", "issues", "opened", 1, None, b"{}")
    assert (platform.home / "webhook" / "inbox.db").is_file()


def test_an_event_that_arrives_while_the_sensor_notes_the_numbers_stays_pending(inbox: Inbox) -> None:
    inbox.store_all([comment(1), comment(2), comment(1, "again"), Delivery("p", "push", None, None, "refs/heads/main", b"")])
    numbers, ids = inbox.changed_issues()
    assert numbers == {1, 2} and set(ids) == {"comment-1", "comment-2", "again"}
    inbox.store_all([comment(1, "late")])
    inbox.consume(ids)
    assert inbox.changed_issues() == ({1}, ("late",))
    assert [d.event for d in inbox.pending(10)] == ["push", "issue_comment"]


def test_consumed_bodies_go_at_once_and_their_ids_after_thirty_days(path: Path) -> None:
    clock = Clock()
    inbox = Inbox(path, clock=clock)
    inbox.store_all([comment(1), comment(2), comment(3)])
    inbox.consume(["comment-1"])
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT body FROM deliveries WHERE delivery_id = 'comment-1'").fetchone() == (b"",)
    clock.now += KEPT_SECONDS - 1
    inbox.consume(["comment-2"])
    assert inbox.store_all([comment(1)]) == [False]
    clock.now += 2
    inbox.consume(["comment-2"])
    assert inbox.store_all([comment(1), comment(2)]) == [True, False]
    assert [d.issue_number for d in inbox.pending(10)] == [3, 1], "what nobody consumed is never pruned"


def test_a_full_inbox_takes_nothing_keeps_what_it_has_and_goes_on_once_it_was_emptied(path: Path) -> None:
    inbox = Inbox(path, max_bytes=400_000)
    body = b"x" * 50_000
    stored = []
    with pytest.raises(InboxUnavailable, match="full"):
        for number in range(20):
            inbox.store(f"id-{number}", "issues", "opened", number, None, body)
            stored.append(f"id-{number}")
    assert 3 < len(stored) < 10
    with pytest.raises(InboxUnavailable):
        inbox.store_all([comment(1, "half"), Delivery("big", "issues", "edited", 1, None, body * 5)])
    assert [d.delivery_id for d in inbox.pending(100)] == stored, "a batch is stored whole or not at all"
    inbox.consume(stored)
    assert inbox.store("later", "issues", "opened", 1, None, body)


def test_a_locked_database_is_told_and_stores_again_when_it_is_free(
    inbox: Inbox, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    inbox.store_all([comment(1)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(InboxUnavailable, match="locked"):
        inbox.store_all([comment(2)])
    assert [d.issue_number for d in inbox.pending(10)] == [1], "who only reads does not wait for who writes"
    other.execute("ROLLBACK")
    other.close()
    assert inbox.store_all([comment(2)]) == [True]


def test_an_inbox_removed_or_replaced_under_a_running_receiver_is_made_anew(inbox: Inbox, path: Path) -> None:
    inbox.store_all([comment(1)])
    for left in path.parent.iterdir():
        left.unlink()
    assert inbox.waiting() == 0
    assert inbox.store_all([comment(2)]) == [True]
    assert [d.issue_number for d in Inbox(path).pending(10)] == [2]


@pytest.mark.parametrize("damage", [b"no database at all" * 500, b""])
def test_a_damaged_file_is_told_and_left_alone(path: Path, damage: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    with pytest.raises(InboxUnavailable, match=r"inbox\.db"):
        Inbox(path).store("id", "issues", "opened", 1, None, b"")
    with pytest.raises(InboxUnavailable):
        Inbox(path).changed_issues()
    assert path.read_bytes() == damage


def test_a_folder_that_cannot_be_made_is_told(path: Path) -> None:
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("a file where the folder should be")
    with pytest.raises(InboxUnavailable):
        Inbox(path).store("id", "issues", "opened", 1, None, b"")


def test_payloads_are_nobody_elses_to_read(inbox: Inbox, path: Path) -> None:
    inbox.store_all([comment(1)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {p.name for p in path.parent.iterdir()} <= {"inbox.db", "inbox.db-wal", "inbox.db-shm"}
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in path.parent.iterdir())


def test_twenty_writers_that_make_the_file_together_store_one_delivery_once(path: Path) -> None:
    inboxes = [Inbox(path) for _ in range(20)]
    with ThreadPoolExecutor(20) as threads:
        new = list(threads.map(lambda one: one.store("same", "issues", "opened", 1, None, b"{}"), inboxes))
    assert sorted(new) == [False] * 19 + [True]
    assert len(inboxes[0].pending(100)) == 1


def test_a_writer_killed_at_any_moment_leaves_everything_that_it_had_answered(path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom resources.inbox import Inbox\n"
        "inbox, run = Inbox(pathlib.Path(sys.argv[1])), sys.argv[2]\n"
        "for number in range(100_000):\n"
        "    inbox.store(f'{run}-{number}', 'issues', 'opened', number, None, b'x' * 20_000)\n"
        "    print(f'{run}-{number}', flush=True)\n"
    )
    answered: list[str] = []
    for run, lines in enumerate((1, 40, 90)):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path), str(run)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        answered += [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        answered += process.stdout.read().split("\n")[:-1]
        process.wait()
    stored = {d.delivery_id for d in Inbox(path).pending(10_000)}
    assert len(answered) >= 131 and set(answered) <= stored
    assert len(stored) <= len(answered) + 3


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(0, 6), st.sampled_from(["issues", "issue_comment", "push"])),
        st.tuples(st.just("consume"), st.sets(st.integers(0, 7)), st.none()),
        st.tuples(st.just("reopen"), st.none(), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_any_order_of_steps_agrees_with_a_plain_list(steps: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("model") / "inbox.db"
    inbox = Inbox(path)
    known: dict[int, str] = {}
    consumed: set[int] = set()
    for verb, subject, event in steps:
        if verb == "store":
            assert inbox.store(str(subject), event, None, subject, None, b"{}") == (subject not in known)
            known.setdefault(subject, event)
        elif verb == "consume":
            inbox.consume([str(number) for number in subject])
            consumed |= subject & set(known)
        else:
            inbox.close()
        left = [number for number in known if number not in consumed]
        assert [d.issue_number for d in inbox.pending(100)] == left
        assert inbox.changed_issues()[0] == {number for number in left if known[number] != "push"}
    inbox.close()
