"""Files of the stand-in are commits that git itself would have made."""

from __future__ import annotations

import base64
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.standins.github import GitHubStandIn
from tests.standins.github.objects import EMPTY_TREE, Entry, Objects
from tests.unit.standins.conftest import Ask

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def _write_out(objects: Objects, folder: Path) -> None:
    """The objects as a repository on disk, so that git can judge them."""
    subprocess.run(["git", "init", "--quiet", "--bare", str(folder)], check=True, timeout=30)
    for sha, (kind, content) in objects.raw.items():
        path = folder / "objects" / sha[:2] / sha[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(f"{kind} {len(content)}\0".encode() + content))


@needs_git
def test_git_accepts_every_object_and_reads_the_same_files(github: GitHubStandIn, tmp_path: Path) -> None:
    github.push("maintainer", {"b.py": "1", "a/b.txt": "x", "a.txt": "y", "a/c/d": b"\0\xff", "表.md": "題"}, "begin\n\nと説明")
    github.push("maintainer", {"a": "now a file", "b.py": None})
    sha = github.push("maintainer", {"a/again.txt": "a folder again"})
    repository = github.world.repositories["acme/models"]
    _write_out(repository.objects, tmp_path)
    git = ["git", f"--git-dir={tmp_path}"]
    (tmp_path / "refs" / "heads" / "main").write_text(sha + "\n", encoding="utf-8")
    (tmp_path / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    checked = subprocess.run([*git, "fsck", "--strict", "--full"], capture_output=True, text=True, timeout=60, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    listed = subprocess.run([*git, "ls-tree", "-r", "-z", "--name-only", "main"], capture_output=True, check=True, timeout=60)
    assert set(listed.stdout.decode().split("\0")[:-1]) == set(github.files()) == {"a/again.txt", "a.txt", "表.md"}
    log = subprocess.run([*git, "log", "--format=%H"], capture_output=True, text=True, check=True, timeout=60)
    assert log.stdout.split() == [commit.sha for commit in github.commits()]


paths = st.lists(st.sampled_from(["a", "b", "c.md", "d-e"]), min_size=1, max_size=3).map("/".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(paths, st.one_of(st.none(), st.binary(max_size=4))), max_size=8))
def test_a_tree_holds_what_was_last_written(changes: list[tuple[str, bytes | None]]) -> None:
    """Against the plainest model: a dictionary in which a file gives way to a folder of its name, and a folder to a file."""
    objects, tree = Objects(), EMPTY_TREE
    model: dict[str, bytes] = {}
    for path, content in changes:
        entry = None if content is None else Entry("100644", "", objects.put_blob(content))
        tree = objects.changed(tree, {path: entry})
        model = {name: kept for name, kept in model.items() if name != path and not name.startswith(f"{path}/")}
        if content is not None:
            above = {"/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)}
            model = {name: kept for name, kept in model.items() if name not in above} | {path: content}
    assert {path: objects.blob(entry.sha) for path, entry in objects.walk(tree).items()} == model


def test_a_file_is_replaced_only_by_whoever_has_seen_it(github: GitHubStandIn, ask: Ask) -> None:
    def put(text: str, **more: str) -> int:
        body = {"message": "m", "content": base64.b64encode(text.encode()).decode(), **more}
        return ask("maintainer", "PUT", "/contents/training_history/a.md", json=body).status_code

    assert put("one") == 201
    seen = ask("maintainer", "GET", "/contents/training_history/a.md").json()["sha"]
    assert put("two") == 422, "without the SHA of what is there"
    assert put("two", sha=seen) == 200
    assert put("three", sha=seen) == 409, "somebody has changed it meanwhile"
    assert github.files("training_history") == {"training_history/a.md": b"two"}
    assert len(github.commits()) == 2


def test_commits_of_one_path(github: GitHubStandIn, ask: Ask) -> None:
    first = github.push("maintainer", {"training_history/a.md": "1"}, "first")
    github.push("maintainer", {"other.md": "1"}, "second")
    third = github.push("maintainer", {"training_history/b.md": "1"}, "third")
    found = ask(None, "GET", "/commits?path=training_history").json()
    assert [commit["sha"] for commit in found] == [third, first]
    assert found[0]["author"]["login"] == "maintainer"
    assert [each["filename"] for each in ask(None, "GET", f"/commits/{third[:10]}").json()["files"]] == ["training_history/b.md"]


def test_an_empty_repository_says_so(ask: Ask) -> None:
    assert ask(None, "GET", "/commits").status_code == 409
    assert ask(None, "GET", "/contents/a.md").status_code == 404


@pytest.mark.parametrize("path", ["../a", "a//b", ".git/config", "a/./b", "/a"])
def test_paths_that_git_would_not_take_are_refused(github: GitHubStandIn, ask: Ask, path: str) -> None:
    encoded = path.replace("/", "%2F").replace(".", "%2E")
    answer = ask("maintainer", "PUT", f"/contents/{encoded}", json={"message": "m", "content": ""})
    assert answer.status_code == 422
    assert github.commits() == []


def test_a_ref_moves_forward_only_unless_forced(github: GitHubStandIn, ask: Ask) -> None:
    old, new = github.push("maintainer", {"a": "1"}), github.push("maintainer", {"a": "2"})
    assert ask("maintainer", "PATCH", "/git/refs/heads/main", json={"sha": old}).status_code == 422
    assert ask("maintainer", "PATCH", "/git/refs/heads/main", json={"sha": old, "force": True}).status_code == 200
    assert ask("maintainer", "PATCH", "/git/refs/heads/main", json={"sha": new}).status_code == 200
    assert ask("maintainer", "POST", "/git/refs", json={"ref": "refs/heads/main", "sha": old}).status_code == 422
