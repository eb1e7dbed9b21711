"""How requests to GitHub are signed, and through what they go: checked settings, PyGithub's authentication and its sender.

Nothing is sent from here.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from mlops_assets.errors import UserError
from resources.settings import Settings

if TYPE_CHECKING:
    from types import TracebackType

    from github.Auth import Auth
    from github.Requester import Requester
    from urllib3.connectionpool import ConnectionPool
    from urllib3.response import BaseHTTPResponse
    from urllib3.util import Retry

API_VERSION: Final = "2022-11-28"
USER_AGENT: Final = "issue-mlops"
#: Seconds for connecting, and for each silence while an answer comes.
TIMEOUT_SECONDS: Final = 10
#: "Wait at least one second between requests that change something": GitHub's own advice for github.com.
PAUSE_BETWEEN_WRITES: Final = 1.0
DOT_COM: Final = "https://api.github.com"
_HEADER_SAFE: Final = re.compile("[!-~]*")
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))


class Moved(Exception):
    """GitHub answered with a redirect, which is not followed."""

    def __init__(self, status: int, location: str) -> None:
        self.status = status
        to = urlsplit(location)
        super().__init__(f"moved to {to.scheme}://{to.hostname}{to.path}"[:300])


def checked_access(settings: Settings) -> None:
    """Check that the settings say where to go and as whom.

    Raises:
        UserError: with every setting that is missing or cannot be used.
    """
    app = (settings.github_app_id, settings.github_app_private_key)
    token = _token(settings)
    missing = [] if settings.github_repository else ["MLOPS_GITHUB_REPOSITORY (`owner/name`)"]
    if not token and app == (None, None):
        missing.append("MLOPS_GITHUB_TOKEN, or MLOPS_GITHUB_APP_ID with MLOPS_GITHUB_APP_PRIVATE_KEY")
    elif not token and None in app:
        missing.append("MLOPS_GITHUB_APP_ID" if app[0] is None else "MLOPS_GITHUB_APP_PRIVATE_KEY (a PEM file)")
    if missing:
        raise UserError(
            "issues are to live on GitHub (tracker = github), and settings for it are missing",
            field=", ".join(missing),
            next_step="set them in the environment or in mlops.toml; MLOPS_TRACKER=folder needs none",
        )
    if token and app != (None, None):
        raise UserError(
            "both a token and a GitHub App are set",
            field="MLOPS_GITHUB_TOKEN, MLOPS_GITHUB_APP_ID, MLOPS_GITHUB_APP_PRIVATE_KEY",
            next_step="remove one of the two: they are different accounts, and comments of one are not comments of the other",
        )
    if not _HEADER_SAFE.fullmatch(token):
        raise UserError("a token is one word of letters and digits", field="MLOPS_GITHUB_TOKEN", next_step="copy it again")
    url = urlsplit(settings.github_api_url)
    if url.username or not url.hostname or not (url.scheme == "https" or (url.scheme == "http" and url.hostname in _LOOPBACK)):
        raise UserError(
            "the token would travel unprotected, or nowhere",
            field="MLOPS_GITHUB_API_URL",
            given=f"{url.scheme}://{url.hostname}",
            allowed=(DOT_COM, "https://HOST/api/v3"),
        )


def _token(settings: Settings) -> str:
    return settings.github_token.get_secret_value().strip() if settings.github_token is not None else ""


def signing_auth(settings: Settings) -> Auth:
    """What signs: the token, or the App's key.

    Raises:
        UserError: the key file cannot be read or holds no private key.
    """
    from github import Auth

    if token := _token(settings):
        return Auth.Token(token)
    path = settings.github_app_private_key or Path()
    mistake = UserError(
        "the private key of the GitHub App cannot be used",
        field="MLOPS_GITHUB_APP_PRIVATE_KEY",
        given=str(path),
        next_step="download a new key (a PEM file) in the App's settings on GitHub",
    )
    from jwt.exceptions import PyJWTError

    try:
        auth = Auth.AppAuth(str(settings.github_app_id), path.read_text(encoding="ascii"))
        auth.create_jwt()
    except (OSError, ValueError, TypeError, AssertionError, PyJWTError):
        raise mistake from None  # the cause may quote the file
    return auth


def plain_requester(settings: Settings, auth: Auth) -> Requester:
    """PyGithub's sender, without any of its own repetitions and redirects."""
    import github

    # Below INFO, PyGithub writes whole exchanges, among them the token that GitHub issues to an App.
    logging.getLogger("github.Requester").setLevel(logging.INFO)
    base = settings.github_api_url.rstrip("/")
    return github.Github(
        auth=auth,
        base_url=base,
        timeout=TIMEOUT_SECONDS,
        user_agent=USER_AGENT,
        per_page=100,
        retry=_single_try(),
        seconds_between_requests=0,
        seconds_between_writes=PAUSE_BETWEEN_WRITES if base == DOT_COM else 0,
        api_version=API_VERSION,
    ).requester


def _single_try() -> Retry:
    """Nothing is repeated below us, and a redirect ends the request.

    PyGithub itself loses the query of a redirected list, and a change that followed an issue to where it was transferred
    would be made in another repository.
    """
    from urllib3.util import Retry

    class SingleTry(Retry):
        def increment(
            self,
            method: str | None = None,
            url: str | None = None,
            response: BaseHTTPResponse | None = None,
            error: Exception | None = None,
            _pool: ConnectionPool | None = None,
            _stacktrace: TracebackType | None = None,
        ) -> Self:
            """Called for each answer that might be tried again: a redirect goes to the caller, with where it leads."""
            if response is not None and response.status in REDIRECTS:
                response.drain_conn()
                raise Moved(response.status, response.headers.get("Location", ""))
            return super().increment(method, url, response, error, _pool, _stacktrace)

    return SingleTry(
        total=0, status_forcelist=REDIRECTS, allowed_methods=None, respect_retry_after_header=False, raise_on_status=False
    )
