"""What every object store must do, held against a local folder and against S3 over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets.errors import IntegrityError, NotFound, UserError
from resources.store import ObjectStore
from tests.standins.s3 import KEYS, s3_with


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    with s3_with("mlops") as endpoint:
        yield endpoint


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    if request.param == "file":
        return ObjectStore((tmp_path / "a store").as_uri(), tmp_path / "cache")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    endpoint = request.getfixturevalue("s3_server")
    return ObjectStore(f"s3://mlops/{tmp_path.name}", tmp_path / "cache", s3_endpoint=endpoint)


def a_folder(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "staged"
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_what_was_put_is_got_and_replaced(store: ObjectStore) -> None:
    store.put("a/b.json", b"1")
    store.put("a/b.json", b"2")
    assert store.get("a/b.json") == b"2"
    assert store.exists("a/b.json")
    assert not store.exists("a/c.json")


def test_a_missing_key_is_named(store: ObjectStore) -> None:
    with pytest.raises(NotFound, match="no/such/key"):
        store.get("no/such/key")


def test_create_never_replaces(store: ObjectStore) -> None:
    assert store.create("once", b"first")
    assert not store.create("once", b"second")
    assert store.get("once") == b"first"


def test_a_removed_object_is_gone_and_its_key_can_be_created_again(store: ObjectStore) -> None:
    store.create("queue/one", b"1")
    store.create("queue/two", b"2")
    store.remove("queue/one")
    store.remove("queue/one")
    assert store.keys("queue") == ["queue/two"]
    assert store.create("queue/one", b"3")


def test_of_many_creators_at_once_exactly_one_wins(store: ObjectStore) -> None:
    wins: list[int] = []
    barrier = threading.Barrier(8)

    def create(number: int) -> None:
        barrier.wait()
        if store.create("race", str(number).encode()):
            wins.append(number)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert store.get("race") == str(wins[0]).encode()


def test_keys_and_children_list_what_is_below_a_prefix(store: ObjectStore) -> None:
    for key in ("lines/a/1.json", "lines/a/2.json", "lines/b/1.json", "linesman"):
        store.put(key, b"{}")
    assert store.keys("lines/a") == ["lines/a/1.json", "lines/a/2.json"]
    assert store.children("lines") == ["a", "b"]


def test_a_published_folder_is_checked_out_as_it_was(store: ObjectStore, tmp_path: Path) -> None:
    manifest = store.publish("m/v1", a_folder(tmp_path, model="weights", sub__data="rows", empty=""))
    folder = store.checkout("m/v1")
    assert (folder / "sub" / "data").read_text() == "rows"
    assert (folder / "empty").read_bytes() == b""
    assert set(manifest.files) == {"model", "sub/data", "empty"}


def test_a_published_folder_never_changes(store: ObjectStore, tmp_path: Path) -> None:
    folder = a_folder(tmp_path, model="first")
    first = store.publish("m/v1", folder)
    (folder / "model").write_text("second")
    assert store.publish("m/v1", folder) == first
    assert (store.checkout("m/v1") / "model").read_text() == "first"


def test_a_final_file_is_published_as_any_other_and_taken_away_from_where_it_was(store: ObjectStore, tmp_path: Path) -> None:
    folder = a_folder(tmp_path, model="weights", sub__data="rows")
    (folder / "sub" / "data").chmod(0o444)
    store.publish("m/v1", folder)
    (folder / "sub" / "data").unlink()
    (folder / "sub" / "data").write_text("another file of this name")
    assert (store.checkout("m/v1") / "sub" / "data").read_text() == "rows"


def test_a_folder_without_its_manifest_is_invisible_and_is_replaced(store: ObjectStore, tmp_path: Path) -> None:
    store.put("m/v1/model", b"half of an earlier att")
    assert store.manifest("m/v1") is None
    with pytest.raises(NotFound):
        store.checkout("m/v1")
    store.publish("m/v1", a_folder(tmp_path, model="whole"))
    assert (store.checkout("m/v1") / "model").read_text() == "whole"


def test_altered_bytes_are_refused(store: ObjectStore, tmp_path: Path) -> None:
    store.publish("m/v1", a_folder(tmp_path, model="weights"))
    store.put("m/v1/model", b"tampered")
    with pytest.raises(IntegrityError, match="model"):
        store.checkout("m/v1")


def test_an_unknown_scheme_says_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="s3://bucket/prefix"):
        ObjectStore("ftp://host/x", tmp_path).get("a")


def test_what_a_killed_writer_left_under_a_temporary_name_is_swept(tmp_path: Path) -> None:
    store = ObjectStore((tmp_path / "store").as_uri(), tmp_path / "cache")
    left = tmp_path / "store" / "m" / "v1" / "model#1"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    store.publish("m/v1", a_folder(tmp_path, model="whole"))
    assert not left.exists()
    assert (store.checkout("m/v1") / "model").read_text() == "whole"


def test_a_final_file_takes_no_second_place_in_a_folder_of_the_same_disk(tmp_path: Path) -> None:
    store = ObjectStore((tmp_path / "store").as_uri(), tmp_path / "cache")
    folder = a_folder(tmp_path, final="weights", changing="rows")
    (folder / "final").chmod(0o444)
    store.put("m/v1/final", b"of an earlier attempt that was killed")
    store.publish("m/v1", folder)
    published = tmp_path / "store" / "m" / "v1"
    assert (published / "final").samefile(folder / "final") and not (published / "changing").samefile(folder / "changing")
    assert (store.checkout("m/v1") / "final").read_text() == "weights"


def test_a_final_file_that_cannot_be_linked_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(source: object, target: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    store = ObjectStore((tmp_path / "store").as_uri(), tmp_path / "cache")
    folder = a_folder(tmp_path, final="weights")
    (folder / "final").chmod(0o444)
    monkeypatch.setattr("os.link", refuses)
    store.publish("m/v1", folder)
    assert (store.checkout("m/v1") / "final").read_text() == "weights"
