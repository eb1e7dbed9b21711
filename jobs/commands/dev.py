"""`mlops dev`: servers that stand in for services while developing. They are part of a clone, not of the installed package.

What people do in a thread goes over HTTP as on GitHub; nothing here is used by the platform itself.
"""

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
LOGINS = tuple(login for login, _, _ in ACCOUNTS)
PORT = 8091
PROPOSAL = "<!-- mlops:comment training:"
repository_option = click.option(
    "--repository", default="acme/models", show_default=True, help="OWNER/NAME of its one repository."
)


@cli.group("dev", cls=Commands)
def dev() -> None:
    """A GitHub on this machine, from a clone of the repository."""


@dev.command("github")
@repository_option
@click.option("--port", default=PORT, show_default=True, help="Port on loopback; 0 takes a free one.")
@answers
def github(repository: str, port: int, quiet: bool) -> Any:
    """Run a small GitHub on this machine until Ctrl-C: issues, comments, reactions, permissions, files, webhooks.

    It forgets everything when it ends. Threads can be read in a browser. The token of an account is its name.
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
        for login, permission, bot in ACCOUNTS:
            running.add_user(login, permission, bot, token=login)
        click.echo(_told(running.url, running.html_url, repository), err=quiet)
        _wait()
        click.echo("", err=True)
        requests = len(running.requests)
    return {"url": running.url, "requests": requests}, f"stopped after {requests} requests"


@dev.command("thumb")
@click.argument("number", type=int, metavar="N")
@click.option("--as", "login", default="maintainer", show_default=True, type=click.Choice(LOGINS), help="Whose thumb it is.")
@click.option("--down", is_flag=True, help="Refuse the proposal instead of approving it.")
@repository_option
@click.option("--port", default=PORT, show_default=True, help="Port of `mlops dev github`.")
@answers
def thumb(number: int, login: str, down: bool, repository: str, port: int, quiet: bool) -> Any:
    """Give a thumb to the latest proposal in issue N of `mlops dev github`, as a person does in the browser on GitHub."""
    from mlops_assets.errors import NotFound

    issues = f"http://127.0.0.1:{port}/api/v3/repos/{repository}/issues"
    comments = _asked(f"{issues}/{number}/comments?per_page=100", login, port)
    proposals = [one["id"] for one in comments if one["user"]["login"] == "platform" and PROPOSAL in one["body"]]
    if not proposals:
        raise NotFound(
            "the platform has proposed nothing in this thread",
            field="N",
            given=number,
            next_step="start `mlops ui` with the settings that `mlops dev github` printed, and wait a few seconds",
        )
    reaction = "-1" if down else "+1"
    _asked(f"{issues}/comments/{proposals[-1]}/reactions", login, port, {"content": reaction})
    data = {"issue": number, "comment": proposals[-1], "by": login, "reaction": reaction}
    return data, f"{login} gave {reaction} to the proposal in issue {number}"


def _asked(url: str, login: str, port: int, content: object = None) -> Any:
    """The stand-in's answer to a request of an account.

    Raises:
        UserError: it refuses, or nothing answers at that port.
    """
    import json
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    from mlops_assets.errors import UserError

    headers = {"Authorization": f"Bearer {login}", "User-Agent": "mlops-dev"}
    body = None if content is None else json.dumps(content).encode()
    try:
        with urlopen(Request(url, body, headers), timeout=10) as answer:  # noqa: S310  http on loopback, built above
            return json.load(answer)
    except HTTPError as refused:
        with refused:
            reason = json.loads(refused.read() or b"{}").get("message", "")
        raise UserError(
            f"the stand-in refused it: {refused.code} {reason}",
            field="N",
            given=url.rpartition("/issues/")[2],
            next_step="read the threads at their page",
        ) from None
    except (URLError, OSError, ValueError) as error:
        raise UserError(
            f"no stand-in answers there ({error})", field="--port", given=port, next_step="start it: mlops dev github"
        ) from error


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


def _told(url: str, pages: str, repository: str) -> str:
    from jobs.terminal import table

    rows = [(login, "bot, " * bot + permission, login) for login, permission, bot in ACCOUNTS]
    requester, maintainer = (f"curl -s -H 'Authorization: Bearer {login}'" for login in ("requester", "maintainer"))
    issues = f"{url}/repos/{repository}/issues"
    return "\n".join(
        [
            f"A GitHub with the repository {repository} is at {pages}; Ctrl-C ends it.",
            "",
            table(("account", "permission", "token"), rows),
            "",
            "The platform uses it with these, in another terminal, and a state of its own: issue numbers begin at 1 here",
            "  export MLOPS_TRACKER=github",
            f"  export MLOPS_GITHUB_REPOSITORY={repository}",
            f"  export MLOPS_GITHUB_API_URL={url}",
            "  export MLOPS_GITHUB_TOKEN=platform",
            "  export MLOPS_HOME=$(mktemp -d)",
            "",
            "Open an issue, label it (needs triage or more), comment",
            f'  {requester} {issues} -d \'{{"title": "…", "body": "…"}}\'',
            f'  {maintainer} {issues}/1/labels -d \'{{"labels": ["mlops:train"]}}\'',
            f'  {requester} {issues}/1/comments -d \'{{"body": "…"}}\'',
            "",
            "Approve the proposal, which curl does with …/issues/comments/ID/reactions",
            f"  mlops dev thumb 1{_unless(PORT, pages)}{'' if repository == 'acme/models' else f' --repository {repository}'}",
            "",
            "Read threads, let something go wrong, see what was asked",
            f"  {pages}/{repository}/issues",
            f'  curl -s {pages}/_standin/faults -d \'{{"what": "lost", "method": "POST", "path": "/comments$"}}\'',
            f"  curl -s {pages}/_standin/requests",
        ]
    )


def _unless(port: int, pages: str) -> str:
    taken = int(pages.rpartition(":")[2])
    return "" if taken == port else f" --port {taken}"
