"""What every training history promises, wherever its commits are; written against the interface only.

An implementation joins by adding its factory to ``HISTORIES``: a context manager over an empty history and a function that counts
the commits that touch the folder of trainings.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from mlops_assets.errors import IntegrityError, NotFound, UserError
from mlops_assets.reports.report import history_files
from resources.github_client import GitHubClient
from resources.github_history import GitHubHistory
from resources.history import History, HistoryRepository
from tests.unit.resources.history_content import FIRST, SECOND, files, record
from tests.unit.resources.on_github import settings_of, standin


@contextmanager
def local_history(tmp_path: Path) -> Iterator[tuple[History, Callable[[], int]]]:
    folder = tmp_path / "history"

    def commits() -> int:
        command = ["git", "rev-list", "--count", "main", "--", "training_history/*.json"]
        return int(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)

    yield HistoryRepository(folder), commits


@contextmanager
def github_history(tmp_path: Path) -> Iterator[tuple[History, Callable[[], int]]]:
    with standin() as github:

        def commits() -> int:
            return sum(commit.message != "Begin the training history" for commit in github.commits())

        yield GitHubHistory(GitHubClient(settings_of(github, "maintainer", "write"))), commits


HISTORIES: dict[str, Callable[[Path], AbstractContextManager[tuple[History, Callable[[], int]]]]] = {
    "local": local_history,
    "github": github_history,
}


@pytest.fixture(params=sorted(HISTORIES))
def history_and_commits(request, tmp_path) -> Iterator[tuple[History, Callable[[], int]]]:
    with HISTORIES[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def history(history_and_commits) -> History:
    return history_and_commits[0]


@pytest.fixture
def commits(history_and_commits) -> Callable[[], int]:
    return history_and_commits[1]


def test_a_record_comes_back_as_it_was_committed(history, commits):
    history.commit(FIRST, history_files(record()), f"{FIRST}: 失敗")
    assert commits() == 1
    assert history.read(FIRST) == record()
    assert history.list() == [FIRST]


def test_the_same_content_again_gives_the_commit_that_is_there(history, commits):
    first = history.commit(FIRST, files(FIRST), "one")
    history.commit(SECOND, files(SECOND), "two")
    assert history.commit(FIRST, files(FIRST), "again, in other words") == first
    assert commits() == 2


def test_other_content_is_another_commit_upon_the_first(history, commits):
    first = history.commit(FIRST, files(FIRST), "one")
    second = history.commit(FIRST, files(FIRST, b'{"a": 1}'), "one")
    assert first != second
    assert commits() == 2
    assert history.list() == [FIRST]


def test_trainings_are_listed_oldest_first(history):
    assert history.list() == []
    for training_id in (SECOND, FIRST):
        history.commit(training_id, files(training_id), training_id)
    assert history.list() == [FIRST, SECOND]


def test_an_unknown_training_is_not_found_and_names_a_near_one(history):
    with pytest.raises(NotFound):
        history.read(FIRST)
    history.commit(FIRST, files(FIRST), "one")
    with pytest.raises(NotFound) as told:
        history.read(SECOND)
    assert told.value.allowed == (FIRST,)


def test_what_is_no_record_is_refused_on_reading(history):
    history.commit(FIRST, files(FIRST, b"\xff\x00not json"), "one")
    with pytest.raises(IntegrityError, match=FIRST):
        history.read(FIRST)


@pytest.mark.parametrize("training_id", ["../../etc/passwd", "train-1", "", FIRST + "/../x", FIRST + "\n"])
def test_what_is_no_training_id_never_becomes_a_path(history, training_id):
    for act in (
        lambda: history.commit(training_id, files(training_id), "x"),
        lambda: history.read(training_id),
        lambda: history.url(training_id),
    ):
        with pytest.raises(UserError):
            act()
    assert history.list() == []


def test_only_the_two_files_of_the_training_are_taken(history):
    for wrong in ({}, {f"{FIRST}.md": b""}, {**files(FIRST), "other.txt": b""}, files(SECOND)):
        with pytest.raises(ValueError, match="files of"):
            history.commit(FIRST, wrong, "x")


def test_any_message_and_any_bytes_are_kept(history, commits):
    raw = {f"{FIRST}.md": bytes(range(256)), f"{FIRST}.json": b""}
    history.commit(FIRST, raw, "-F /etc/passwd\n\n日本語 \x00 \udcff")
    history.commit(SECOND, files(SECOND), "")
    history.commit(FIRST, raw, "again")
    assert commits() == 2


def test_the_address_of_a_report_ends_in_its_markdown_file(history):
    history.commit(FIRST, files(FIRST), "one")
    assert history.url(FIRST).endswith(f"/training_history/{FIRST}.md")
