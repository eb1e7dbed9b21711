"""All doors to the outside, built from one settings object and opened only when used.

Dagster assets, sensors, the command line and tests each receive one ``Platform``; nothing else constructs a door.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from resources.settings import Settings, read_settings

if TYPE_CHECKING:
    from resources.approvals import Approvals
    from resources.board import ProgressBoard
    from resources.catalogue import Catalogue
    from resources.compute import LocalCompute
    from resources.docket import Docket
    from resources.endpoints import LocalEndpoints
    from resources.experiments import MlflowTracker
    from resources.front_desk import FrontDesk
    from resources.github_client import GitHubClient
    from resources.github_tracker import GitHubTracker
    from resources.history import History
    from resources.inbox import Inbox
    from resources.ledger import Ledger
    from resources.models import ModelShelf
    from resources.outbox import Outbox
    from resources.planning import Planning
    from resources.shards import Shards
    from resources.store import ObjectStore
    from resources.thread import Thread
    from resources.tracker import Tracker
    from resources.workshop import Workshop


class Platform:
    """One person's or team's installation: where things are kept and through what they are reached."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or read_settings()

    @property
    def home(self) -> Path:
        """Folder of the embedded default's state."""
        return self.settings.resolved_home

    @property
    def scratch(self) -> Path:
        """Folder for work in progress; anything in it may be removed when nothing runs."""
        return self.home / "scratch"

    @cached_property
    def store(self) -> ObjectStore:
        """Objects."""
        from resources.store import ObjectStore

        return ObjectStore(self.settings.resolved_store_url, self.home / "cache", self.settings.s3_endpoint)

    @cached_property
    def tracker(self) -> Tracker:
        """Issues.

        Raises:
            UserError: they are to live on GitHub, and settings for it are missing.
        """
        if self.settings.tracker == "github":
            return _github_tracker(self.settings)
        from resources.folder_tracker import FolderTracker

        return FolderTracker(self.home / "issues", actor=self.settings.actor)

    @cached_property
    def inbox(self) -> Inbox:
        """What the webhook receiver was told and no sensor has dealt with yet."""
        from resources.inbox import Inbox

        return Inbox(self.home / "webhook" / "inbox.db")

    @cached_property
    def ledger(self) -> Ledger:
        """Facts about trainings."""
        from resources.ledger import Ledger

        return Ledger(self.store, self.issue_space)

    @property
    def issue_space(self) -> str:
        """Where issue numbers are counted; facts about the issues of two repositories never meet."""
        return f"github/{self.settings.github_repository}" if self.settings.tracker == "github" else self.settings.tracker

    @cached_property
    def catalogue(self) -> Catalogue:
        """Datasets."""
        from resources.catalogue import Catalogue

        return Catalogue(self.store, self.scratch, self.settings.memory_limit)

    @cached_property
    def shards(self) -> Shards:
        """Frames of KITTI copies, shard by shard."""
        from resources.shards import Shards

        return Shards(self.store, self.catalogue, self.workshop)

    @cached_property
    def workshop(self) -> Workshop:
        """Shards, and what is made of them, on their way into the store."""
        from resources.workshop import Workshop

        return Workshop(self.store, self.scratch / "making", self.home / "locks")

    @cached_property
    def compute(self) -> LocalCompute:
        """Training processes."""
        from resources.compute import LocalCompute

        return LocalCompute(self.scratch)

    @cached_property
    def experiments(self) -> MlflowTracker:
        """Experiment tracking and the registry's mirror in MLflow."""
        from resources.experiments import MlflowTracker

        folder = self.home / "mlflow"
        uri = self.settings.mlflow_tracking_uri or f"sqlite:///{folder / 'mlflow.db'}"
        return MlflowTracker(uri, folder / "artifacts", self.settings.mlflow_url)

    @cached_property
    def models(self) -> ModelShelf:
        """Model versions of every line."""
        from resources.models import ModelShelf

        return ModelShelf(self.store)

    @cached_property
    def endpoints(self) -> LocalEndpoints:
        """Model servers."""
        from resources.endpoints import LocalEndpoints

        return LocalEndpoints(self.home / "endpoints", self.settings.endpoint_host)

    @cached_property
    def history(self) -> History:
        """Training records: commits on GitHub where issues live there, unless a folder is set for them.

        Raises:
            UserError: they are to live on GitHub, and settings for it are missing.
        """
        if self.settings.tracker == "github" and self.settings.history_folder is None:
            from resources.github_history import GitHubHistory

            return GitHubHistory(_github_client(self.settings))
        from resources.history import HistoryRepository

        return HistoryRepository(self.settings.history_folder or self.home / "history")

    @cached_property
    def board(self) -> ProgressBoard:
        """Progress of running trainings, in the thread and for whoever listens."""
        from resources.board import ProgressBoard, ProgressEvent

        def show(event: ProgressEvent) -> None:
            if event.fraction is None and event.state != "done":  # the next phase begins, or the report is written, at once
                self.thread.progress(event.training_id)

        board = ProgressBoard(self.ledger)
        board.listen(show)
        return board

    @cached_property
    def thread(self) -> Thread:
        """The platform's own comments in the threads."""
        from resources.thread import Thread

        return Thread(self)

    @cached_property
    def approvals(self) -> Approvals:
        """Whose word counts."""
        from resources.approvals import Approvals

        return Approvals(self)

    @cached_property
    def docket(self) -> Docket:
        """Which issues a tick has to look at."""
        from resources.docket import Docket

        return Docket(self.store, self.issue_space)

    @cached_property
    def outbox(self) -> Outbox:
        """Notifications on their way to people outside the threads."""
        from resources.notifier import Notifier
        from resources.outbox import Outbox

        return Outbox(self.store, Notifier(self.settings, lambda: self.tracker), self.home / "locks")

    @cached_property
    def planning(self) -> Planning:
        """Requests, and the plans of what would run for them."""
        from resources.planning import Planning

        return Planning(self)

    @cached_property
    def front_desk(self) -> FrontDesk:
        """Reading, showing plans and approving."""
        from resources.front_desk import FrontDesk

        return FrontDesk(self)


@lru_cache(maxsize=4)
def _github_client(settings: Settings) -> GitHubClient:
    """One connection for a process: every tick makes a ``Platform`` of its own, but a limit that GitHub set holds for all."""
    from resources.github_client import GitHubClient

    return GitHubClient(settings)


@lru_cache(maxsize=4)
def _github_tracker(settings: Settings) -> GitHubTracker:
    """One tracker for a process: what it remembers between ticks is what makes a quiet tick cost one request."""
    from resources.github_tracker import GitHubTracker

    return GitHubTracker(_github_client(settings))
