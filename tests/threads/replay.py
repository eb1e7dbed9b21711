"""Replays one recorded thread: people act on GitHub, the sensors tick, runs are executed, and what the platform wrote is kept.

A thread is a YAML file: who takes part, and what happens, step by step; every ``do_…`` here is a step. GitHub is the stand-in
over HTTP; the platform, its sensors, its Dagster instance and its trainings are real. What must hold is in ``expectations``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRequest, build_sensor_context
from dagster._core.utils import make_new_run_id

from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.definitions import defs
from mlops_assets.errors import MlopsError
from resources import platform as doors
from resources.approvals import ASKED_AGAIN_AFTER
from resources.board import ProgressEvent
from resources.platform import Platform
from resources.runs import PROCESS_TAG, this_process
from resources.settings import Settings
from sensors.issues import after_run, read_issues
from tests.requested_runs import execute
from tests.standins.github import GitHubStandIn
from tests.threads.expectations import EXPECTATIONS, check_always
from tests.threads.receiver import SECRET, Receiver
from tests.threads.transcript import transcript
from tests.unit.resources.on_github import REPOSITORY, Waiting, standin

PLATFORM: Final = "mlops-platform"
ROWS: Final = 600
#: More rounds of ticks and runs than any thread needs to come to rest.
ROUNDS: Final = 12
DECIDING: Final = ("write", "maintain", "admin")
#: A process that cannot be: numbers of processes begin at one.
NO_PROCESS: Final = "0:0.00"

Step = str | Mapping[str, Any]


class Replay:
    """One thread in the making."""

    def __init__(self, script: Mapping[str, Any], home: Path, github: GitHubStandIn, instance: DagsterInstance) -> None:
        self.script = script
        self.github = github
        self.instance = instance
        self.time = Waiting()
        self.deciders: set[str] = set()
        token = github.add_user(PLATFORM, permission="write")
        for login, role in script["people"].items():
            self._is_now(login, **(role if isinstance(role, dict) else {"permission": role}))
        github.push(PLATFORM, {"README.md": "# Models\n"}, "A repository is never empty when people open issues")
        self.settings = Settings(
            home=home,
            tracker="github",
            github_repository=REPOSITORY,
            github_api_url=github.url,
            github_token=token,
            webhook_secret=SECRET,
            **script.get("settings", {}),
        )
        self.platform = self._started()
        self.receiver: Receiver | None = None
        self.ends_under_way = script.get("ends") == "under way"
        self.number = 0
        self.numbers: list[int] = []
        self.comment_ids: dict[str, int] = {}
        self.shown: list[tuple[str, str]] = []
        self.cursor: str | None = None
        self.due: list[RunRequest] = []
        self.asked: set[str] = set()
        self.runs: dict[str, int] = {"propose": 0, "train": 0}

    def _started(self) -> Platform:
        """The platform in a process that has just begun; it waits for GitHub only on our clock."""
        doors._github_client.cache_clear()
        doors._github_tracker.cache_clear()
        client = doors._github_client(self.settings)
        client._clock, client._sleep = self.time, self.time.sleep
        return Platform(self.settings)

    def _is_now(self, login: str, **role: Any) -> None:
        self.github.add_user(login, **role)
        if role.get("permission") in DECIDING and not role.get("bot"):
            self.deciders.add(login)

    def play(self, steps: Sequence[Step] | None = None, within: str = "") -> None:
        """Every step of the script, or of one that happens ``within`` another."""
        for position, step in enumerate(self.script["steps"] if steps is None else steps, 1):
            name, given = (step, None) if isinstance(step, str) else next(iter(step.items()))
            place = f"{within}step {position}, {name}"
            try:
                getattr(self, f"do_{name}")(**given) if isinstance(given, dict) else getattr(self, f"do_{name}")()
                if self.receiver is not None:
                    assert self.github.wait_for_deliveries(), "a delivery has not reached the receiver"
            except AssertionError as error:
                raise AssertionError(f"{place}: {error}\n\n{'' if within else self.transcript()}") from error

    # --- what people do ------------------------------------------------------------------------------------------------

    def do_open(self, by: str, title: str, body: str, labels: tuple[str, ...] = ("mlops:train",)) -> None:
        """The steps that follow are about this issue."""
        self.number = self.github.open_issue(by, title, body, labels=list(labels))
        self.numbers.append(self.number)

    def do_turn(self, to: int) -> None:
        """The steps that follow are about the issue opened as the ``to``-th."""
        self.number = self.numbers[to - 1]

    def do_edit(self, by: str, replace: str | None = None, becomes: str = "", **changes: str) -> None:
        """Replace a part of the body, or whole fields of the issue."""
        if replace is not None:
            body = self.github.issue(self.number)["body"]
            assert replace in body, f"the body does not hold {replace}"
            changes = {"body": body.replace(replace, becomes)}
        self.github.edit_issue(self.number, by, **changes)

    def do_comment(self, by: str, text: str, name: str = "") -> None:
        self.comment_ids[name] = self.github.comment(self.number, by, text)

    def do_edit_comment(self, by: str, text: str, name: str = "") -> None:
        self.github.edit_comment(self.comment_ids[name], by, text)

    def do_thumb(self, by: str, up: bool = True) -> None:
        """On the newest comment of a training."""
        self.github.react(self._proposal(), by, "+1" if up else "-1")

    def do_take_back(self, by: str, up: bool = True) -> None:
        self.github.unreact(self._proposal(), by, "+1" if up else "-1")

    def _proposal(self) -> int:
        proposals = self.of_marker("training:")
        assert proposals, "there is no proposal"
        return int(proposals[-1]["id"])

    def do_close(self, by: str) -> None:
        self.github.close_issue(self.number, by)

    def do_reopen(self, by: str) -> None:
        self.github.reopen_issue(self.number, by)

    def do_label(self, by: str, name: str) -> None:
        self.github.label(self.number, by, name)

    def do_unlabel(self, by: str, name: str) -> None:
        self.github.unlabel(self.number, by, name)

    def do_permission(self, of: str, becomes: str) -> None:
        self._is_now(of, permission=becomes)

    # --- what goes wrong -----------------------------------------------------------------------------------------------

    def do_fault(self, answer: str | int, **more: Any) -> None:
        """The next requests that match go wrong; see the stand-in's ``fail``."""
        self.github.fail(answer, **more)

    def do_calm(self) -> None:
        """Nothing goes wrong any more; what was to go wrong has."""
        assert not self.github.faults, f"these have not happened: {self.github.faults}"

    def do_forget(self) -> None:
        """The platform's process ends and another begins: nothing is known but what was written down."""
        self.platform = self._started()

    def do_lose_cursor(self) -> None:
        """Dagster's storage was removed, and the sensor's cursor with it."""
        self.cursor = None

    def do_webhook(self) -> None:
        """The receiver is started as a process of its own, and GitHub told of it."""
        self.receiver = Receiver(self.settings)
        self.github.add_hook(self.receiver.url, SECRET)

    def do_redeliver(self, times: int = 1) -> None:
        """GitHub sends everything again that it has sent, under the same ids."""
        for _ in range(times):
            for delivery in list({each.guid: each for each in self.github.deliveries}.values()):
                self.github.redeliver(delivery)

    # --- what the daemon does ------------------------------------------------------------------------------------------

    def do_tick(self, times: int = 1, killed: bool = False) -> None:
        """One evaluation of the sensor; of a killed one neither the cursor nor what it asked for is kept."""
        for _ in range(times):
            context = build_sensor_context(
                instance=self.instance,
                cursor=self.cursor,
                repository_def=defs.get_repository_def(),
                resources={"platform": self.platform},
            )
            result = read_issues(context)
            if killed:
                continue
            self.cursor = result.cursor
            for request in result.run_requests or []:
                if request.run_key not in self.asked:  # as the daemon does
                    self.asked.add(str(request.run_key))
                    self.due.append(request)

    def do_run(self, during: str = "", steps: Sequence[Step] = ()) -> None:
        """Execute every run that was asked for, and let the sensors hear of it.

        ``steps`` happen at the moment at which the phase ``during`` begins, while the run is under way.
        """
        due, self.due = self.due, []
        wrong: list[AssertionError] = []
        left = list(steps)

        def meanwhile(event: ProgressEvent) -> None:
            if event.phase == during and event.state == "running" and left:
                now, left[:] = list(left), []
                try:
                    self.play(now, within=f"during {during}, ")
                except AssertionError as error:  # Dagster would take it for the step's own
                    wrong.append(error)

        if steps:
            self.platform.board.listen(meanwhile)
        for request in due:
            self._execute(request)
        if wrong:
            raise wrong[0]
        assert not left, f"no run reached {during}"

    def _execute(self, request: RunRequest) -> None:
        self.runs[str(request.job_name)] += 1
        run_id = execute(request, self.platform, self.instance)
        try:
            after_run(self.platform, self.instance, run_id)
        except MlopsError as error:  # Dagster notes it as the sensor's failure and does not call it for this run again
            logging.getLogger(__name__).warning("after a run: %s", error)

    def do_queue(self) -> None:
        """Runs that were asked for are about to be started."""
        self._add_runs(DagsterRunStatus.NOT_STARTED, this_process())

    def do_die(self) -> None:
        """Runs that were asked for have begun, and their process was killed."""
        self._add_runs(DagsterRunStatus.STARTED, NO_PROCESS)

    def _add_runs(self, status: DagsterRunStatus, process: str) -> None:
        due, self.due = self.due, []
        for request in due:
            tags = {**request.tags, PROCESS_TAG: process}
            run = DagsterRun(job_name=str(request.job_name), run_id=make_new_run_id(), status=status, tags=tags)
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

    def do_pause(self, seconds: float) -> None:
        """Time passes, e.g. until a limit that GitHub has set is over."""
        self.time.now += seconds

    def do_later(self) -> None:
        """So much time passes that people whose word did not count are asked about again."""
        ledger, before = self.platform.ledger, datetime.now(UTC) - ASKED_AGAIN_AFTER - timedelta(seconds=1)
        for identity in ledger.of_issue(self.number):
            for refused in ledger.refused_says(identity.training_id):
                ledger.refuse_say(identity.training_id, refused.model_copy(update={"at": before.isoformat()}))

    # --- what is looked at ---------------------------------------------------------------------------------------------

    def do_expect(self, **expected: Any) -> None:
        for name, value in expected.items():
            EXPECTATIONS[name](self, value)

    def do_show(self, kind: str, title: str) -> None:
        """Keep the newest comment of a kind, as it is at this moment, for the transcript."""
        self.shown.append((title, self.of_marker(kind)[-1]["body"]))

    def of_marker(self, kind: str, number: int | None = None) -> list[dict[str, Any]]:
        """The platform's comments whose marker begins with ``kind``, oldest first."""
        comments = self.github.comments(number or self.number)
        ours = (comment for comment in comments if comment["user"]["login"] == PLATFORM)
        return [comment for comment in ours if comment["body"].startswith(f"<!-- mlops:comment {kind}")]

    def transcript(self) -> str:
        """Every issue of the thread as a person reads it."""
        return transcript(self.github, self.numbers, self.shown)

    def stop(self) -> None:
        """End what this replay has started."""
        if self.receiver is not None:
            self.receiver.stop()
        for endpoint in self.platform.endpoints.list():
            try:
                self.platform.endpoints.stop(endpoint.name)
            except MlopsError:
                continue


@contextmanager
def replayed(path: Path, folder: Path) -> Iterator[Replay]:
    """A thread that has been played to its end; its endpoints are stopped afterwards."""
    script = yaml.safe_load(path.read_text(encoding="utf-8"))
    with standin() as github, DagsterInstance.ephemeral() as instance:
        replay = Replay(script, folder / "home", github, instance)
        register_customers(replay.platform, folder)
        try:
            replay.play()
            check_always(replay)
            yield replay
        finally:
            replay.stop()


def register_customers(platform: Platform, folder: Path) -> None:
    """A small table of generated customers, 12 % of whom churn."""
    from sim.tabular import simulate_customers

    path = folder / "customers.csv"
    simulate_customers(ROWS, seed=7).drop(columns=["lifetime_value"]).to_csv(path, index=False)
    platform.catalogue.add(CatalogueEntry(dataset_id="customers", source=str(path), target="churned"))
