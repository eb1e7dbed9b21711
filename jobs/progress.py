"""Progress of a training in the terminal: a line for each phase that is over, a bar for the one under way."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from mlops_assets.request.lifecycle import Action

if TYPE_CHECKING:
    from resources.board import ProgressEvent

NAMES = {
    "request": "request accepted",
    "plan": "plan",
    "data": "data quality",
    "features": "features",
    "training": "training",
    "evaluation": "evaluation",
    "package": "packaged",
    "deployment": "deployed",
}
MARKS = {"done": "[green]✔[/]", "failed": "[red]✘[/]", "skipped": "[yellow]–[/]"}


class TerminalProgress:
    """Context manager; writes to standard error, so that results can be piped. Silent when ``quiet``."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._begun: dict[str, float] = {}

    def __enter__(self) -> TerminalProgress:
        if not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._console = Console(file=sys.stderr, highlight=False)
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("[dim]{task.fields[note]}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
                disable=not self._console.is_terminal,
            )
            self._task = self._bar.add_task("starting", total=None, note="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._quiet:
            self._bar.stop()

    def announce(self, action: Action, detail: str) -> None:
        """An action of the loop begins."""
        if self._quiet:
            return
        if action == "approve":
            self._console.print(f"[green]✔[/] {'approved':<17} [dim]by {_plain(detail)}[/]")
        labels = {"read": "reading the issue", "propose": "planning", "train": "starting", "conclude": "reporting"}
        if action in labels:
            self._bar.update(self._task, description=labels[action], total=None, note="")

    def show(self, event: ProgressEvent) -> None:
        """A phase changed or moved on."""
        if self._quiet:
            return
        if event.fraction is not None:
            self._bar.update(self._task, total=1.0, completed=event.fraction, note=_plain(event.text[:40]))
        elif event.state == "running":
            self._begun[event.phase] = time.monotonic()
            self._bar.update(self._task, description=NAMES[event.phase], total=None, completed=0, note="")
        else:
            begun = self._begun.get(event.phase)
            took = f"{time.monotonic() - begun:5.1f} s" if begun is not None else " " * 7
            self._console.print(
                f"{MARKS[event.state]} {NAMES[event.phase]:<17} {took}  [dim]{_plain(event.text)}[/]", soft_wrap=False
            )


def _plain(text: str) -> str:
    """Text that others wrote, e.g. a column's name, which may look like markup."""
    from rich.markup import escape

    return escape(text)
