"""The progress board of a running training: one state for the thread, the ledger and whoever listens.

The thread's comment is edited in place, so it is written at the start and end of a phase and not at every percent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlops_assets.reports.record import PHASES, Phase, PhaseProgress, PhaseState
from resources.ledger import Ledger, Progress


@dataclass(frozen=True)
class ProgressEvent:
    """One thing that happened in a training: a phase changed, or moved on by a fraction."""

    training_id: str
    phase: Phase
    state: PhaseState
    fraction: float | None
    text: str
    metrics: Mapping[str, float]


Listener = Callable[[ProgressEvent], None]


class ProgressBoard:
    """Keeps the phase table of each training and shows it in its thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._listeners: list[Listener] = []
        self._started: dict[tuple[str, Phase], float] = {}

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every event from now on, in the thread that caused it."""
        self._listeners.append(listener)

    def start(self, training_id: str, phase: Phase) -> None:
        """A phase begins."""
        self._started[(training_id, phase)] = time.monotonic()
        self._change(training_id, phase, "running", "")

    def moved(self, training_id: str, phase: Phase, fraction: float, text: str, metrics: Mapping[str, float]) -> None:
        """A phase is ``fraction`` (0..1) done; told to listeners only."""
        self._tell(ProgressEvent(training_id, phase, "running", fraction, text, metrics))

    def finish(self, training_id: str, phase: Phase, state: PhaseState, detail: str) -> None:
        """A phase is over, with one line on what came of it."""
        self._change(training_id, phase, state, detail)

    def phases(self, training_id: str) -> tuple[PhaseProgress, ...]:
        """The phase table as it stands."""
        progress = self._ledger.progress(training_id)
        if progress is not None:
            return progress.phases
        return tuple(PhaseProgress(phase=phase, state="waiting") for phase in PHASES)

    def _change(self, training_id: str, phase: Phase, state: PhaseState, detail: str) -> None:
        begun = self._started.get((training_id, phase))
        before = self.phases(training_id)
        if begun is not None:
            seconds = None if state == "running" else round(time.monotonic() - begun, 3)
        else:
            # Made by a process that is gone, and shown again by the one that goes on.
            seconds = next((row.seconds for row in before if row.phase == phase and row.state == state), None)
        changed = PhaseProgress(phase=phase, state=state, seconds=seconds, detail=detail)
        rows = tuple(changed if row.phase == phase else row for row in before)
        self._ledger.save_progress(Progress(training_id=training_id, phases=rows))
        self._tell(ProgressEvent(training_id, phase, state, None, detail, {}))

    def _tell(self, event: ProgressEvent) -> None:
        for listener in self._listeners:
            listener(event)
