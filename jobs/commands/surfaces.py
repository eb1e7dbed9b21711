"""`mlops demo`, `ui`, `mlflow-ui`: seeing the platform at work."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from jobs.command_line import Unsuccessful, answers, cli

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "issues"


@cli.command("demo")
@click.option("--japanese", is_flag=True, help="The same issue in Japanese; the thread follows its language.")
@answers
def demo(japanese: bool, quiet: bool) -> Any:
    """Submit a real example issue and watch it become an answering endpoint.

    A demo that was killed half-way is carried on; otherwise each call opens an issue of its own.
    """
    import time

    from jobs.commands.issues import carry, read_issue_file
    from jobs.terminal import render_thread
    from resources.closing import predict_example
    from resources.front_desk import TRIGGER_LABEL
    from resources.platform import Platform

    started = time.monotonic()
    platform = Platform()
    draft = read_issue_file(EXAMPLES / ("breast_cancer.ja.md" if japanese else "breast_cancer.md"))
    alike = [
        i for i in platform.tracker.issues(label=TRIGGER_LABEL) if (i.title, i.body.strip()) == (draft.title, draft.body.strip())
    ]
    issue = next((i for i in alike if not platform.front_desk.is_settled(i)), None)
    issue = issue or platform.tracker.open_issue(draft.title, draft.body, draft.labels)
    if not quiet:
        click.echo(f"issue {issue.number}: {issue.title}\n")
    record = carry(platform, issue.number, plan_only=False, again=False, quiet=quiet)
    seconds = time.monotonic() - started
    if record is None or record.outcome != "deployed":
        reason = "" if record is None or record.error is None else f": {record.error}"
        data = {"issue": issue.number, "record": None if record is None else record.model_dump(mode="json")}
        raise Unsuccessful(data, f"mlops: the demo did not reach an endpoint{reason}\n  next: mlops thread {issue.number}")
    example = predict_example(platform, record)

    def text() -> str:
        """The thread, what the endpoint answers, how long it took, and where to look next."""
        thread = render_thread(platform.tracker.issue(issue.number))
        command, _, answer = (example or "").partition("\n")
        return "\n".join(
            [
                thread,
                "",
                "A prediction from the endpoint that is now running:",
                f"  {command}",
                f"  {answer}",
                "",
                f"From issue to answering endpoint: {seconds:.1f} s",
                "",
                "  make ui          lineage, metrics, figures    http://127.0.0.1:3000",
                "  make mlflow-ui   runs and model versions      http://127.0.0.1:5000",
                f"  mlops thread {issue.number}   the thread again; mlops --help for the rest",
            ]
        )

    return {"record": record.model_dump(mode="json"), "seconds": seconds, "prediction": example}, text


@cli.command("ui")
@click.option("--port", default=3000, show_default=True)
def ui(port: int) -> None:
    """Open Dagster on loopback: lineage, one partition a model line, metrics, figures; with the daemon and its sensors."""
    from jobs.instance import instance_folder
    from resources.platform import Platform

    platform = Platform()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(instance_folder(platform.home)),
        "MLOPS_HOME": str(platform.home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    command = ["dagster", "dev", "-m", "mlops_assets.definitions", "-h", "127.0.0.1", "-p", str(port)]
    os.execvpe(sys.executable, [sys.executable, "-m", *command], environment)  # noqa: S606  fixed arguments, no shell


@cli.command("mlflow-ui")
@click.option("--port", default=5000, show_default=True)
def mlflow_ui(port: int) -> None:
    """Open MLflow on loopback over the same runs and model versions."""
    from resources.platform import Platform

    platform = Platform()
    uri = platform.experiments.tracking_uri
    command = ["mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)]
    os.execvp(sys.executable, [sys.executable, "-m", *command])  # noqa: S606  fixed arguments, no shell
