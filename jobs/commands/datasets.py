"""`mlops dataset`: registering and looking at datasets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from jobs.command_line import Commands, answers, cli


@cli.group("dataset", cls=Commands)
def dataset() -> None:
    """Register and look at datasets."""


@dataset.command("add")
@click.argument("name")
@click.argument("path")
@click.option("--target", metavar="COL", help="Column to predict.")
@click.option("--positive", metavar="CLASS", help="Class that counts as positive, e.g. Yes.")
@click.option("--sensitive", metavar="COL", multiple=True, help="Column for fairness checks; may be repeated.")
@click.option("--timestamp", metavar="COL", help="Column with the time of a row; splits are then ordered by time.")
@click.option("--entity", metavar="COL", help="Column with the user or thing a row is about.")
@click.option("--description", default="", help="One line for the catalogue.")
@answers
def add(
    name: str,
    path: str,
    target: str | None,
    positive: str | None,
    sensitive: tuple[str, ...],
    timestamp: str | None,
    entity: str | None,
    description: str,
    quiet: bool,
) -> Any:
    """Register your own data in PATH as dataset NAME: a CSV or Parquet file, or the folder of a KITTI copy.

    Registering changed content again adds a version; the same content is one version. PATH may also be one of
    scikit-learn's datasets, e.g. sklearn:wine.

    A KITTI copy (object or tracking layout, the folder that holds training/) is read in place: every file's digest
    is noted, and copied when a training first needs it, so the folder must stay until then. It takes no options
    about columns.
    """
    from mlops_assets.data.dataset import CatalogueEntry
    from resources.platform import Platform

    entry = CatalogueEntry(
        dataset_id=name,
        source=path,
        target=target,
        positive_class=positive,
        sensitive=sensitive,
        timestamp=timestamp,
        entity=entity,
        description=description,
    )
    with _progress(f"reading {path[-40:]}", quiet) as told:
        version = Platform().catalogue.add(entry, told)
    return version.model_dump(mode="json"), lambda: describe(version)


@dataset.command("list")
@answers
def list_datasets(quiet: bool) -> Any:
    """List registered datasets; the bundled ones are registered on first use."""
    from resources.platform import Platform

    names = Platform().catalogue.names()
    return names, "\n".join(names)


@dataset.command("show")
@click.argument("name")
@answers
def show(name: str, quiet: bool) -> Any:
    """Show the current version of dataset NAME: its columns, or its frames and the objects in them."""
    from resources.platform import Platform

    version = Platform().catalogue.current(name)
    return version.model_dump(mode="json"), lambda: describe(version)


def describe(version: Any) -> str:
    """A dataset version for the terminal, within 80 columns where its own names allow it."""
    from mlops_assets.data.dataset import KITTI

    return _frames(version) if version.form == KITTI else _columns(version)


def _columns(version: Any) -> str:
    from jobs.terminal import table

    rows = [
        (
            column.name,
            column.kind,
            f"{column.missing / max(version.rows, 1):.1%}",
            f"{column.distinct:,}",
            "target" if column.name == version.entry.target else "",
        )
        for column in version.columns
    ]
    heading = f"{version.dataset_id}  {version.version}  {version.rows:,} rows, {version.duplicate_rows:,} duplicates"
    return heading + "\n" + table(("column", "kind", "missing", "distinct", ""), rows)


def _frames(version: Any) -> str:
    """Frames, their files, and the objects in them."""
    from jobs.terminal import plain, table

    lines = [
        f"{version.dataset_id}  {version.version}",
        f"{version.rows:,} frames, {version.raw_bytes / 1e6:,.1f} MB, {version.shards:,} shard{'s' * (version.shards != 1)}, "
        f"{version.duplicate_rows:,} repeated",
        "parts    " + ", ".join(f"{part} {count:,}" for part, count in version.parts.items()),
        f"source   {plain(version.entry.source)}",
    ]
    rows = [(plain(name)[:40], f"{count:,}") for name, count in sorted(version.target_counts.items(), key=lambda row: -row[1])]
    return "\n".join([*lines, "", table(("class", "objects"), rows) if rows else "no labelled object"])


@contextmanager
def _progress(description: str, quiet: bool) -> Iterator[Callable[[float, str], None] | None]:
    """A bar on the terminal's standard error, from the first report on; nothing in a pipe."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(description), total=None, visible=False, note="")
        yield lambda fraction, text: bar.update(task, total=1.0, completed=fraction, note=escape(text), visible=True)
