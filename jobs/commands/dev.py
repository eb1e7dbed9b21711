"""`mlops dev`: servers that stand in for services while developing. They are part of a clone, not of the installed package."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from jobs.command_line import Commands, answers, cli

ROOT = Path(__file__).resolve().parents[2]
#: Who is there in a new stand-in: login, permission, whether it is a bot.
ACCOUNTS = (
    ("platform", "write", False),
    ("maintainer", "write", False),
    ("requester", "read", False),
    ("stranger", "read", False),
    ("robot", "write", True),
)


@cli.group("dev", cls=Commands)
def dev() -> None:
    """Servers for developing, from a clone of the repository."""


@dev.command("github")
@click.option("--repository", default="acme/models", show_default=True, help="OWNER/NAME of its one repository.")
@click.option("--port", default=8091, show_default=True, help="Port on loopback; 0 takes a free one.")
@answers
def github(repository: str, port: int, quiet: bool) -> Any:
    """Run a small GitHub on this machine until Ctrl-C: issues, comments, reactions, permissions, files, webhooks.

    It forgets everything when it ends. Threads can be read in a browser.
    """
    from mlops_assets.errors import UserError

    if repository.count("/") != 1 or not all(part.replace("-", "").replace("_", "").isalnum() for part in repository.split("/")):
        raise UserError("this is not a repository's name", field="--repository", given=repository, allowed=("OWNER/NAME",))
    try:
        stand_in = _stand_in().GitHubStandIn(repository, port=port)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"the port cannot be used: {error}", field="--port", given=port, next_step="take another one, or 0 for a free one"
        ) from error
    with stand_in as running:
        tokens = {login: running.add_user(login, permission, bot) for login, permission, bot in ACCOUNTS}
        click.echo(_told(running.url, running.html_url, repository, tokens), err=quiet)
        _wait()
        click.echo("", err=True)
        requests = len(running.requests)
    return {"url": running.url, "requests": requests}, f"stopped after {requests} requests"


def _wait() -> None:
    """Until Ctrl-C or SIGTERM, also where a shell has started this in the background and switched the first one off."""
    import signal
    import threading

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


def _stand_in() -> Any:
    """The stand-in's package, which is among the tests of a clone.

    Raises:
        UserError: this is an installed package without them.
    """
    from mlops_assets.errors import UserError

    if not (ROOT / "tests" / "standins" / "github" / "__init__.py").is_file():
        raise UserError(
            "the GitHub stand-in is not part of the installed package",
            field="mlops dev github",
            given=ROOT,
            next_step="run it from a clone of the repository, installed with: pip install -e .",
        )
    sys.path.insert(0, str(ROOT))
    return import_module("tests.standins.github")


def _told(url: str, pages: str, repository: str, tokens: dict[str, str]) -> str:
    from jobs.terminal import table

    rows = [(login, "bot, " * bot + permission, tokens[login]) for login, permission, bot in ACCOUNTS]
    requester, maintainer = (f"curl -s -H 'Authorization: Bearer {tokens[login]}'" for login in ("requester", "maintainer"))
    issues = f"{url}/repos/{repository}/issues"
    return "\n".join(
        [
            f"A GitHub with the repository {repository} is at {url}; Ctrl-C ends it.",
            "",
            table(("account", "permission", "token"), rows),
            "",
            "The platform uses it with",
            "  export MLOPS_TRACKER=github",
            f"  export MLOPS_GITHUB_REPOSITORY={repository}",
            f"  export MLOPS_GITHUB_API_URL={url}",
            f"  export MLOPS_GITHUB_TOKEN={tokens['platform']}",
            "",
            "Open an issue, label it (needs triage or more), comment, react to comment ID",
            f'  {requester} {issues} -d \'{{"title": "…", "body": "…"}}\'',
            f'  {maintainer} {issues}/1/labels -d \'{{"labels": ["mlops:train"]}}\'',
            f'  {requester} {issues}/1/comments -d \'{{"body": "…"}}\'',
            f'  {maintainer} {issues}/comments/ID/reactions -d \'{{"content": "+1"}}\'',
            "",
            "Read threads, let something go wrong, see what was asked",
            f"  {pages}/{repository}/issues",
            f'  curl -s {pages}/_standin/faults -d \'{{"what": "lost", "method": "POST", "path": "/comments$"}}\'',
            f"  curl -s {pages}/_standin/requests",
        ]
    )
