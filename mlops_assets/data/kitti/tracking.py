"""Label files of the tracking benchmark: one file a sequence, two columns (frame, track) before those of an object label.

Only the file; the columns themselves are read and written by ``labels``. Truncation is a level here (0 none, 1 partly,
2 largely outside the image), not a share, and is kept as written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.kitti.labels import KittiObjects, label_text, read_labels
from mlops_assets.data.reasons import FileRejected, Reason, because
from mlops_assets.errors import DataRejected
from mlops_assets.whole_files import write_whole


@dataclass(frozen=True, eq=False)
class TrackedObjects:
    """The objects of one frame of a sequence; ``tracks`` ``(N,)`` int64 names the same thing in every frame, -1 for DontCare."""

    objects: KittiObjects
    tracks: NDArray[np.int64]


def read_tracking_labels(path: Path) -> dict[int, TrackedObjects]:
    """Objects by frame number; a frame without objects has no entry.

    Raises:
        DataRejected: naming file, line and value: not text, a frame or track that is no whole number, a track twice in one
            frame, or anything that ``read_labels`` refuses (whose column numbers then count from the class).
        OSError: the file cannot be read.
    """
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise _refused(path, f"is not text: byte {error.start} is not UTF-8", because("not_text", byte=error.start)) from error
    markers: list[tuple[int, int]] = []
    rest: list[str] = []
    for number, line in enumerate(lines, start=1):
        fields = line.split(maxsplit=2)
        if not fields:
            rest.append("")
            continue
        marker = tuple(_whole(path, number, text) for text in fields[:2])
        if len(fields) < 3 or len(marker) != 2 or marker[0] < 0:
            what = f"line {number}: frame, track and an object are needed, given {line[:40]!r}"
            raise _refused(path, what, because("columns", line=number, columns=len(line.split())))
        markers.append((marker[0], marker[1]))
        rest.append(fields[2])
    try:
        objects = read_labels("\n".join(rest))
    except FileRejected as error:
        raise _refused(path, f"(columns counted from the class): {error.headline}", error.reason) from error
    marked = np.array(markers, dtype=np.int64).reshape(-1, 2)
    frames = {}
    for frame in np.unique(marked[:, 0]).tolist():
        rows = np.flatnonzero(marked[:, 0] == frame)
        tracks = marked[rows, 1]
        known, counts = np.unique(tracks[tracks >= 0], return_counts=True)
        if (counts > 1).any():
            raise _refused(path, f"frame {frame} has track {known[counts.argmax()]} more than once")
        frames[frame] = TrackedObjects(objects.select(rows), tracks)
    return frames


def tracking_text(frames: Mapping[int, TrackedObjects]) -> str:
    """The text of a sequence's label file, frames ascending; truncation is written as a whole number."""
    lines = []
    for frame in sorted(frames):
        tracked = frames[frame]
        for track, line in zip(tracked.tracks.tolist(), label_text(tracked.objects).splitlines(), strict=True):
            fields = line.split()
            fields[1] = str(round(float(fields[1])))
            lines.append(f"{frame} {track} {' '.join(fields)}\n")
    return "".join(lines)


def write_tracking_labels(path: Path, frames: Mapping[int, TrackedObjects]) -> None:
    """Write a sequence's label file; readers see the old file or the whole new one, never half of it.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    write_whole(path, tracking_text(frames), shared=True)


def _whole(path: Path, line: int, text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        what = f"line {line}: {text[:40]!r} is not a whole number of a frame or track"
        raise _refused(path, what, because("value", line=line, given=text[:40]))
    return int(text)


def _refused(path: Path, what: str, reason: Reason | None = None) -> DataRejected:
    return FileRejected(
        f"{path} {what}", reason=reason, field=str(path), next_step="correct the file, or leave this sequence out"
    )
