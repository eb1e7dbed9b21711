"""KITTI object label and detection files: columns of text to arrays and back.

What the columns mean together (calibration, boxes in other frames, how to judge a detection) is not here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.reasons import FileRejected, because
from mlops_assets.whole_files import write_whole

#: The columns of a line in order; only detections have the last.
COLUMNS = (
    "type", "truncated", "occluded", "alpha", "bbox left", "bbox top", "bbox right", "bbox bottom",
    "height", "width", "length", "x", "y", "z", "rotation_y", "score",
)  # fmt: skip
DONT_CARE = "DontCare"
OCCLUSIONS = (-1, 0, 1, 2, 3)
_LABEL, _DETECTION = len(COLUMNS) - 1, len(COLUMNS)
_SHOWN = 40


@dataclass(frozen=True, eq=False)
class KittiObjects:
    """The objects of one frame, row for row as in its file.

    Attributes:
        names: ``(N,)`` text, the class as written, ``DontCare`` included.
        truncation: ``(N,)`` float64, share outside the image, 0 … 1; -1 where not said.
        occlusion: ``(N,)`` int64, 0 visible, 1 partly, 2 largely hidden, 3 unknown; -1 where not said.
        alpha: ``(N,)`` float64 [rad], observation angle; -10 where not said.
        boxes_2d: ``(N, 4)`` float64 [px], left, top, right, bottom in the rectified colour image.
        dimensions: ``(N, 3)`` float64 [m], height, width, length; -1 where not said.
        locations: ``(N, 3)`` float64 [m], bottom centre of the box, rectified camera 0 (x right, y down, z forward).
        rotation_y: ``(N,)`` float64 [rad], about the camera's y axis; -10 where not said.
        scores: ``(N,)`` float64, higher is surer; None for labels.
    """

    names: NDArray[np.str_]
    truncation: NDArray[np.float64]
    occlusion: NDArray[np.int64]
    alpha: NDArray[np.float64]
    boxes_2d: NDArray[np.float64]
    dimensions: NDArray[np.float64]
    locations: NDArray[np.float64]
    rotation_y: NDArray[np.float64]
    scores: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        count = len(self.names)
        shapes = {
            "names": (count,), "truncation": (count,), "occlusion": (count,), "alpha": (count,), "boxes_2d": (count, 4),
            "dimensions": (count, 3), "locations": (count, 3), "rotation_y": (count,), "scores": (count,),
        }  # fmt: skip
        for name, expected in shapes.items():
            given = getattr(self, name)
            if given is not None and given.shape != expected:
                raise ValueError(f"{name} has shape {given.shape}; {count} names need {expected}")

    def __len__(self) -> int:
        return len(self.names)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> KittiObjects:
        """The objects of these rows: ``(N,)`` bool or ``(M,)`` int indices."""
        return KittiObjects(
            self.names[rows],
            self.truncation[rows],
            self.occlusion[rows],
            self.alpha[rows],
            self.boxes_2d[rows],
            self.dimensions[rows],
            self.locations[rows],
            self.rotation_y[rows],
            None if self.scores is None else self.scores[rows],
        )


def read_labels(source: Path | str, *, scores: bool | None = None) -> KittiObjects:
    """Objects of a label or detection file; a ``Path`` is read, a ``str`` is the text itself.

    An empty text is a frame without objects. ``scores`` says what the lines must be: True for detections of 16 columns,
    False for labels of 15, None for either, all lines alike (an empty text then counts as labels).

    Raises:
        DataRejected: naming file, line, column and value: not UTF-8, a wrong number of columns, lines of both kinds in one
            file, a value that is not a finite decimal number, an occlusion that is none of ``OCCLUSIONS``.
        OSError: the file cannot be read.

    Source: readme.txt of the KITTI object development kit.
    """
    place, text = _text_of(source)
    lines = [(number, line.split()) for number, line in enumerate(text.split("\n"), start=1)]
    lines = [(number, fields) for number, fields in lines if fields]
    width = _width(place, lines, scores)
    numbers = np.array([_numbers(place, number, fields) for number, fields in lines], dtype=np.float64)
    numbers = numbers.reshape(len(lines), width - 1)
    return KittiObjects(
        names=np.array([fields[0] for _, fields in lines], dtype=np.str_),
        truncation=numbers[:, 0],
        occlusion=numbers[:, 1].astype(np.int64),
        alpha=numbers[:, 2],
        boxes_2d=numbers[:, 3:7],
        dimensions=numbers[:, 7:10],
        locations=numbers[:, 10:13],
        rotation_y=numbers[:, 13],
        scores=numbers[:, 14] if width == _DETECTION else None,
    )


def write_labels(path: Path, objects: KittiObjects, *, decimals: int = 2) -> None:
    """Write the objects as KITTI text; readers see the old file or the whole new one, never half of it.

    ``decimals`` is 2 in KITTI's own labels; detections that will be evaluated deserve 4 or more.

    Raises:
        ValueError: a class name is empty or holds white space, or a number is not finite.
        OSError: the file cannot be written; nothing is left behind.
    """
    text = label_text(objects, decimals=decimals)
    write_whole(path, text, shared=True)


def label_text(objects: KittiObjects, *, decimals: int = 2) -> str:
    """The text that ``write_labels`` writes: one line an object, 15 columns, 16 with scores (these with 4 decimals or more).

    Values of ``DontCare`` other than its 2D box are written as whole numbers, as KITTI writes them.
    """
    lines = []
    for row, name in enumerate(objects.names.tolist()):
        if not name or name.split() != [name]:
            raise ValueError(f"row {row}: {name!r} cannot be a class name: it must be one word")
        around = 0 if name == DONT_CARE else decimals
        truncation = float(objects.truncation[row])
        values = [
            name,
            f"{truncation:.0f}" if truncation == -1 else f"{truncation:.{decimals}f}",
            str(int(objects.occlusion[row])),
            f"{objects.alpha[row]:.{around}f}",
            *(f"{value:.{decimals}f}" for value in objects.boxes_2d[row]),
            *(f"{value:.{around}f}" for value in (*objects.dimensions[row], *objects.locations[row], objects.rotation_y[row])),
        ]
        if objects.scores is not None:
            values.append(f"{objects.scores[row]:.{max(decimals, 4)}f}")
        if any(value in ("nan", "inf", "-inf") for value in values[1:]):
            raise ValueError(f"row {row}: {name} has a value that is not finite: {' '.join(values)}")
        lines.append(" ".join(values) + "\n")
    return "".join(lines)


def _text_of(source: Path | str) -> tuple[str, str]:
    if isinstance(source, str):
        return "label text", source
    try:
        return str(source), source.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileRejected(
            f"{source} is not text: byte {error.start} is not UTF-8",
            reason=because("not_text", byte=error.start),
            field=str(source),
            next_step="fetch the file again, or leave this frame out",
        ) from error


def _width(place: str, lines: Sequence[tuple[int, list[str]]], scores: bool | None) -> int:
    """Columns that every line must have."""
    if scores is not None or not lines:
        width = _DETECTION if scores else _LABEL
    else:
        width = len(lines[0][1])
        width = width if width in (_LABEL, _DETECTION) else _LABEL
    for number, fields in lines:
        if len(fields) != width:
            allowed = {_LABEL: f"{_LABEL} columns (a label)", _DETECTION: f"{_DETECTION} columns (a detection with a score)"}
            raise FileRejected(
                f"{place}, line {number} has {len(fields)} columns",
                reason=because("columns", line=number, columns=len(fields)),
                field=f"line {number}",
                given=_short(" ".join(fields)),
                allowed=(allowed[width],),
                next_step=f"write every line as: {' '.join(name.replace(' ', '_') for name in COLUMNS[:width])}",
            )
    return width


def _numbers(place: str, line: int, fields: list[str]) -> list[float]:
    values = []
    for column, text in enumerate(fields[1:], start=1):
        try:
            # float() also takes digits of other scripts and 1_000, which no other reader of the format would.
            value = float(text) if text.isascii() and "_" not in text else math.nan
        except ValueError:
            value = math.nan
        allowed = OCCLUSIONS if column == 2 else None
        if not math.isfinite(value) or (allowed and value not in allowed):
            where = f"line {line}, column {column + 1} ({COLUMNS[column]})"
            raise FileRejected(
                f"{place}, {where}: {_short(text)!r} is not {'a known occlusion' if allowed else 'a finite decimal number'}",
                reason=because("value", line=line, given=_short(text)),
                field=where,
                given=_short(text),
                allowed=tuple(map(str, allowed)) if allowed else ("a finite decimal number",),
                next_step="correct the line, or leave this frame out",
            )
        values.append(value)
    return values


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
