"""Dagster metadata of our artifacts: numbers as numbers so that the UI plots them, tables and small charts as Markdown, figures.

Dagster's pages show Markdown in place only below 1,000 characters; longer Markdown, so every PNG figure, is behind a link. What
should be seen at a glance is therefore drawn in text and kept below ``INLINE_LIMIT``.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from dagster import MetadataValue

from mlops_assets.reports.markdown import echo
from mlops_assets.request.vocabulary import METRICS

Metadata = dict[str, MetadataValue]

INLINE_LIMIT = 1000
_NAME = 24
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"


def numbers(values: Mapping[str, float | int], prefix: str = "") -> Metadata:
    """One plottable value a name."""
    return {
        prefix + name: MetadataValue.int(value) if isinstance(value, int) else MetadataValue.float(float(value))
        for name, value in values.items()
    }


def figure(path: Path) -> MetadataValue:
    """A PNG file, shown in a dialog."""
    data = base64.b64encode(path.read_bytes()).decode()
    return MetadataValue.md(f"![{path.stem}](data:image/png;base64,{data})")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], width: int = _NAME) -> MetadataValue:
    """A Markdown table; as many of its first rows as are shown in place, and how many more there are.

    Texts are cut to ``width`` characters.
    """
    return MetadataValue.md(_inline_table(headers, [[_cell(cell, width) for cell in row] for row in rows]))


def confusion_table(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> MetadataValue:
    """Rows: true class, columns: predicted class; where that is too wide, the most frequent confusions instead."""
    names = [echo(name, _NAME) for name in classes]
    whole = _markdown(
        ["true \\ predicted", *names, "recall"],
        [
            [name, *(f"**{n}**" if i == j else str(n) for j, n in enumerate(row)), _share(row[i], sum(row))]
            for i, (name, row) in enumerate(zip(names, matrix, strict=True))
        ],
    )
    if len(whole) < INLINE_LIMIT:
        return MetadataValue.md(whole)
    wrong = sorted(
        ((n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j and n), key=lambda cell: -cell[0]
    )
    return MetadataValue.md(_inline_table(("true", "predicted", "rows"), [[names[i], names[j], str(n)] for n, i, j in wrong]))


def bar_table(values: Mapping[str, float], headers: Sequence[str], count: int = 8, width: int = 16) -> MetadataValue:
    """The ``count`` largest values as bars, the longest ``width`` characters."""
    largest = sorted(((n, v) for n, v in values.items() if math.isfinite(v)), key=lambda item: -item[1])[:count]
    top = max((value for _, value in largest), default=0.0)
    rows = [[echo(name, _NAME), f"{value:.3g}", _bar(value / top if top > 0 else 0.0, width)] for name, value in largest]
    return MetadataValue.md(_inline_table((*headers, ""), rows))


def sparklines(curves: Mapping[str, Sequence[float]], width: int = 12) -> MetadataValue:
    """One line a learning curve: its course, and first, best and last value with the iteration (from 1) of the best."""
    rows = []
    for name, values in curves.items():
        known = [value for value in values if math.isfinite(value)]
        if known:
            lower = METRICS.get(name.removeprefix("train_").removeprefix("validation_")) == "lower"
            best = min(known) if lower else max(known)
            where = list(values).index(best) + 1
            course = _course(known, width)
            rows.append([echo(name, 40), course, f"{known[0]:.3g}", f"{best:.3g} ({where})", f"{known[-1]:.3g}"])
    return MetadataValue.md(_inline_table(("curve", "course", "first", "best (iteration)", "last"), rows))


def _bar(share: float, width: int) -> str:
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip() or "▏"


def _course(values: Sequence[float], width: int) -> str:
    """``values`` averaged into at most ``width`` levels between the smallest and the largest of those averages."""
    size = len(values)
    count = min(size, width)
    edges = [i * size // count for i in range(count + 1)]
    largest = max(abs(value) for value in values) or 1.0  # divided by it, no sum and no difference overflows
    points = [math.fsum(value / largest for value in values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(points), max(points)
    span = high - low
    return "".join(_LEVELS[round((p - low) / span * (len(_LEVELS) - 1)) if span > 0 else 0] for p in points)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def _cell(cell: object, width: int) -> str:
    return echo(cell, width) if isinstance(cell, str) else str(cell)


def _markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(headers) + " |", "|" + " --- |" * len(headers)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _inline_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    for shown in range(len(rows), -1, -1):
        more = len(rows) - shown
        text = _markdown(headers, rows[:shown]) + (f"\n\n{more} more" if more else "")
        if len(text) < INLINE_LIMIT:
            return text
    raise ValueError(f"the head of a table of {len(headers)} columns is longer than {INLINE_LIMIT} characters")
