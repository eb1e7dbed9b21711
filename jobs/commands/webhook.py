"""`mlops webhook`: receiving GitHub's deliveries, so that an issue is looked at within seconds instead of at the next poll."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from jobs.command_line import answers, cli

if TYPE_CHECKING:
    from resources.platform import Platform
    from resources.webhook import Receiver


@cli.command("webhook")
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback unless told; GitHub reaches it through a proxy.")
@click.option("--port", default=3080, show_default=True, type=click.IntRange(1, 65535))
@answers
def webhook(host: str, port: int, quiet: bool) -> Any:
    """Receive GitHub's deliveries at POST /webhook and keep them for the sensors of `mlops ui`.

    At GitHub: payload URL your TLS proxy's address and /webhook, the secret MLOPS_WEBHOOK_SECRET, the events Issues, Issue
    comments and Pushes. Without this command nothing is lost, issues are polled; only pushes are known from it alone.
    """
    import logging

    from resources.platform import Platform
    from resources.webhook import serve

    platform = Platform()
    receiver = receiver_of(platform)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if not quiet:
        click.echo(f"deliveries of {platform.settings.github_repository} are received at http://{host}:{port}/webhook", err=True)
    serve(receiver, host, port)
    platform.inbox.close()
    logging.shutdown()
    # The server's own threads may still call into Python; an interpreter that is torn down under them aborts.
    os._exit(0)


def receiver_of(platform: Platform) -> Receiver:
    """The receiver that the settings describe.

    Raises:
        UserError: a setting is missing without which deliveries could not be verified or would serve nothing.
    """
    from mlops_assets.errors import UserError
    from resources.webhook import Receiver

    settings = platform.settings
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret is not None else ""
    if not secret:
        raise UserError(
            "without a secret nobody can tell GitHub's deliveries from anybody else's",
            field="MLOPS_WEBHOOK_SECRET",
            given="none",
            next_step="make one with `openssl rand -hex 32`, set it here and at the repository's webhook",
        )
    if settings.github_repository is None:
        raise UserError(
            "deliveries are taken from one repository only",
            field="MLOPS_GITHUB_REPOSITORY",
            given="none",
            allowed=("owner/name",),
        )
    if settings.tracker != "github":
        raise UserError(
            "no sensor would read what is received: issues live in a folder",
            field="MLOPS_TRACKER",
            given=settings.tracker,
            allowed=("github",),
        )
    return Receiver(platform.inbox, secret, settings.github_repository)
