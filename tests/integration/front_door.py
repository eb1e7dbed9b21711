"""The platform behind GitHub's front door in this process: the real sensor's ticks and the real jobs, as the daemon does them.

What a tick asks for and how a run is executed only; what happens on GitHub is in the tests. What the daemon remembers between
ticks (its cursor, and which run keys it has served) is kept on disk here too, so that a killed process loses nothing more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from dagster import DagsterInstance, RunRequest, RunsFilter, build_sensor_context
from dagster._core.storage.tags import RUN_KEY_TAG

from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.definitions import defs
from resources.platform import Platform
from resources.settings import Settings
from sensors.issues import Cursor, after_run, read_issues
from tests.requested_runs import execute
from tests.standins.github import GitHubStandIn

REPOSITORY = "acme/models"
ACCOUNT = "mlops-platform"
ROUNDS = 20


def settings_for(github: GitHubStandIn, home: Path, **more: object) -> Settings:
    """Settings of an installation whose issues live in the stand-in, as an account that may write there."""
    token = github.add_user(ACCOUNT, permission="write")
    return Settings.model_validate(
        {
            "home": home,
            "tracker": "github",
            "github_repository": REPOSITORY,
            "github_api_url": github.url,
            "github_token": token,
            **more,
        }
    )


def register_customers(platform: Platform, folder: Path, dataset_id: str = "customers", rows: int = 600) -> None:
    """A generated table of customers, 12 % of whom churn."""
    from sim.tabular import simulate_customers

    path = folder / f"{dataset_id}.csv"
    simulate_customers(rows, seed=7).drop(columns=["lifetime_value"]).to_csv(path, index=False)
    platform.catalogue.add(CatalogueEntry(dataset_id=dataset_id, source=str(path), target="churned", positive_class="yes"))


def tell(text: str) -> None:
    """Print a measured number; seen with `pytest -s`."""
    sys.stdout.write(f"\n{text}\n")


class FrontDoor:
    """One process of the platform."""

    def __init__(self, platform: Platform, instance: DagsterInstance) -> None:
        self.platform = platform
        self.instance = instance
        self._cursor = platform.home / "cursor.json"

    def begin_with(self, new: Iterable[int]) -> None:
        """As if earlier ticks had seen to every issue but the ``new`` ones: the next tick goes on from here."""
        changes = self.platform.tracker.changes("mlops:train", None)
        self.platform.docket.note_changed(new)
        self._cursor.write_text(Cursor(tracker=changes.cursor).model_dump_json())

    def tick(self) -> list[RunRequest]:
        """One tick of the issue sensor; the runs that it asks for and that have not been asked for before."""
        context = build_sensor_context(
            instance=self.instance,
            cursor=self._cursor.read_text() if self._cursor.exists() else None,
            repository_def=defs.get_repository_def(),
            resources={"platform": self.platform},
        )
        result = read_issues(context)
        partial = self._cursor.with_suffix(".partial")
        partial.write_text(str(result.cursor))
        partial.replace(self._cursor)
        return [request for request in result.run_requests or [] if not self._served(request)]

    def _served(self, request: RunRequest) -> bool:
        return bool(self.instance.get_runs(RunsFilter(tags={RUN_KEY_TAG: str(request.run_key)}), limit=1))

    def run(self, request: RunRequest) -> None:
        """Execute a run that was asked for, and let the sensors hear of its end."""
        run_id = execute(request, self.platform, self.instance, **{RUN_KEY_TAG: str(request.run_key)})
        after_run(self.platform, self.instance, run_id)

    def rest(self) -> None:
        """Tick and run until two ticks in a row ask for nothing, and nothing is left on the docket but what waits."""
        quiet = 0
        for _ in range(ROUNDS):
            due = self.tick()
            for request in due:
                self.run(request)
            listing = self.platform.docket.listing()
            quiet = 0 if due or listing.changed or listing.open else quiet + 1
            if quiet == 2:
                self.platform.outbox.deliver()
                return
        raise AssertionError(f"no rest in {ROUNDS} rounds: {listing}")
