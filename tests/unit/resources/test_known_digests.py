"""Digests are remembered of files that cannot have changed, and of no others."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from mlops_assets.errors import IntegrityError, Unavailable
from resources import known_digests as module
from resources.known_digests import FILE, known_digests
from resources.store import ObjectStore


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    names: list[str] = []
    real = module.sha256_of_file

    def reading(path: Path) -> str:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(module, "sha256_of_file", reading)
    return names


def at_rest(path: Path, content: bytes = b"content", *, final: bool = True, seconds: float = 60) -> Path:
    path.write_bytes(content)
    os.utime(path, (time.time() - seconds, time.time() - seconds))
    if final:
        path.chmod(0o444)
    return path


def digest(cache: Path, path: Path) -> str:
    with known_digests(cache) as digest_of:
        return digest_of(path)


def test_a_final_file_is_read_once_also_under_another_name(tmp_path: Path, reads: list[str]) -> None:
    path = at_rest(tmp_path / "a")
    expected = hashlib.sha256(b"content").hexdigest()
    assert digest(tmp_path / "cache", path) == expected == digest(tmp_path / "cache", path)
    os.link(path, tmp_path / "b")
    assert digest(tmp_path / "cache", tmp_path / "b") == expected and reads == ["a"]


def test_a_file_that_may_be_written_or_was_just_written_is_read_every_time(tmp_path: Path, reads: list[str]) -> None:
    writable, fresh = at_rest(tmp_path / "a", final=False), at_rest(tmp_path / "b", seconds=0)
    for _ in range(2):
        for path in (writable, fresh):
            digest(tmp_path / "cache", path)
    assert reads == ["a", "b", "a", "b"] and not (tmp_path / "cache").exists()


def test_other_content_in_its_place_is_read(tmp_path: Path, reads: list[str]) -> None:
    path = at_rest(tmp_path / "a")
    digest(tmp_path / "cache", path)
    path.unlink()
    at_rest(path, b"CONTENT")
    assert digest(tmp_path / "cache", path) == hashlib.sha256(b"CONTENT").hexdigest()
    path.chmod(0o644)
    path.write_bytes(b"changed")  # in place: same inode and size, another time
    path.chmod(0o444)
    assert digest(tmp_path / "cache", path) == hashlib.sha256(b"changed").hexdigest()


def test_what_is_known_is_forgotten_after_a_day(tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = at_rest(tmp_path / "a")
    digest(tmp_path / "cache", path)
    monkeypatch.setattr(module, "KNOWN_SECONDS", 0)
    digest(tmp_path / "cache", path)
    assert reads == ["a", "a"]


def test_a_damaged_book_is_thrown_away(tmp_path: Path, reads: list[str]) -> None:
    path = at_rest(tmp_path / "a")
    digest(tmp_path / "cache", path)
    (tmp_path / "cache" / FILE).write_bytes(b"no database at all" * 100)
    assert digest(tmp_path / "cache", path) == hashlib.sha256(b"content").hexdigest()
    digest(tmp_path / "cache", path)
    assert reads == ["a", "a"]


def test_a_checkout_still_finds_a_file_that_somebody_put_in_its_place(tmp_path: Path, reads: list[str]) -> None:
    store = ObjectStore((tmp_path / "store").as_uri(), tmp_path / "cache")
    folder = tmp_path / "staged"
    folder.mkdir()
    at_rest(folder / "weights")
    store.publish("m/v1", folder)
    store.checkout("m/v1")
    store.checkout("m/v1")
    assert reads.count("weights") == 1
    published = tmp_path / "store" / "m" / "v1" / "weights"
    published.unlink()
    at_rest(published, b"tampered")
    with pytest.raises(IntegrityError, match="weights"):
        store.checkout("m/v1")


def test_a_disk_that_takes_no_more_is_told_as_what_can_be_tried_again(tmp_path: Path) -> None:
    import resource

    store = ObjectStore((tmp_path / "store").as_uri(), tmp_path / "cache")
    (tmp_path / "staged").mkdir()
    (tmp_path / "staged" / "weights").write_bytes(b"0" * 200_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        for write in (
            lambda: store.put("key", b"0" * 200_000),
            lambda: store.create("key", b"0" * 200_000),
            lambda: store.publish("m/v1", tmp_path / "staged"),
        ):
            with pytest.raises(Unavailable, match="start this again"):
                write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.manifest("m/v1") is None and not store.exists("key")
    store.publish("m/v1", tmp_path / "staged")
    assert (store.checkout("m/v1") / "weights").stat().st_size == 200_000
