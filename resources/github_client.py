"""The connection to GitHub's REST API: who we are, one request at a time, limits waited out, and only safe repetitions.

PyGithub signs and sends; nothing below this module repeats or follows anything by itself. What the requests are for is in
``github_tracker`` and ``github_history``.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from mlops_assets.errors import RateLimited, Unavailable, UserError
from resources.github_access import REDIRECTS, Moved, checked_access, plain_requester, signing_auth
from resources.github_payloads import App, Installation, InstallationToken, Repository, User, understood
from resources.settings import Settings

if TYPE_CHECKING:
    from github.Requester import Requester

#: Seconds that all waiting within ``WINDOW_SECONDS`` may take: a tick has sixty, and must end well before.
PATIENCE_SECONDS: Final = 25.0
WINDOW_SECONDS: Final = 60.0
#: Pauses before a request that failed with 5xx or a lost connection is repeated.
BACKOFF_SECONDS: Final = (0.5, 1.0, 2.0, 4.0)
#: After a request was given up, how long the next ones fail at once instead of waiting for the same.
DOWN_SECONDS: Final = 10.0
#: GitHub asks for "at least one minute" where a secondary limit names no time.
UNNAMED_WAIT_SECONDS: Final = 60.0
#: No limit of GitHub's lasts longer than an hour; a larger number is somebody's mistake.
LONGEST_WAIT_SECONDS: Final = 3700.0
PER_PAGE: Final = 100
MAX_PAGES: Final = 1000
#: An installation's token lives an hour; it is renewed before the last minutes.
RENEW_BEFORE: Final = timedelta(minutes=5)
_SECONDARY: Final = ("secondary rate limit", "abuse detection", "please retry your request again later", "wait a few minutes")


class OutcomeUnknown(Unavailable):
    """A write was answered with 5xx or not at all: it may have happened, and whoever asked has to look."""


class Refused(UserError):
    """GitHub answered with a 4xx that waiting does not mend."""

    def __init__(self, status: int, request: str, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(f"GitHub refused {request}: {status} {reason}", next_step=_NEXT_STEPS.get(status))


_NEXT_STEPS: Final = {
    401: "the token is wrong, expired or revoked: set MLOPS_GITHUB_TOKEN (or the settings of the GitHub App) anew",
    403: "give the token or the App the permissions issues: write, contents: write and metadata: read on the repository",
    404: "it does not exist, or the token may not see it: check MLOPS_GITHUB_REPOSITORY and the token's repositories",
    410: "it was deleted, or issues are switched off in the repository",
    **dict.fromkeys(REDIRECTS, "it has moved: set MLOPS_GITHUB_REPOSITORY and MLOPS_GITHUB_API_URL to where it is now"),
}


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers in lower case, decoded JSON."""

    status: int
    headers: Mapping[str, str]
    content: Any

    @property
    def unchanged(self) -> bool:
        """Whether it is what the ETag stood for."""
        return self.status == 304

    @property
    def etag(self) -> str | None:
        """The ETag to ask with the next time."""
        return self.headers.get("etag")

    @property
    def next_parameters(self) -> dict[str, str] | None:
        """The query of the next page. Its host and path are not looked at: whatever a header says, we ask where we were."""
        for link in self.headers.get("link", "").split(","):
            target, _, relation = link.partition(";")
            if 'rel="next"' in relation:
                return dict(parse_qsl(urlsplit(target.strip().strip("<>")).query))
        return None


class GitHubClient:
    """One account on one repository. Safe to share between threads; a request is sent by one of them at a time."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        checked_access(settings)
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._sending = threading.Lock()
        self._waited: deque[tuple[float, float]] = deque()
        self._limited_until = 0.0
        self._down_until = 0.0
        self._installation: int | None = settings.github_app_installation
        self._renew_at = datetime.min.replace(tzinfo=UTC)
        self._signed: Requester | None = None

    def __repr__(self) -> str:
        return f"GitHubClient({self.name} at {self._settings.github_api_url})"

    @property
    def name(self) -> str:
        """``owner/name`` of the repository."""
        return str(self._settings.github_repository)

    @cached_property
    def login(self) -> str:
        """The account that writes: the token's, or the App's ``slug[bot]``."""
        if self._settings.github_app_id is None:
            try:
                return understood(User, self.get("/user").content).login
            except Refused as refused:
                if refused.status != 403:
                    raise
                raise UserError(
                    "this token belongs to no account, as one that a workflow is given; no comment could be told to be ours",
                    field="MLOPS_GITHUB_TOKEN",
                    next_step="use a token of an account, or the settings of a GitHub App",
                ) from refused
        answer = self._request(self._app, "GET", "/app", repeatable=True)
        return f"{understood(App, answer.content).slug}[bot]"

    @cached_property
    def repository(self) -> Repository:
        """The repository with its default branch."""
        return understood(Repository, self.get("").content)

    def get(self, path: str, parameters: Mapping[str, object] | None = None, etag: str | None = None) -> Answer:
        """Read ``path``, relative to the repository unless it begins with a slash; 304 where ``etag`` still holds.

        Raises:
            Refused: GitHub answered 4xx.
            RateLimited: and the wait is longer than this call may take.
            Unavailable: no answer after several tries.
        """
        headers = {"If-None-Match": etag} if etag else {}
        return self._request(self._requester, "GET", self._path(path), parameters, headers, repeatable=True)

    def pages(self, path: str, parameters: Mapping[str, object] | None = None) -> Iterator[Answer]:
        """Read a list page by page; the errors are those of ``get``."""
        asked: Mapping[str, object] = {"per_page": PER_PAGE, **(parameters or {})}
        for _ in range(MAX_PAGES):
            answer = self.get(path, asked)
            yield answer
            following = answer.next_parameters
            if following is None:
                return
            asked = following
        raise Unavailable(f"GitHub's list {path} has no end after {MAX_PAGES} pages")

    def write(self, verb: str, path: str, body: object = None, *, repeatable: bool) -> Answer:
        """Send a change. ``repeatable``: doing it twice is as good as once, so a failed one may be sent again.

        Raises:
            OutcomeUnknown: one that is not repeatable failed with 5xx or without an answer.
            Refused, RateLimited, Unavailable: as for ``get``; the change was not made.
        """
        return self._request(self._requester, verb, self._path(path), None, {}, body, repeatable=repeatable)

    def pause(self, seconds: float) -> None:
        """Wait before looking again, within what is left of our patience.

        Raises:
            Unavailable: nothing is left of it.
        """
        if not self._may_wait(seconds):
            raise Unavailable("GitHub keeps failing; try again later")
        self._sleep(seconds)

    # --- one request --------------------------------------------------------------------------------------------

    def _path(self, path: str) -> str:
        return path if path.startswith("/") else f"/repos/{self.name}/{path}".rstrip("/")

    def _request(
        self,
        requester: Callable[[], Requester],
        verb: str,
        path: str,
        parameters: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        *,
        repeatable: bool,
    ) -> Answer:
        import requests

        failures = limits = 0
        began = self._clock()
        while True:
            self._heed()
            signed = requester()
            try:
                with self._sending:
                    status, answered, text = signed.requestJson(verb, path, dict(parameters or {}), dict(headers or {}), body)
            except Moved as moved:
                raise Refused(moved.status, f"{verb} {path}", str(moved)) from None
            except requests.RequestException as error:
                status, answered, reason = 0, {}, f"no answer ({type(error).__name__})"
            else:
                wait = rate_limit_wait(status, answered, text, self._clock())
                if wait is not None:  # it was refused before anything was done, so that sending it again is safe
                    limits += 1
                    self._limited_until = self._clock() + max(wait, 2.0 ** (limits - 1))
                    continue
                if 0 < status < 500:
                    return _answer(f"{verb} {path}", status, answered, text, repeatable)
                reason = f"answer {status}"
            if not repeatable:
                raise OutcomeUnknown(f"GitHub: {verb} {path} failed: {reason}")
            failures += 1
            pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1]
            slow = self._clock() - began > PATIENCE_SECONDS  # every try may last as long as its timeout
            if failures > len(BACKOFF_SECONDS) or slow or not self._may_wait(pause):
                self._down_until = self._clock() + DOWN_SECONDS
                raise Unavailable(f"GitHub: {verb} {path} failed {failures} times: {reason}")
            self._sleep(pause)

    def _heed(self) -> None:
        """Wait for what GitHub asked for, or fail without a request where that takes too long."""
        now = self._clock()
        if now < self._down_until:
            raise Unavailable("GitHub has just failed repeatedly; it is asked again in a few seconds")
        wait = self._limited_until - now
        if wait <= 0:
            return
        if not self._may_wait(wait):
            raise RateLimited("GitHub", datetime.fromtimestamp(self._limited_until, UTC))
        self._sleep(wait)

    def _may_wait(self, seconds: float) -> bool:
        """Whether waiting fits into our patience; what is granted is noted down."""
        now = self._clock()
        while self._waited and self._waited[0][0] < now - WINDOW_SECONDS:
            self._waited.popleft()
        if sum(waited for _, waited in self._waited) + seconds > PATIENCE_SECONDS:
            return False
        self._waited.append((now, seconds))
        return True

    # --- who we are ---------------------------------------------------------------------------------------------

    @cached_property
    def _base(self) -> Requester:
        return plain_requester(self._settings, signing_auth(self._settings))

    def _app(self) -> Requester:
        return self._base

    def _requester(self) -> Requester:
        """What signs requests: the token, or the App's for the next hour."""
        if self._settings.github_app_id is None:
            return self._base
        if self._signed is None or datetime.fromtimestamp(self._clock(), UTC) >= self._renew_at:
            from github import Auth

            if self._installation is None:
                found = self._request(self._app, "GET", f"/repos/{self.name}/installation", repeatable=True)
                self._installation = understood(Installation, found.content).id
            path = f"/app/installations/{self._installation}/access_tokens"
            # one more token harms nothing: it ends by itself
            issued = understood(InstallationToken, self._request(self._app, "POST", path, body={}, repeatable=True).content)
            self._signed = self._base.withAuth(Auth.Token(issued.token))
            self._renew_at = issued.expires_at - RENEW_BEFORE
        return self._signed


def rate_limit_wait(status: int, headers: Mapping[str, str], text: str, now: float) -> float | None:
    """Seconds that GitHub asks us to wait; None where the answer is no rate limit.

    Source: docs.github.com, "Rate limits for the REST API", "Exceeding the rate limit": 403 or 429; with ``retry-after``, or
    ``x-ratelimit-remaining: 0`` and ``x-ratelimit-reset`` in UTC seconds, or else at least one minute.
    """
    if status not in (403, 429):
        return None
    after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    if after.isdecimal():
        return min(float(after), LONGEST_WAIT_SECONDS)
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return min(max(0.0, float(reset) - now) + 1.0, LONGEST_WAIT_SECONDS)
    secondary = any(phrase in text.lower() for phrase in _SECONDARY)
    return UNNAMED_WAIT_SECONDS if secondary or status == 429 else None


def _answer(request: str, status: int, headers: Mapping[str, str], text: str, repeatable: bool) -> Answer:
    try:
        content = json.loads(text) if text else None
    except ValueError:
        content = None
        if status < 300:
            kind = Unavailable if repeatable else OutcomeUnknown
            raise kind(f"GitHub: {request} was answered {status} with something that is not JSON") from None
    if status >= 300 and status != 304:
        raise Refused(status, request, _reason(content))
    return Answer(status, headers, content)


def _reason(content: Any) -> str:
    """What GitHub says about a refusal, on one line."""
    if not isinstance(content, dict):
        return "without a reason"
    said = [str(content.get("message", ""))]
    errors = content.get("errors")
    for error in errors if isinstance(errors, list) else []:
        named = [error[key] for key in ("field", "code", "message") if key in error] if isinstance(error, dict) else [error]
        said.append(" ".join(map(str, named)))
    return "; ".join(part for part in said if part)[:300].replace("\n", " ") or "without a reason"
