"""`mlops endpoints`, `predict`, `rollback`, `stop`: served models. None of them needs Dagster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.command_line import answers, cli

if TYPE_CHECKING:
    from mlops_assets.request.vocabulary import Environment
    from resources.platform import Platform

ENVIRONMENTS = ("dev", "staging", "production")
in_environment = click.option("--environment", "-e", type=click.Choice(ENVIRONMENTS), help="Needed only if served in several.")


def environment_of(platform: Platform, line: str, wanted: str | None) -> Environment:
    """The environment in which a line is served; asked for only where there are several.

    Raises:
        NotFound: the line is served nowhere, or not where it was asked for.
        UserError: it is served in several environments and none was named.
    """
    from mlops_assets.errors import NotFound, UserError

    served = [e.environment for e in platform.endpoints.list() if e.model_id == line]
    if not served:
        names = sorted({e.model_id for e in platform.endpoints.list()})
        raise NotFound("no endpoint serves this model line", field="LINE", given=line, allowed=names, next_step="mlops endpoints")
    if wanted is not None and wanted not in served:
        raise NotFound(f"{line} is not served there", field="--environment", given=wanted, allowed=served)
    if wanted is None and len(served) > 1:
        raise UserError(f"{line} is served in several environments", field="--environment", given="none", allowed=served)
    return next(environment for environment in served if wanted in (None, environment))


@cli.command("endpoints")
@answers
def endpoints(quiet: bool) -> Any:
    """List endpoints with version, state and address."""
    from jobs.terminal import table
    from resources.platform import Platform

    found = Platform().endpoints.list()
    rows = [(e.model_id, e.environment, e.version or "-", "healthy" if e.healthy else "down", e.url or "-") for e in found]
    data = [
        {"line": e.model_id, "environment": e.environment, "version": e.version, "healthy": e.healthy, "url": e.url}
        for e in found
    ]
    return data, table(("line", "environment", "version", "state", "url"), rows) if rows else "no endpoints yet; try: mlops demo"


@cli.command("predict")
@click.argument("line")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@in_environment
@answers
def predict(line: str, file: Path, environment: str | None, quiet: bool) -> Any:
    """Predict the rows of FILE (CSV with a header, or JSON; - for standard input) with line LINE.

    An endpoint that is down is started first.
    """
    from jobs.rows import conform, read_rows
    from jobs.terminal import table
    from resources.platform import Platform

    platform = Platform()
    where = environment_of(platform, line, environment)
    rows, as_text = read_rows(file)
    if as_text:
        rows, unknown = conform(rows, platform.endpoints.signature(line, where))
        if unknown:
            click.echo(f"not inputs of this model, left out: {', '.join(unknown)}", err=True)
    platform.endpoints.ensure(line, where)
    answer = platform.endpoints.predict(line, where, rows)
    predictions = answer["predictions"]

    def text() -> str:
        labelled = [(p["label"], f"{p['probabilities'][p['label']]:.4f}") for p in predictions if "label" in p]
        if labelled:
            return table(("prediction", "probability"), labelled)
        return table(("prediction",), [(f"{p['value']:.6g}",) for p in predictions])

    return answer, text


@cli.command("rollback")
@click.argument("line")
@in_environment
@answers
def rollback(line: str, environment: str | None, quiet: bool) -> Any:
    """Send the traffic of line LINE back to its previous version."""
    from resources.platform import Platform

    platform = Platform()
    where = environment_of(platform, line, environment)
    state = platform.endpoints.rollback(line, where, who=platform.tracker.current_actor(), why="mlops rollback")
    data = {"line": line, "environment": where, "version": state.active.version if state.active else None, "url": state.url}
    return data, f"{line} in {where} now answers with {data['version']} at {state.url}"


@cli.command("stop")
@click.argument("endpoint")
@in_environment
@answers
def stop(endpoint: str, environment: str | None, quiet: bool) -> Any:
    """Stop the server of line ENDPOINT; its versions are kept and `mlops predict` starts it again."""
    from resources.platform import Platform

    platform = Platform()
    where = environment_of(platform, endpoint, environment)
    platform.endpoints.stop(f"{where}/{endpoint}")
    return {"line": endpoint, "environment": where, "stopped": True}, f"{endpoint} in {where} is stopped"
