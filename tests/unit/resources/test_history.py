"""The history repository: one commit a training, whatever is killed, repeated or tampered with."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from mlops_assets.errors import IntegrityError, MlopsError, NotFound, UserError
from mlops_assets.reports.report import history_files
from resources.history import HistoryRepository
from tests.unit.resources.history_content import FIRST, SECOND, files, record

REPOSITORY_ROOT = Path(__file__).resolve().parents[3]


def git(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


def commits(folder: Path) -> list[str]:
    return git(folder, "log", "--format=%H", "main").split()


def test_a_record_comes_back_as_it_was_committed(tmp_path: Path) -> None:
    history = HistoryRepository(tmp_path / "history")
    commit = history.commit(FIRST, history_files(record()), f"{FIRST}: 失敗")
    assert commits(history.folder) == [commit]
    assert history.read(FIRST) == record()
    assert history.list() == [FIRST]
    report = (history.folder / "training_history" / f"{FIRST}.md").read_text(encoding="utf-8")
    assert "停止しました" in report
    assert git(history.folder, "log", "-1", "--format=%an %s") == f"mlops {FIRST}: 失敗"
    assert git(history.folder, "status", "--porcelain") == ""


def test_the_same_content_again_makes_no_second_commit(tmp_path: Path) -> None:
    history = HistoryRepository(tmp_path)
    first = history.commit(FIRST, files(FIRST), "one")
    second = history.commit(SECOND, files(SECOND), "two")
    assert HistoryRepository(tmp_path).commit(FIRST, files(FIRST), "another message") == first
    assert commits(tmp_path) == [second, first]
    assert git(tmp_path, "status", "--porcelain") == ""


def test_changed_content_is_a_new_commit_and_the_old_one_stays(tmp_path: Path) -> None:
    history = HistoryRepository(tmp_path)
    first = history.commit(FIRST, files(FIRST), "one")
    second = history.commit(FIRST, files(FIRST, b'{"a": 1}'), "two")
    assert commits(tmp_path) == [second, first]
    assert history.commit(FIRST, files(FIRST, b'{"a": 1}'), "two") == second


@pytest.mark.parametrize(
    "training_id",
    [
        "../../etc/passwd", "train-20250110-123456-ab12/../x", "train-20250110-123456-AB12", "train-20250110-123456", "", "-rf",
        "train-٢٠٢٥٠١١٠-123456-ab12", "train-20250110-123456-ab12\n", "train-20250110-123456-" + "a" * 500,
    ],
)  # fmt: skip
def test_only_a_training_id_can_become_a_file_name(tmp_path: Path, training_id: str) -> None:
    history = HistoryRepository(tmp_path / "history")
    with pytest.raises(UserError, match="train-YYYYMMDD-HHMMSS-xxxx"):
        history.commit(training_id, files(training_id), "x")
    with pytest.raises(UserError, match="not a training id"):
        history.read(training_id)
    assert not history.folder.exists()


def test_files_of_another_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"are .*ab12\.json"):
        HistoryRepository(tmp_path).commit(FIRST, {**files(FIRST), "../x": b""}, "x")


def test_an_unknown_training_names_near_ones(tmp_path: Path) -> None:
    history = HistoryRepository(tmp_path)
    with pytest.raises(NotFound):
        history.read(FIRST)
    history.commit(FIRST, files(FIRST), "x")
    with pytest.raises(NotFound, match=FIRST):
        history.read("train-20250110-123456-ab13")


def test_a_committed_file_that_is_no_record_is_an_integrity_error(tmp_path: Path) -> None:
    history = HistoryRepository(tmp_path)
    history.commit(FIRST, files(FIRST, b'{"training_id": 3}'), "x")
    with pytest.raises(IntegrityError, match="not a training record"):
        history.read(FIRST)


def test_an_edited_or_missing_working_file_is_put_back_and_never_read(tmp_path: Path) -> None:
    history = HistoryRepository(tmp_path)
    first = history.commit(FIRST, history_files(record()), "x")
    path = tmp_path / "training_history" / f"{FIRST}.json"
    path.write_bytes(b'{"half": ')
    assert history.read(FIRST) == record()
    assert history.commit(FIRST, history_files(record()), "x") == first
    assert path.read_bytes() == history_files(record())[path.name]
    assert commits(tmp_path) == [first]


def test_files_written_and_not_committed_are_committed_by_the_next_call(tmp_path: Path) -> None:
    history = HistoryRepository(tmp_path)
    history.commit(FIRST, files(FIRST), "x")
    for name, content in files(SECOND).items():
        (tmp_path / "training_history" / name).write_bytes(content)
    assert history.list() == [FIRST], "what is not committed has not happened"
    history.commit(SECOND, files(SECOND), "y")
    assert history.list() == [FIRST, SECOND]


@pytest.mark.parametrize("lock", ["index.lock", "refs/heads/main.lock", "HEAD.lock", "config.lock", "packed-refs.lock"])
def test_a_lock_left_by_a_killed_git_is_removed(tmp_path: Path, lock: str) -> None:
    history = HistoryRepository(tmp_path)
    history.commit(FIRST, files(FIRST), "x")
    left = tmp_path / ".git" / lock
    left.write_bytes(b"")
    old = time.time() - 100
    os.utime(left, (old, old))
    history.commit(SECOND, files(SECOND), "y")
    assert history.list() == [FIRST, SECOND]
    assert not left.exists()
    assert git(tmp_path, "status", "--porcelain") == ""


def test_a_damaged_index_is_built_anew(tmp_path: Path) -> None:
    history = HistoryRepository(tmp_path)
    history.commit(FIRST, files(FIRST), "x")
    (tmp_path / ".git" / "index").write_bytes(b"DIRC damaged")
    history.commit(SECOND, files(SECOND), "y")
    assert history.list() == [FIRST, SECOND]
    assert git(tmp_path, "status", "--porcelain") == ""


def test_a_person_holding_the_index_stops_no_commit(tmp_path: Path) -> None:
    history = HistoryRepository(tmp_path)
    history.commit(FIRST, files(FIRST), "x")
    held = tmp_path / ".git" / "index.lock"
    held.write_bytes(b"")
    history.commit(SECOND, files(SECOND), "y")
    assert history.list() == [FIRST, SECOND]
    assert held.exists()


def test_hooks_signing_and_the_surrounding_git_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    history = HistoryRepository(outer / "history")
    first = history.commit(FIRST, files(FIRST), "x")
    hook = history.folder / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    git(history.folder, "config", "commit.gpgsign", "true")
    monkeypatch.setenv("GIT_DIR", str(outer / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "somebody")
    monkeypatch.setenv("HOME", str(tmp_path / "no-home"))
    second = history.commit(SECOND, files(SECOND), "y")
    assert commits(history.folder) == [second, first]
    assert git(history.folder, "log", "-1", "--format=%an") == "mlops"
    assert not (tmp_path / "elsewhere").exists()


def test_a_commit_of_a_person_is_kept(tmp_path: Path) -> None:
    history = HistoryRepository(tmp_path)
    history.commit(FIRST, files(FIRST), "x")
    (tmp_path / "NOTES.md").write_text("kept")
    git(tmp_path, "add", "NOTES.md")
    git(tmp_path, "-c", "user.name=p", "-c", "user.email=p@x", "commit", "-qm", "notes")
    history.commit(SECOND, files(SECOND), "y")
    assert len(commits(tmp_path)) == 3
    assert git(tmp_path, "show", "main:NOTES.md") == "kept"
    assert git(tmp_path, "status", "--porcelain") == ""


@pytest.mark.parametrize("message", ["", "\0", "-m\n--amend", "\ud800", "x" * 100_000, "# only a comment"])
def test_any_message_is_accepted(tmp_path: Path, message: str) -> None:
    history = HistoryRepository(tmp_path)
    history.commit(FIRST, files(FIRST), message)
    assert len(commits(tmp_path)) == 1


def test_a_failure_of_git_is_told_and_leaves_the_branch(tmp_path: Path) -> None:
    history = HistoryRepository(tmp_path)
    first = history.commit(FIRST, files(FIRST), "x")
    objects = tmp_path / ".git" / "objects"
    moved = objects.rename(tmp_path / "objects")
    with pytest.raises(MlopsError, match="git hash-object failed"):
        history.commit(SECOND, files(SECOND), "y")
    moved.rename(objects)
    assert commits(tmp_path) == [first]
    history.commit(SECOND, files(SECOND), "y")
    assert history.list() == [FIRST, SECOND]


WRITER = """
    import sys
    from pathlib import Path
    from resources.history import HistoryRepository

    history = HistoryRepository(Path(sys.argv[1]))
    print("ready", flush=True)
    for name in sys.argv[2:]:
        history.commit(name, {f"{name}.md": b"# report\\n" * 5000, f"{name}.json": b"{}"}, name)
    print("done", flush=True)
"""


def writer(folder: Path, ids: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY_ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(folder), *ids]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment)


@pytest.mark.parametrize("with_children", [True, False], ids=["process group", "python only"])
def test_killed_at_any_moment_the_next_call_finishes_with_one_commit_each(tmp_path: Path, with_children: bool) -> None:
    """Half of the kills leave git running on its own for a moment, half end it in the middle of a write."""
    moments = random.Random(7 if with_children else 8)
    ids = [f"train-20250110-{number:06d}-ab12" for number in range(4)]
    history = HistoryRepository(tmp_path)
    for _ in range(6):
        process = writer(tmp_path, ids)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.25))
        if with_children:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        process.stdout.close()
        for training_id in history.list():
            assert git(tmp_path, "cat-file", "-s", f"main:training_history/{training_id}.md") == "45000"
    for name in ids:
        history.commit(name, {f"{name}.md": b"# report\n" * 5000, f"{name}.json": b"{}"}, name)
    assert history.list() == ids
    assert len(commits(tmp_path)) == len(ids), "one commit a training, whatever happened before"
    git(tmp_path, "fsck", "--strict")
    assert git(tmp_path, "status", "--porcelain") == ""
    assert {path.name for path in tmp_path.iterdir()} == {".git", ".mlops.lock", "training_history"}


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    groups = [[f"train-20250110-{number:06d}-ab{group}2" for number in range(3)] for group in range(3)]
    processes = [writer(tmp_path, ids) for ids in groups]
    for process in processes:
        assert process.communicate(timeout=60)[0] == "ready\ndone\n"
        assert process.returncode == 0
    assert HistoryRepository(tmp_path).list() == sorted(name for ids in groups for name in ids)
    assert len(commits(tmp_path)) == 9
