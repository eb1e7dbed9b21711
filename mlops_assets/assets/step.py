"""One step of the model-line graph: what every asset of a line has in common, and nothing of what any of them does.

A step knows its training, works in a scratch folder, shows its phase on the board, gives back what this training has already
made instead of making it again, and says which artifacts it was made from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from dagster import AssetExecutionContext

from mlops_assets.errors import TrainingStopped, UserError
from mlops_assets.reports.record import Phase
from mlops_assets.request.schema import Frozen
from resources.artifacts import Artifact, Staged, training_id_in
from resources.platform import Platform
from resources.runs import claim_run


class Step:
    """Context manager around the work of one asset; ``phase`` is None for steps that the phase table does not show."""

    def __init__(
        self, context: AssetExecutionContext, platform: Platform, asset: str, phase: Phase | None, **inputs: Artifact
    ) -> None:
        self.platform = platform
        self.inputs = inputs
        self.line = context.partition_key
        self.training_id = training_id_in(context.instance, context.run_id)
        # One folder a run: should two runs of a training ever overlap, neither takes away what the other is publishing.
        self.folder = platform.scratch / self.training_id / context.run_id[:8] / asset
        self._asset = asset
        self._phase = phase
        self._context = context
        self._settled = False

    def __enter__(self) -> Step:
        claim_run(self._context.instance, self._context.run)
        self.identity = self.platform.front_desk.begin(self.line, self.training_id)
        self.check_wanted()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self._phase is not None and self.finished is None:
            self.platform.board.start(self.training_id, self._phase)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, TrainingStopped):
            return  # the phase did not fail: it is left under way, and the report shows it as stopped
        if error is not None and self._phase is not None and not self._settled:
            self.platform.board.finish(self.training_id, self._phase, "failed", headline_of(error))

    def check_wanted(self) -> None:
        """End here a training that somebody has cancelled or replaced.

        Raises:
            TrainingStopped: that has happened.
        """
        stop = self.platform.ledger.stopped(self.training_id)
        if stop is not None:
            raise TrainingStopped(f"{self.training_id} was ended: {stop.reason} by {stop.by}")

    @property
    def finished(self) -> Artifact | None:
        """What this training has already made of this asset, e.g. before the process was killed."""
        reference = self.platform.ledger.reference(self.training_id, self._asset)
        return None if reference is None else Artifact(reference, self.platform.store.checkout(reference.prefix))

    def write(self, name: str, content: Frozen) -> None:
        """Put one JSON file into the folder being made."""
        (self.folder / name).write_text(content.model_dump_json(indent=1), encoding="utf-8")

    @property
    def report(self) -> Callable[[float, str, Mapping[str, float]], None]:
        """Tells the board how far this phase is (0..1)."""

        def moved(fraction: float, text: str, metrics: Mapping[str, float]) -> None:
            if self._phase is not None:
                self.platform.board.moved(self.training_id, self._phase, fraction, text, metrics)

        return moved

    def done(self, detail: str) -> None:
        """Show the phase as done, with one line on what came of it."""
        self._settle("done", detail)

    def skipped(self, detail: str) -> None:
        """Show the phase as left out on purpose."""
        self._settle("skipped", detail)

    def failed(self, detail: str) -> None:
        """Show the phase as failed where no exception says so."""
        self._settle("failed", detail)

    def _settle(self, state: str, detail: str) -> None:
        self._settled = True
        if self._phase is not None:
            self.platform.board.finish(self.training_id, self._phase, state, detail)  # type: ignore[arg-type]

    def staged(self, prefix: str, *also_from: Artifact) -> Staged:
        """The folder, ready to be published under ``prefix``."""
        upstream = {**self.inputs, **{a.reference.asset: a for a in also_from}}
        return Staged(self.folder, prefix, self.training_id, upstream)


def headline_of(error: BaseException) -> str:
    """One line on an error, for a table cell."""
    text = error.headline if isinstance(error, UserError) else str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return first[:200]


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a file that we wrote."""
    content: dict[str, object] = json.loads(path.read_bytes())
    return content
