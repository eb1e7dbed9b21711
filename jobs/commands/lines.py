"""`mlops lines`, `trainings`, `reproduce`: model lines and their trainings."""

from __future__ import annotations

from typing import Any

import click

from jobs.command_line import Unsuccessful, answers, cli


@cli.command("lines")
@answers
def lines(quiet: bool) -> Any:
    """List model lines with their newest version and endpoint."""
    from jobs.terminal import table
    from resources.platform import Platform

    platform = Platform()
    served = {(e.model_id, e.environment): e for e in platform.endpoints.list()}
    data = []
    rows = []
    for name in platform.ledger.lines():
        versions = platform.models.published(name)
        environments = [environment for (line, environment) in served if line == name]
        trained = len(platform.ledger.trainings(name))
        data.append({"line": name, "versions": versions, "trainings": trained, "served_in": environments})
        rows.append((name, versions[-1] if versions else "-", str(trained), ", ".join(environments) or "-"))
    return data, table(("line", "newest", "trainings", "served in"), rows) if rows else "no model lines yet; try: mlops demo"


@cli.command("trainings")
@click.argument("line")
@answers
def trainings(line: str, quiet: bool) -> Any:
    """List the trainings of model line LINE, oldest first."""
    from jobs.terminal import table
    from resources.platform import Platform

    platform = Platform()
    if not platform.ledger.trainings(line):
        platform.ledger.line(line)
    data = []
    rows = []
    for training_id in platform.ledger.trainings(line):
        record = platform.ledger.record(training_id)
        gate = record.gate if record is not None else None
        outcome = record.outcome if record is not None else "unfinished"
        version = record.model.version if record is not None and record.model is not None else None
        result = {} if gate is None else {"metric": gate.metric, "value": gate.value}
        data.append({"training_id": training_id, "outcome": outcome, "version": version, **result})
        rows.append((training_id, outcome, version or "-", "-" if gate is None else f"{gate.metric} {gate.value:.4f}"))
    return data, table(("training", "outcome", "version", "result"), rows)


@cli.command("reproduce")
@click.argument("training_id")
@answers
def reproduce(training_id: str, quiet: bool) -> Any:
    """Run TRAINING_ID again from its history file and compare every metric to the last digit.

    Deploys and registers nothing. Exit code 1 if a metric differs.
    """
    from jobs.progress import TerminalProgress
    from jobs.reproduction import reproduce_training
    from jobs.terminal import table
    from resources.platform import Platform

    platform = Platform()
    with TerminalProgress(quiet=quiet) as progress:
        result = reproduce_training(platform, training_id, progress.show)
    rows = [(c.metric, repr(c.recorded), repr(c.reproduced), "=" if c.equal else "DIFFERS") for c in result.comparisons]
    text = table(("metric", "recorded", "now", ""), rows) + "\n" + result.verdict
    if not result.reproduced:
        raise Unsuccessful(result.model_dump(mode="json"), text)
    return result.model_dump(mode="json"), text
