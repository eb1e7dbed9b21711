"""Whole files: the old content or the new one, whatever happens in between."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets.whole_files import link_or_copy, whole_file, write_whole

KILLED_HALF_WAY = """
import os, signal, sys
from pathlib import Path
from mlops_assets.whole_files import whole_file
with whole_file(Path(sys.argv[1])) as beside:
    beside.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_are_written_into_a_folder_that_is_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "text", "é")
    write_whole(tmp_path / "a" / "b" / "bytes", b"\x00\xff", durable=True)
    assert (tmp_path / "a/b/text").read_bytes() == "é".encode()
    assert (tmp_path / "a/b/bytes").read_bytes() == b"\x00\xff"
    assert names(tmp_path / "a/b") == ["bytes", "text"]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, error: BaseException, shared: bool) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(type(error)), whole_file(tmp_path / "file", shared=shared) as beside:
        beside.write_bytes(b"half")
        raise error
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_killed_writer_leaves_the_old_file_and_the_next_attempt_cleans_up(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED_HALF_WAY, str(file)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == [".file.part", "file"]
    write_whole(file, b"new")
    assert file.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_a_left_over_name_of_another_file_is_taken_away_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "somebody's").write_bytes(b"precious")
    os.link(tmp_path / "somebody's", tmp_path / ".file.part")  # as a linking that was killed leaves it
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "somebody's").read_bytes() == b"precious"
    assert (tmp_path / "file").read_bytes() == b"new"


def write_often(path: Path, letter: bytes) -> None:
    for _ in range(150):
        write_whole(path, letter * 100_000, shared=True)


def test_two_processes_that_share_a_path_never_leave_half_of_either(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_whole(file, b"a" * 100_000)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(file, letter)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        seen.add(file.read_bytes())
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen <= {b"a" * 100_000, b"b" * 100_000}
    assert names(tmp_path) == ["file"]


def test_a_link_is_the_same_file_replaces_what_was_there_and_may_be_made_again(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "target").write_bytes(b"old")
    for _ in range(2):
        link_or_copy(tmp_path / "source", tmp_path / "folder" / "target")
        assert (tmp_path / "folder/target").samefile(tmp_path / "source")
        assert names(tmp_path / "folder") == ["target"]


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "symbolic").symlink_to("file")
    link_or_copy(tmp_path / "symbolic", tmp_path / "elsewhere" / "target")
    assert not (tmp_path / "elsewhere/target").is_symlink()
    assert (tmp_path / "elsewhere/target").read_bytes() == b"content"


def test_where_links_are_impossible_the_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    (tmp_path / "a").write_bytes(b"content")
    monkeypatch.setattr(os, "link", refuses)
    for _ in range(2):
        link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"content"
    assert (tmp_path / "b").stat().st_nlink == 1
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o444


def test_another_error_of_linking_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a").write_bytes(b"content")
    monkeypatch.setattr(os, "link", refuses)
    with pytest.raises(OSError, match="No space"):
        link_or_copy(tmp_path / "a", tmp_path / "b")
    assert names(tmp_path) == ["a"]
