"""The shards of a KITTI version from a terminal: how each stands, and making them by the same Dagster job as the UI.

What a shard is made of is in ``resources``; the command itself in ``commands.kitti``, its configuration in ``shard_config``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from dagster import AssetKey, DagsterInstance, DagsterRunStatus

from jobs.frame_jobs import FRAME_ASSETS, SHARDS_JOB
from jobs.progress import copy_of_standard_error
from mlops_assets.data.dataset import KITTI, DatasetVersion
from mlops_assets.data.frame_shards import DamagedFile
from mlops_assets.errors import NotFound, UserError
from mlops_assets.request.schema import Frozen
from resources.frame_assets import register_shards
from resources.frame_products import PROGRESS_LOGGER
from resources.platform import Platform
from resources.runs import failure_of, reap

if TYPE_CHECKING:
    from rich.progress import Progress

Outcome = Literal["made", "reused", "failed"]


class ShardState(Frozen):
    """One shard; ``None`` where its frames have not been made. ``outcome`` is that of this call, where it made something."""

    key: str
    shard: int
    frames: int | None
    objects: int | None
    bytes: int | None
    damaged: tuple[DamagedFile, ...]
    voxels: bool
    coco: bool
    outcome: Outcome | None = None
    error: str | None = None


class ShardRuns:
    """The shards of one version of a dataset: the current one, or that whose name begins like ``version``.

    Raises:
        NotFound: there is no such dataset, or no such version.
        UserError: it is a table, or several versions begin like this.
    """

    def __init__(self, platform: Platform, instance: DagsterInstance, dataset_id: str, version: str | None = None) -> None:
        self._platform = platform
        self._instance = instance
        self.version: DatasetVersion = platform.catalogue.current(dataset_id)
        if version is not None:
            self.version = _version(platform, dataset_id, version)
        if self.version.form != KITTI:
            raise UserError(
                f"{dataset_id} is a table: only KITTI copies are kept in shards", field="NAME", given=dataset_id,
                next_step="mlops dataset add NAME FOLDER registers a KITTI copy",
            )  # fmt: skip
        self.keys = register_shards(instance, platform, self.version)

    def chosen(self, numbers: Iterable[int]) -> tuple[int, ...]:
        """These shards, or all of them where none is named.

        Raises:
            UserError: there is no such shard.
        """
        wanted = tuple(dict.fromkeys(numbers)) or tuple(range(len(self.keys)))
        for number in wanted:
            if not 0 <= number < len(self.keys):
                raise UserError("there is no such shard", field="--shard", given=number, allowed=(f"0 … {len(self.keys) - 1}",))
        return wanted

    def states(self, numbers: Iterable[int]) -> list[ShardState]:
        """How these shards stand; nothing is made."""
        voxels, coco = (self._instance.get_materialized_partitions(AssetKey(name)) for name in FRAME_ASSETS[1:])
        return [self._state(number, voxels, coco) for number in numbers]

    def make(self, numbers: Iterable[int], config: Mapping[str, Any], *, quiet: bool) -> list[ShardState]:
        """Make these shards one after the other in this process; a shard that fails does not hold up the others.

        ``config`` is a run configuration for the assets, see ``shard_config``; empty for what they have unless given.
        """
        reap(self._instance)
        wanted = tuple(numbers)
        outcomes: dict[int, tuple[Outcome, str | None]] = {}
        with _shown(len(wanted), quiet=quiet) as bar:
            for number in wanted:
                bar.begin(self.keys[number])
                outcomes[number] = self._run(self.keys[number], config)
                bar.end(self.keys[number], *outcomes[number])
        return [
            state.model_copy(update={"outcome": outcomes[state.shard][0], "error": outcomes[state.shard][1]})
            for state in self.states(wanted)
        ]

    def _run(self, key: str, config: Mapping[str, Any]) -> tuple[Outcome, str | None]:
        from mlops_assets.definitions import defs

        result = defs.resolve_job_def(SHARDS_JOB).execute_in_process(
            instance=self._instance,
            partition_key=key,
            raise_on_error=False,
            resources={"platform": self._platform},
            run_config={**config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        if result.dagster_run.status == DagsterRunStatus.CANCELED:
            raise KeyboardInterrupt
        if not result.success:
            return "failed", failure_of(self._instance, result.run_id)
        reused = [
            event.metadata["reused"].value for name in FRAME_ASSETS for event in result.asset_materializations_for_node(name)
        ]
        return ("reused" if all(reused) else "made"), None

    def _state(self, number: int, voxels: set[str], coco: set[str]) -> ShardState:
        known = self._platform.shards.known(self.version, number)
        key = self.keys[number]
        return ShardState(
            key=key,
            shard=number,
            frames=None if known is None else len(known.frames),
            objects=None if known is None else sum(known.objects.values()),
            bytes=None if known is None else known.bytes,
            damaged=() if known is None else known.damaged,
            voxels=key in voxels,
            coco=key in coco,
        )


def _version(platform: Platform, dataset_id: str, wanted: str) -> DatasetVersion:
    """The version of this name, or the only one that begins so; ``sha256-`` may be left out, as in keys of partitions."""
    names = platform.catalogue.versions(dataset_id)
    found = [name for name in names if name.removeprefix("sha256-").startswith(wanted.removeprefix("sha256-"))]
    found = [wanted] if wanted in found else found
    if len(found) != 1:
        kind = UserError if found else NotFound
        headline = f"{'several versions' if found else 'no version'} of the dataset begin{'' if found else 's'} like this"
        raise kind(headline, field="--version", given=wanted[:80], allowed=sorted(found or names))
    return platform.catalogue.version(dataset_id, found[0])


class _Bar:
    """What is under way on a terminal, and a line for each shard that is over; lines only in a pipe."""

    def __init__(self, bar: Progress | None, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task("shards", total=total, note="") if bar is not None else None

    def begin(self, key: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=key[-40:], note="")

    def told(self, text: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, note=text[:34])

    def end(self, key: str, outcome: Outcome, error: str | None) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)
            self._bar.console.print(f"{outcome:<7} {key}{f': {error}' if error else ''}", markup=False, highlight=False)


class _Listening(logging.Handler):
    def __init__(self, bar: _Bar) -> None:
        super().__init__(logging.DEBUG)
        self._shown_on = bar

    def emit(self, record: logging.LogRecord) -> None:
        self._shown_on.told(record.getMessage())


@contextmanager
def _shown(total: int, *, quiet: bool) -> Iterator[_Bar]:
    """A bar on the terminal that hears of every frame; silent when ``quiet``."""
    if quiet:
        yield _Bar(None, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    terminal = copy_of_standard_error()  # Dagster sends a step's own into its compute log
    console = Console(file=terminal, highlight=False)
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=12), MofNCompleteColumn(), TextColumn("[dim]{task.fields[note]}")
    )  # fmt: skip
    logger = logging.getLogger(PROGRESS_LOGGER)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = _Bar(progress, total)
        handler = _Listening(bar)
        before = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            yield bar
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)
