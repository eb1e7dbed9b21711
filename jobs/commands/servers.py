"""`mlops endpoints`, `predict`, `rollback`, `stop`: served models. None of them needs Dagster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.command_line import answers, cli

if TYPE_CHECKING:
    from mlops_assets.request.vocabulary import Environment
    from mlops_assets.tasks.interface import Signature
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
    import json

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
        shown = []
        for prediction in predictions:
            if "label" in prediction:
                label = prediction["label"]
                shown.append((str(label), f"{prediction['probabilities'][label]:.4f}"))
            else:
                shown.append((f"{prediction['value']:.6g}", "")) if "value" in prediction else shown.append(
                    (json.dumps(prediction), "")
                )
        return table(("prediction", "probability"), shown)

    return answer, text


def read_rows(file: Path) -> tuple[list[dict[str, Any]], bool]:
    """Rows of a CSV or JSON file, and whether they are CSV, whose cells are all text (empty: None).

    Raises:
        UserError: the file is missing or holds no rows of either format.
    """
    import csv
    import io
    import json

    from mlops_assets.errors import UserError

    if str(file) != "-" and not file.is_file():
        raise UserError("there is no such file", field="FILE", given=file, next_step="give a CSV or JSON file of rows")
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError("the file is not UTF-8 text", field="FILE", given=f"{file}, byte {error.start}") from error
    if text.lstrip().startswith(("{", "[")):
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(
                "the file is not valid JSON", field="FILE", given=f"{file}, line {error.lineno}: {error.msg}"
            ) from error
        if isinstance(content, dict):
            content = content.get("rows", [content])
        if not isinstance(content, list) or not content or not all(isinstance(row, dict) for row in content):
            allowed = ['{"column": value}', "[{…}, {…}]", '{"rows": […]}']
            raise UserError("the JSON holds no rows", field="FILE", given=str(file), allowed=allowed)
        return content, False
    rows = [
        {name: (value or "").strip() or None for name, value in row.items() if name is not None}
        for row in csv.DictReader(io.StringIO(text))
    ]
    if not rows:
        raise UserError("the file holds no rows", field="FILE", given=str(file), next_step="a header line and at least one row")
    return rows, True


def conform(rows: list[dict[str, Any]], signature: Signature) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of text cells as the model's inputs, and the columns that it does not know and that were left out.

    Raises:
        UserError: a cell of a number column is not a number.
    """
    from mlops_assets.errors import UserError

    kinds = {field.name: field.kind for field in signature.inputs}
    conformed = []
    for position, row in enumerate(rows):
        values: dict[str, Any] = {}
        for name, value in row.items():
            if name not in kinds:
                continue
            try:
                values[name] = float(value) if kinds[name] == "number" and value is not None else value
            except ValueError as error:
                raise UserError(
                    f"row {position + 1} has text in a number column",
                    field=name,
                    given=value,
                    allowed=["a number", "an empty cell"],
                ) from error
        conformed.append(values)
    return conformed, [name for name in rows[0] if name not in kinds]


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
