"""`mlops dataset`: registering and looking at datasets."""

from __future__ import annotations

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
    """Register your own CSV or Parquet file PATH as dataset NAME.

    Registering changed content again adds a version; the same content is one version. PATH may also be one of
    scikit-learn's datasets, e.g. sklearn:wine.
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
    version = Platform().catalogue.add(entry)
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
    """Show the current version of dataset NAME, column by column."""
    from resources.platform import Platform

    version = Platform().catalogue.current(name)
    return version.model_dump(mode="json"), lambda: describe(version)


def describe(version: Any) -> str:
    """A dataset version for the terminal."""
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
