"""Dagster metadata of our artifacts: numbers as numbers so that the UI plots them, tables as Markdown, figures inline."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from dagster import MetadataValue

Metadata = dict[str, MetadataValue]


def numbers(values: Mapping[str, float | int], prefix: str = "") -> Metadata:
    """One plottable value a name."""
    return {
        prefix + name: MetadataValue.int(value) if isinstance(value, int) else MetadataValue.float(float(value))
        for name, value in values.items()
    }


def figure(path: Path) -> MetadataValue:
    """A PNG file shown inline."""
    data = base64.b64encode(path.read_bytes()).decode()
    return MetadataValue.md(f"![{path.stem}](data:image/png;base64,{data})")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> MetadataValue:
    """A Markdown table."""
    lines = ["| " + " | ".join(headers) + " |", "|" + " --- |" * len(headers)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return MetadataValue.md("\n".join(lines))
