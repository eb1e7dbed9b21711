"""The history on GitHub: exactly one commit a training, whatever is killed, repeated, raced for or refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlops_assets.errors import Unavailable
from resources.github_client import GitHubClient, Refused
from resources.github_history import GitHubHistory
from tests.conftest import ROOT
from tests.standins.github import GitHubStandIn
from tests.unit.resources.on_github import Waiting, client_of, sent, settings_of, standin

FIRST = "train-20250110-123456-ab12"
FILES = {f"{FIRST}.md": b"# report\n", f"{FIRST}.json": b"{}"}
PATHS = {f"training_history/{name}": raw for name, raw in FILES.items()}
POINTS = [(kind, number, moment) for kind in ("empty", "begun") for number in range(6) for moment in ("before", "after")]


class Killed(BaseException):
    """The process ends here; nothing that it would do afterwards happens."""


class Mortal(GitHubClient):
    """A client whose process is killed before or after one of its changes."""

    def die(self, number: int, moment: str) -> None:
        self._left, self._moment = number, moment

    def write(self, *arguments, **named):
        self._left -= 1
        if self._left == -1 and self._moment == "before":
            raise Killed
        answer = super().write(*arguments, **named)
        if self._left == -1:
            raise Killed
        return answer


@pytest.fixture
def begun(github: GitHubStandIn) -> GitHubStandIn:
    github.push("maintainer", {"README.md": "models", "training_history/train-20200101-000000-aaaa.json": "{}"}, "begin")
    return github


def history_of(github: GitHubStandIn, waiting: Waiting | None = None) -> GitHubHistory:
    return GitHubHistory(client_of(github, waiting=waiting))


def with_training(github: GitHubStandIn) -> list[str]:
    """Commits whose message is the training's."""
    return [commit.sha for commit in github.commits() if commit.message == "the training"]


@pytest.mark.parametrize(("kind", "number", "moment"), POINTS)
def test_killed_at_any_change_and_repeated_there_is_one_commit(github, kind, number, moment):
    if kind == "begun":
        github.push("maintainer", {"README.md": "models"}, "begin")
    client = Mortal(settings_of(github))
    client.die(number, moment)
    try:
        GitHubHistory(client).commit(FIRST, FILES, "the training")
    except Killed:
        held = {path for path in github.files("training_history") if path in PATHS}
        assert held in (set(), set(PATHS)), "both files or none"
    commit = history_of(github).commit(FIRST, FILES, "the training")
    assert with_training(github) == [commit]
    assert {path: raw for path, raw in github.files("training_history").items() if path in PATHS} == PATHS


def run_and_kill(github: GitHubStandIn, script: str, path: str) -> None:
    """Run a script of a person's account in a process that is killed after its change to ``path`` is made, before the answer."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MLOPS_TRACKER": "github",
        "MLOPS_GITHUB_REPOSITORY": github.repository,
        "MLOPS_GITHUB_API_URL": github.url,
        "MLOPS_GITHUB_TOKEN": settings_of(github).github_token.get_secret_value(),  # type: ignore[union-attr]
    }
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=environment)

    def kill(request, actor) -> None:
        if path in request.path:
            process.send_signal(signal.SIGKILL)
            process.wait(20)

    end = github.on_write(kill, "after")
    assert process.wait(60) == -signal.SIGKILL
    end()


def test_a_real_process_killed_when_the_branch_has_moved_leaves_one_commit(begun):
    script = f"""
        from resources.platform import Platform
        Platform().history.commit({FIRST!r}, {FILES!r}, "the training")
    """
    run_and_kill(begun, script, "/git/refs/")
    (made,) = with_training(begun)
    assert history_of(begun).commit(FIRST, FILES, "the training") == made
    assert with_training(begun) == [made]


def test_a_real_process_killed_when_its_comment_is_made_leaves_one_comment(github):
    from tests.unit.resources.on_github import tracker_of

    number = github.open_issue("requester", "t", "b")
    script = f"""
        from resources.platform import Platform
        Platform().tracker.upsert_comment({number}, "plan", "p")
    """
    run_and_kill(github, script, "/comments")
    assert len(github.comments(number)) == 1
    tracker_of(github).upsert_comment(number, "plan", "p")
    assert len(github.comments(number)) == 1


@pytest.mark.parametrize("fault", [500, "lost", "lost-close"])
@pytest.mark.parametrize("path", ["git/blobs", "git/trees", "git/commits", "git/refs"])
def test_a_failed_answer_to_any_change_makes_no_second_commit(begun, fault, path):
    begun.fail(fault, "POST|PATCH", path, seconds=2)
    history_of(begun).commit(FIRST, FILES, "the training")
    assert len(with_training(begun)) == 1


@pytest.mark.parametrize("fault", [500, "close", "lost", "lost-close"])
def test_a_failed_answer_to_the_first_commit_of_all_begins_once(github, fault):
    github.fail(fault, "PUT")
    history_of(github).commit(FIRST, FILES, "the training")
    assert [commit.message for commit in github.commits()] == ["the training", "Begin the training history"]


def test_other_files_of_the_branch_stay(begun):
    history_of(begun).commit(FIRST, FILES, "the training")
    assert set(begun.files()) == {"README.md", "training_history/train-20200101-000000-aaaa.json", *PATHS}
    assert history_of(begun).list() == ["train-20200101-000000-aaaa", FIRST]


def test_a_branch_that_moves_meanwhile_is_followed_and_never_forced(begun):
    moves = iter(range(3))

    def push(request, actor) -> None:
        if "/git/refs/" in request.path and (n := next(moves, None)) is not None:
            begun.push("maintainer", {f"other-{n}.txt": "x"}, f"other {n}")

    begun.on_write(push)
    commit = history_of(begun).commit(FIRST, FILES, "the training")
    assert [c.message for c in begun.commits()] == ["the training", "other 2", "other 1", "other 0", "begin"]
    assert with_training(begun) == [commit]


def test_writers_that_race_all_get_in_once(begun):
    trainings = [f"train-20250110-12345{n}-ab12" for n in range(4)]

    def commit(training_id: str) -> str:
        return history_of(begun).commit(training_id, {f"{training_id}.md": b"x", f"{training_id}.json": b"{}"}, training_id)

    with ThreadPoolExecutor(len(trainings)) as writers:
        made = list(writers.map(commit, trainings, timeout=30))
    assert {c.sha: c.message for c in begun.commits()}.items() >= dict(zip(made, trainings, strict=True)).items()
    assert sorted(c.message for c in begun.commits()) == sorted([*trainings, "begin"])


def test_a_rule_of_the_branch_that_refuses_us_is_told_and_not_fought(begun):
    begun.fail(422, "PATCH", "git/refs", times=99)
    with pytest.raises(Refused, match="422"):
        history_of(begun).commit(FIRST, FILES, "the training")
    assert len([r for r in sent(begun) if r[0] == "PATCH"]) == 1
    assert with_training(begun) == []


def test_a_github_that_is_down_is_told_and_repeating_later_commits(begun):
    waiting = Waiting()
    history = history_of(begun, waiting)
    begun.fail(503, times=99)
    with pytest.raises(Unavailable):
        history.commit(FIRST, FILES, "the training")
    begun.clear_faults()
    waiting.now += 100
    history.commit(FIRST, FILES, "the training")
    assert len(with_training(begun)) == 1


def test_a_record_above_a_megabyte_is_read_by_its_id(begun, tmp_path: Path):
    from tests.contracts.test_history_contract import record

    large = record().model_copy(update={"error": "x" * 1_500_000})
    files = {f"{FIRST}.md": b"# report\n", f"{FIRST}.json": large.model_dump_json().encode()}
    history_of(begun).commit(FIRST, files, "large")
    assert history_of(begun).read(FIRST) == large


def test_the_address_is_the_page_on_github(begun):
    assert history_of(begun).url(FIRST) == f"{begun.html_url}/acme/models/blob/main/training_history/{FIRST}.md"


def test_what_is_committed_again_costs_only_looking(begun):
    history = history_of(begun)
    history.commit(FIRST, FILES, "the training")
    begun.clear_requests()
    history.commit(FIRST, FILES, "the training")
    assert [method for method, *_ in sent(begun)] == ["GET"] * 4


def test_a_default_branch_of_another_name_is_used():
    with standin() as github:
        github.push("maintainer", {"README.md": "x"}, "begin", branch="release/next")
        github.world.repositories["acme/models"].default_branch = "release/next"
        history = history_of(github)
        history.commit(FIRST, FILES, "the training")
        assert set(github.files("training_history", branch="release/next")) == set(PATHS)
        assert history.list() == [FIRST]
        assert f"/blob/release/next/training_history/{FIRST}.md" in history.url(FIRST)
