"""Reading a training log while it grows: its progress lines, and its end. Writing it is the training process's own stdout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlops_assets.tasks.progress import Progress, parse_progress

_BLOCK = 1 << 16


class LogTail:
    """Yields the progress told in a log since the last call, starting at ``offset`` bytes."""

    def __init__(self, log: Path, offset: int) -> None:
        self._log = log
        self._offset = offset
        self._rest = b""

    def progress(self) -> Iterator[Progress]:
        """Progress of every whole line that was added; part of a line waits for its end."""
        with self._log.open("rb") as stream:
            stream.seek(self._offset)
            while block := stream.read(_BLOCK):
                self._offset += len(block)
                *lines, self._rest = (self._rest + block).split(b"\n")
                # A line that never ends is no progress line: keeping its tail is enough, and bounds the memory.
                self._rest = self._rest[-_BLOCK:]
                for line in lines:
                    step = parse_progress(line.decode("utf-8", errors="replace"))
                    if step is not None:
                        yield step


def last_lines(log: Path, count: int = 20) -> str:
    """The last ``count`` lines of a log, at most 64 KiB; empty where there is none."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _BLOCK))
            lines = stream.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-count:])
