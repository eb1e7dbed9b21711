"""The command `mlops`: what a person types and how mistakes are answered.

Commands live in ``commands``; this module is the group, its options and its exit codes. Nothing heavy is imported before a
command needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Any, ParamSpec

import click

from mlops_assets.errors import MlopsError, Problem, RequestInvalid, UserError

P = ParamSpec("P")
EXIT_FAILED, EXIT_USER_MISTAKE, EXIT_INTERRUPTED = 1, 2, 130


class Unsuccessful(Exception):
    """What a command was asked for did not succeed, which is a result too: ``data`` for ``--json``, ``text`` for a person."""

    def __init__(self, data: Any, text: str) -> None:
        super().__init__(text)
        self.data = data


class Commands(click.Group):
    """A group that lists its commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Commands in order of definition."""
        return list(self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="issue-mlops", prog_name="mlops")
def cli() -> None:
    """An issue with ten lines of YAML becomes a trained, evaluated, packaged and served model.

    State lives in .mlops/ of the working directory (MLOPS_HOME to change it; removing it resets).

    \b
    First steps:
      mlops demo                                   watch one issue go through
      mlops dataset add churn data.csv --target Churn
      mlops submit issue.md                        open an issue
      mlops run 1                                  propose, approve, train, deploy
      mlops thread 1                               read the thread
    """


def answers(command: Callable[P, Any]) -> Callable[P, None]:
    """Give a command ``--json`` and the exit codes: 0 done, 1 failed, 2 the user's mistake, 130 interrupted.

    The command returns ``(data, text)``: what ``--json`` prints, and what a person reads. Either may be produced by a
    function, so that only the wanted one is made.
    """

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        """The command; ``--json`` is taken away from its arguments, which it hears of as ``quiet``."""
        as_json = bool(kwargs.pop("as_json"))
        kwargs["quiet"] = as_json
        try:
            data, text = command(*args, **kwargs)
        except UserError as error:
            _refuse(error, as_json)
            sys.exit(EXIT_USER_MISTAKE)
        except Unsuccessful as result:
            if as_json:
                click.echo(_json(result.data))
            click.echo(str(result), err=True)
            sys.exit(EXIT_FAILED)
        except MlopsError as error:
            click.echo(f"mlops: {error}", err=True)
            sys.exit(EXIT_FAILED)
        except OSError as error:  # a full disk, a folder that may not be written
            click.echo(f"mlops: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
            sys.exit(EXIT_FAILED)
        except KeyboardInterrupt:
            click.echo("mlops: interrupted; the same command goes on from here", err=True)
            sys.exit(EXIT_INTERRUPTED)
        if as_json:
            click.echo(_json(data() if callable(data) else data))
        elif text:
            click.echo(text() if callable(text) else text)

    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(wrapped)


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2, default=str)


def _refuse(error: UserError, as_json: bool) -> None:
    problems = error.problems if isinstance(error, RequestInvalid) else ()
    if as_json:
        content = {
            "error": error.headline,
            "field": error.field,
            "given": None if error.given is None else str(error.given),
            "allowed": list(error.allowed),
            "next": error.next_step,
            "problems": [asdict(problem) for problem in problems],
        }
        click.echo(json.dumps(content, ensure_ascii=False), err=True)
    elif problems:
        click.echo(
            "\n".join(["mlops: the request cannot be accepted", *map(_told, problems), "  the thread says more"]), err=True
        )
    else:
        click.echo(f"mlops: {error}", err=True)


def _told(problem: Problem) -> str:
    from mlops_assets.reports.language import fields_of_sentence, sentence

    key = f"problem.{problem.code}"
    parts = [sentence(key, "en", allowed=", ".join(problem.allowed))]
    if problem.given:
        parts.append(f"given: {problem.given}")
    if problem.allowed and not fields_of_sentence(key):
        parts.append(f"allowed: {', '.join(problem.allowed[:12])}{', …' if len(problem.allowed) > 12 else ''}")
    if problem.suggestion:
        parts.append(f"did you mean: {problem.suggestion}")
    return f"  {problem.field or 'whole body'}: " + "; ".join(parts)


def main() -> None:
    """Entry point of the installed command."""
    from jobs import commands  # noqa: F401  registers the commands on `cli`

    cli(prog_name="mlops")
