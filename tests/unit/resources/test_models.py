"""Versions of a model line: never given twice, the same training always given its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from resources.models import AllottedVersion, ModelShelf
from resources.store import ObjectStore


@pytest.fixture
def shelf(tmp_path: Path) -> ModelShelf:
    return ModelShelf(ObjectStore((tmp_path / "store").as_uri(), tmp_path / "cache"))


def test_trainings_at_the_same_moment_get_versions_of_their_own_without_a_gap(shelf: ModelShelf) -> None:
    start = Barrier(12)

    def allot(number: int) -> str:
        start.wait()
        return shelf.allot("a-line", f"train-{number}", None, "inputs").version

    with ThreadPoolExecutor(12) as pool:
        given = list(pool.map(allot, range(12)))
    assert sorted(given, key=lambda v: int(v.split(".")[1])) == [f"v1.{n}.0" for n in range(12)]
    assert shelf.versions("a-line") == [f"v1.{n}.0" for n in range(12)], "by number, v1.10.0 after v1.9.0"
    assert [shelf.allot("a-line", f"train-{n}", None, "inputs").version for n in range(12)] == given


def test_a_training_keeps_its_version_however_often_and_with_whatever_it_asks(shelf: ModelShelf) -> None:
    assert shelf.allot("a-line", "train-1", "v2.0.0", "inputs") == AllottedVersion("v2.0.0", None)
    shelf.allot("a-line", "train-2", None, "inputs")
    assert shelf.allot("a-line", "train-1", "v9.0.0", "other inputs") == AllottedVersion("v2.0.0", None)


def test_other_inputs_are_a_major_change(shelf: ModelShelf) -> None:
    versions = [shelf.allot("a-line", f"train-{n}", None, inputs).version for n, inputs in enumerate(("x", "x", "y", "y", "x"))]
    assert versions == ["v1.0.0", "v1.1.0", "v2.0.0", "v2.1.0", "v3.0.0"]


def test_a_version_that_is_taken_is_replaced_and_the_reason_stays(shelf: ModelShelf) -> None:
    shelf.allot("a-line", "train-1", "v1.2.0", "inputs")
    second = shelf.allot("a-line", "train-2", "v1.2.0", "inputs")
    assert (second.version, second.note) == ("v1.3.0", "version_taken")
    assert shelf.allot("a-line", "train-2", "v1.2.0", "inputs") == second


def test_lines_do_not_share_versions_and_one_that_is_only_claimed_is_not_published(shelf: ModelShelf, tmp_path: Path) -> None:
    shelf.allot("a-line", "train-1", None, "inputs")
    shelf.allot("a-line-2", "train-2", None, "inputs")
    assert shelf.versions("a-line") == ["v1.0.0"]
    assert shelf.published("a-line") == []
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"graph")
    ObjectStore((tmp_path / "store").as_uri(), tmp_path / "cache").publish(shelf.prefix("a-line", "v1.0.0"), folder)
    assert shelf.published("a-line") == ["v1.0.0"]
