"""`mlops endpoints`, `predict`, `drift`, `rollback`, `stop`: served models. None of them needs Dagster."""

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


def _served(line: str, wanted: str | None) -> tuple[Platform, Environment]:
    """The platform, and the environment in which a line is served; asked for only where there are several.

    Raises:
        NotFound: the line is served nowhere, or not where it was asked for.
        UserError: it is served in several environments and none was named.
    """
    from mlops_assets.errors import NotFound, UserError
    from resources.platform import Platform

    platform = Platform()
    endpoints = platform.endpoints.list()
    served = [endpoint.environment for endpoint in endpoints if endpoint.model_id == line]
    if not served:
        names = sorted({endpoint.model_id for endpoint in endpoints})
        raise NotFound("no endpoint serves this model line", field="LINE", given=line, allowed=names, next_step="mlops endpoints")
    if wanted is not None and wanted not in served:
        raise NotFound(f"{line} is not served there", field="--environment", given=wanted, allowed=served)
    if wanted is None and len(served) > 1:
        raise UserError(f"{line} is served in several environments", field="--environment", given="none", allowed=served)
    return platform, next(environment for environment in served if wanted in (None, environment))


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

    For a detector FILE is an image (.png, .jpg) or a cloud (.bin, .pcd, .ply). An endpoint that is down is started first.
    """
    from jobs.rows import conform, read_frame, read_rows

    platform, where = _served(line, environment)
    signature = platform.endpoints.signature(line, where)
    frame = read_frame(file, signature)
    if frame is not None:
        platform.endpoints.ensure(line, where)
        answer = platform.endpoints.predict_file(line, where, frame.content, frame.media_type)
    else:
        rows, as_text = read_rows(file)
        if as_text:
            rows, unknown = conform(rows, signature)
            if unknown:
                click.echo(f"not inputs of this model, left out: {', '.join(unknown)}", err=True)
        platform.endpoints.ensure(line, where)
        answer = platform.endpoints.predict(line, where, rows)
    return answer, lambda: _predicted(answer["predictions"])


def _predicted(predictions: list[dict[str, Any]]) -> str:
    from jobs.terminal import table

    if any("boxes" in one for one in predictions):
        return _boxes(predictions)
    labelled = [(p["label"], f"{p['probabilities'][p['label']]:.4f}") for p in predictions if "label" in p]
    if labelled:
        return table(("prediction", "probability"), labelled)
    return table(("prediction",), [(f"{p['value']:.6g}",) for p in predictions])


def _boxes(predictions: list[dict[str, Any]]) -> str:
    """One line a box; the frame's number first where there are several."""
    from jobs.terminal import table

    found = [(number, box) for number, one in enumerate(predictions) for box in one["boxes"]]
    if not found:
        return "no objects found"
    if "box" in found[0][1]:
        headers, numbers = ("left", "top", "right", "bottom"), [[f"{side:.1f}" for side in box["box"]] for _, box in found]
    else:
        headers = ("x m", "y m", "z m", "length", "width", "height", "yaw rad")  # type: ignore[assignment]
        numbers = [[f"{value:.2f}" for value in (*box["center"], *box["size"], box["yaw"])] for _, box in found]
    rows = [(str(n), box["class"], f"{box['score']:.3f}", *row) for (n, box), row in zip(found, numbers, strict=True)]
    first = 0 if len(predictions) > 1 else 1
    return table(("frame", "class", "score", *headers)[first:], [row[first:] for row in rows])


_VERDICTS = {
    "no_reference": "no reference",
    "unmeasured": "not measured yet",
    "too_few": "too few to tell",
    "stable": "stable",
    "moderate": "moderate drift",
    "major": "major drift",
}


@cli.command("drift")
@click.argument("line")
@in_environment
@answers
def drift(line: str, environment: str | None, quiet: bool) -> Any:
    """Compare the latest requests of line LINE with the data that its model was trained on."""
    platform, where = _served(line, environment)
    platform.endpoints.ensure(line, where)
    answer = platform.endpoints.drift(line, where)
    return answer, lambda: _drift(line, where, answer)


def _drift(line: str, where: str, answer: dict[str, Any]) -> str:
    from jobs.terminal import table

    if not answer["quantities"]:
        return f"{line} {answer.get('version', '')} in {where}: {answer.get('reason') or 'nothing is measured'}"
    rows = [
        (q["name"], _figure(q["psi"]), _figure(q["chance"]), f"{q['values']:,}", _VERDICTS.get(q["verdict"], q["verdict"]))
        for q in answer["quantities"]
    ]
    window, limits = answer["window"], answer["limits"]
    return "\n".join(
        (
            f"{line} {answer['version']} in {where}: {_VERDICTS.get(answer['verdict'], answer['verdict'])}",
            f"last {window['frames']:,} of {answer['frames']:,} frames since {answer['since']}",
            table(("quantity", "PSI", "by chance", "values", "verdict"), rows),
            f"PSI: population stability index; by convention {limits['moderate']} is moderate, {limits['major']} major.",
            "By chance: what equal data exceeds once in twenty times.",
        )
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


@cli.command("rollback")
@click.argument("line")
@in_environment
@answers
def rollback(line: str, environment: str | None, quiet: bool) -> Any:
    """Send the traffic of line LINE back to its previous version."""
    platform, where = _served(line, environment)
    state = platform.endpoints.rollback(line, where, who=platform.tracker.current_actor(), why="mlops rollback")
    data = {"line": line, "environment": where, "version": state.active.version if state.active else None, "url": state.url}
    return data, f"{line} in {where} now answers with {data['version']} at {state.url}"


@cli.command("stop")
@click.argument("endpoint")
@in_environment
@answers
def stop(endpoint: str, environment: str | None, quiet: bool) -> Any:
    """Stop the server of line ENDPOINT; its versions are kept and `mlops predict` starts it again."""
    platform, where = _served(endpoint, environment)
    platform.endpoints.stop(f"{where}/{endpoint}")
    return {"line": endpoint, "environment": where, "stopped": True}, f"{endpoint} in {where} is stopped"
