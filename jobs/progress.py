"""Progress of a training in the terminal: a line for each phase that is over, a bar for the one under way."""

from __future__ import annotations

import io
import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

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

            # Dagster sends a step's standard error into its compute log; the terminal is reached through a copy.
            self._terminal = copy_of_standard_error()
            self._console = Console(file=self._terminal, highlight=False)
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
            if self._terminal is not sys.stderr:
                self._terminal.close()

    def announce(self, action: Action, detail: str) -> None:
        """An action of the loop begins."""
        if self._quiet:
            return
        from rich.markup import escape

        if action == "approve":
            self._console.print(f"[green]✔[/] {'approved':<17} {'':7}  [dim]by {escape(detail)}[/]")
        labels = {"read": "reading the issue", "propose": "planning", "train": "starting", "conclude": "reporting"}
        if action in labels:
            self._bar.update(self._task, description=labels[action], total=None, note="")

    def show(self, event: ProgressEvent) -> None:
        """A phase changed or moved on."""
        if self._quiet:
            return
        from rich.markup import escape

        if event.fraction is not None:
            self._bar.update(self._task, total=1.0, completed=event.fraction, note=escape(event.text[:28]))
        elif event.state == "running":
            self._begun[event.phase] = time.monotonic()
            self._bar.update(self._task, description=NAMES[event.phase], total=None, completed=0, note="")
        else:
            begun = self._begun.get(event.phase)
            took = f"{time.monotonic() - begun:5.1f} s" if begun is not None else " " * 7
            line = f"{MARKS[event.state]} {NAMES[event.phase]:<17} {took}  [dim]{escape(event.text)}[/]"
            whole = event.state == "failed" or not self._console.is_terminal
            if whole:
                self._console.print(line, soft_wrap=True)
            else:
                self._console.print(line, no_wrap=True, overflow="ellipsis")


def copy_of_standard_error() -> TextIO:
    """Standard error as it is now, for lines that go to the terminal whatever becomes of the original."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace")
    except io.UnsupportedOperation:  # standard error is not a file, e.g. in a notebook
        return sys.stderr
