"""Replays one recorded thread: people act on GitHub, the sensors tick, runs are executed, and what the platform wrote is kept.

A thread is a YAML file: who takes part, and what happens, step by step. GitHub is the stand-in over HTTP; the platform, its
sensors, its Dagster instance and its trainings are real. `record` beside the tests writes the transcripts anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRequest, build_sensor_context
from dagster._core.utils import make_new_run_id

from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.definitions import defs
from mlops_assets.errors import MlopsError
from mlops_assets.partitions import MODEL_LINES
from resources.platform import Platform
from resources.runs import PROCESS_TAG, this_process
from resources.settings import Settings
from sensors.issues import after_run, read_issues
from tests.standins.github import GitHubStandIn

REPOSITORY = "acme/models"
PLATFORM = "mlops-platform"
ROWS = 600
#: More rounds of ticks and runs than any thread needs to come to rest.
ROUNDS = 12


class Replay:
    """One thread in the making."""

    def __init__(self, script: Mapping[str, Any], home: Path, github: GitHubStandIn, instance: DagsterInstance) -> None:
        self.script = script
        self.github = github
        self.instance = instance
        token = github.add_user(PLATFORM, permission="write")
        for login, role in script["people"].items():
            github.add_user(login, **(role if isinstance(role, dict) else {"permission": role}))
        github.push(PLATFORM, {"README.md": "# Models\n"}, "A repository is never empty when people open issues")
        self.settings = Settings(
            home=home,
            tracker="github",
            github_repository=REPOSITORY,
            github_api_url=github.url,
            github_token=token,
            **script.get("settings", {}),
        )
        self.platform = Platform(self.settings)
        self.number = 0
        self.cursor: str | None = None
        self.due: list[RunRequest] = []
        self.asked: set[str] = set()
        self.runs: dict[str, int] = {"propose": 0, "train": 0}

    # --- what happens --------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Every step of the script."""
        for position, step in enumerate(self.script["steps"], 1):
            name, given = (step, None) if isinstance(step, str) else next(iter(step.items()))
            try:
                getattr(self, f"do_{name}")(**given) if isinstance(given, dict) else getattr(self, f"do_{name}")()
            except AssertionError as error:
                raise AssertionError(f"step {position}, {name}: {error}\n\n{self.transcript()}") from error

    def do_open(self, by: str, title: str, body: str, labels: tuple[str, ...] = ("mlops:train",)) -> None:
        self.number = self.github.open_issue(by, title, body, labels=list(labels))

    def do_edit(self, by: str, **changes: str) -> None:
        if "replace" in changes:
            body = self.github.issue(self.number)["body"]
            assert changes["replace"] in body
            changes = {"body": body.replace(changes["replace"], changes["with"])}
        self.github.edit_issue(self.number, by, **changes)

    def do_comment(self, by: str, text: str) -> None:
        self.github.comment(self.number, by, text)

    def do_thumb(self, by: str, up: bool = True) -> None:
        """On the newest proposal."""
        self.github.react(self.of_marker("training:")[-1]["id"], by, "+1" if up else "-1")

    def do_close(self, by: str) -> None:
        self.github.close_issue(self.number, by)

    def do_permission(self, of: str, becomes: str) -> None:
        self.github.add_user(of, permission=becomes)

    def do_fault(self, answer: str | int, **more: Any) -> None:
        self.github.fail(answer, **more)

    def do_forget(self) -> None:
        """The platform's process ends and another begins: nothing is known but what was written down."""
        self.platform = Platform(self.settings)

    def do_lose_cursor(self) -> None:
        """The tick was killed before Dagster kept its cursor."""
        self.cursor = None

    def do_tick(self, times: int = 1) -> None:
        for _ in range(times):
            context = build_sensor_context(
                instance=self.instance,
                cursor=self.cursor,
                repository_def=defs.get_repository_def(),
                resources={"platform": self.platform},
            )
            result = read_issues(context)
            self.cursor = result.cursor
            for request in result.run_requests or []:
                if request.run_key not in self.asked:  # as the daemon does
                    self.asked.add(str(request.run_key))
                    self.due.append(request)

    def do_run(self) -> None:
        """Execute every run that was asked for, and let the sensors hear of it."""
        due, self.due = self.due, []
        for request in due:
            self.runs[str(request.job_name)] += 1
            self.instance.add_dynamic_partitions(MODEL_LINES, [str(request.partition_key)])
            result = defs.resolve_job_def(str(request.job_name)).execute_in_process(
                instance=self.instance,
                partition_key=request.partition_key,
                raise_on_error=False,
                resources={"platform": self.platform},
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                tags={**request.tags, PROCESS_TAG: this_process()},
            )
            after_run(self.platform, self.instance, result.run_id)

    def do_begin(self) -> None:
        """A run that was asked for has begun and is under way."""
        for request in self.due:
            tags = {**request.tags, PROCESS_TAG: this_process()}
            run = DagsterRun(job_name=str(request.job_name), run_id=make_new_run_id(), status=DagsterRunStatus.STARTED, tags=tags)
            self.instance.run_storage.add_run(run)

    def do_rest(self) -> None:
        """Tick and run until nothing is asked for any more."""
        for _ in range(ROUNDS):
            self.do_tick()
            if not self.due:
                self.do_tick()
                if not self.due:
                    return
            self.do_run()
        raise AssertionError(f"the thread did not come to rest in {ROUNDS} rounds")

    # --- what must hold ------------------------------------------------------------------------------------------------

    def do_expect(self, **expected: Any) -> None:
        for name, value in expected.items():
            getattr(self, f"expect_{name}")(value)

    def expect_labels(self, labels: list[str]) -> None:
        assert self.github.labels(self.number) - {"mlops:train"} == set(labels)

    def expect_runs(self, runs: dict[str, int]) -> None:
        assert self.runs == runs

    def expect_commits(self, count: int) -> None:
        files = self.github.files("training_history")
        assert len([name for name in files if name.endswith(".md")]) == count, sorted(files)

    def expect_says(self, said: dict[str, list[str] | str]) -> None:
        """Texts in the newest comment of each kind of marker."""
        for kind, texts in said.items():
            bodies = self.of_marker(kind)
            assert bodies, f"there is no comment of {kind}"
            for text in [texts] if isinstance(texts, str) else texts:
                assert text in bodies[-1]["body"], f"{kind} does not say: {text}"

    def expect_silent(self, kinds: list[str]) -> None:
        for kind in kinds:
            assert not self.of_marker(kind), f"there is a comment of {kind}"

    def expect_comments(self, count: int) -> None:
        """Comments of the platform."""
        assert len(self.of_marker("")) == count

    def of_marker(self, kind: str) -> list[dict[str, Any]]:
        """The platform's comments whose marker begins with ``kind``, oldest first."""
        ours = (comment for comment in self.github.comments(self.number) if comment["user"]["login"] == PLATFORM)
        return [comment for comment in ours if f"<!-- mlops:comment {kind}" in comment["body"]]

    def check_always(self) -> None:
        """What holds in every thread: no marker twice, every commit once, nobody but the platform writes its comments."""
        markers = [comment["body"].split("\n", 1)[0] for comment in self.of_marker("")]
        assert len(markers) == len(set(markers)), markers
        histories = [commit for commit in self.github.commits() if "train-" in commit.message]
        assert len(histories) == len({commit.message for commit in histories})

    def transcript(self) -> str:
        """The thread as a person reads it, without what differs from one replay to the next."""
        issue = self.github.issue(self.number)
        parts = [f"# {issue['title']}", f"{issue['user']['login']} · {' '.join(sorted(self.github.labels(self.number)))}"]
        parts.append(issue["body"])
        for comment in self.github.comments(self.number):
            thumbs = " ".join(f"{content} {login}" for login, content in self.github.reactions(comment["id"]))
            parts.append(f"---\n### {comment['user']['login']}  {thumbs}".rstrip())
            parts.append(comment["body"])
        return settled("\n\n".join(parts).replace("\r\n", "\n")).rstrip() + "\n"


_NAMED = re.compile(r"train-\d{8}-\d{6}-[0-9a-f]{6}")
_VARIES = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "<sha256>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{40}\b"), "<sha1>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12,36}\b"), "<hex>"),
    (re.compile(r"src\.[0-9a-f]{6,}"), "src.<hex>"),
    (re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?(\+00:00| UTC)?"), "<time>"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "http://127.0.0.1:<port>"),
    (re.compile(r"(?:file://)?/[\w./-]*/home/"), "<home>/"),
    (re.compile(r"\b\d+(\.\d+)? (s|秒|ms|ミリ秒|min|分)(?![\w一-龠])"), "<duration>"),
    (re.compile(r"(?<![\w.])-?\d+\.\d{3,}(e-?\d+)?\b"), "<number>"),
    (re.compile(r"[ ]{2,}\|"), " |"),
    (re.compile(r"\| ?-{2,}:? ?(?=\|)"), "| --- "),
)


def settled(text: str) -> str:
    """``text`` with ids numbered as they appear, and digests, times, durations, ports and measured numbers masked."""
    names: dict[str, str] = {}
    text = _NAMED.sub(lambda match: names.setdefault(match.group(), f"train-#{len(names) + 1}"), text)
    for pattern, mask in _VARIES:
        text = pattern.sub(mask, text)
    return text


@contextmanager
def replayed(path: Path, folder: Path) -> Iterator[Replay]:
    """A thread that has been played to its end; its endpoints are stopped afterwards."""
    script = yaml.safe_load(path.read_text(encoding="utf-8"))
    with GitHubStandIn(repository=REPOSITORY) as github, DagsterInstance.ephemeral() as instance:
        replay = Replay(script, folder / "home", github, instance)
        register_customers(replay.platform, folder)
        try:
            replay.play()
            replay.check_always()
            yield replay
        finally:
            for endpoint in replay.platform.endpoints.list():
                try:
                    replay.platform.endpoints.stop(endpoint.name)
                except MlopsError:
                    continue


def register_customers(platform: Platform, folder: Path) -> None:
    """A small table of generated customers, 12 % of whom churn."""
    from sim.tabular import simulate_customers

    path = folder / "customers.csv"
    simulate_customers(ROWS, seed=7).drop(columns=["lifetime_value"]).to_csv(path, index=False)
    platform.catalogue.add(CatalogueEntry(dataset_id="customers", source=str(path), target="churned"))
