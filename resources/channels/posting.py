"""One JSON POST for the channels that speak HTTP: with time limits, without redirects, and without the address in any message.

The address of a webhook is a secret. Therefore no text of an exception goes on from here, only its kind.
Standard library only: two POST requests do not justify a dependency, and urllib honours the proxies of a company network.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from resources.notifier import Undelivered

SOCKET_SECONDS: Final = 5.0
LONGEST_WAIT_SECONDS: Final = 3600.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_LATER: Final = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Answer:
    """What the other side answered; ``body`` is cut to 4,096 bytes."""

    status: int
    body: bytes
    retry_after: float | None

    @property
    def is_worth_retrying(self) -> bool:
        """Whether the same request may succeed later: too many requests, a timeout there, or a fault of the server."""
        return self.status in _LATER or self.status >= 500


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: following one would send the message elsewhere, or turn it into a GET."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine."""
    return host in _LOOPBACK


def post_json(url: str, content: Mapping[str, Any], setting: str) -> Answer:
    """POST ``content`` as JSON to ``url``, the value of ``setting``, and return the answer whatever its status is.

    Raises:
        Undelivered: the address cannot be used, or nothing answered.
    """
    host = _checked_host(url, setting)
    proxies = [urllib.request.ProxyHandler({})] if is_loopback(host) else []
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    opener = urllib.request.build_opener(_NoRedirect(), secure, *proxies)
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    request = urllib.request.Request(  # noqa: S310  the scheme has been checked
        url, data=body, headers={"Content-Type": "application/json; charset=utf-8", "User-Agent": "issue-mlops"}, method="POST"
    )
    try:
        with opener.open(request, timeout=SOCKET_SECONDS) as reply:
            return Answer(reply.status, reply.read(4096), None)
    except urllib.error.HTTPError as error:
        with error:
            return _refused(error)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = fault(error)
    # Raised outside the handler: a traceback of the cause would show the address.
    raise Undelivered(True, reason)


def _checked_host(url: str, setting: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or not re.fullmatch(r"[!-~]+", url):
        raise Undelivered(False, f"the setting {setting} is not a web address")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise Undelivered(False, f"the setting {setting} has to begin with https://")
    return host


def _refused(error: urllib.error.HTTPError) -> Answer:
    try:
        body = error.read(4096)
    except (OSError, http.client.HTTPException, ValueError):
        body = b""
    return Answer(error.code, body, _seconds(error.headers.get("Retry-After")))


def _seconds(header: str | None) -> float | None:
    """``Retry-After`` in seconds, at most an hour: seconds or a date (RFC 9110, 10.2.3); None where it is neither."""
    if header is None:
        return None
    if re.fullmatch(r"\d{1,9}", header.strip()):
        return min(float(header), LONGEST_WAIT_SECONDS)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), LONGEST_WAIT_SECONDS)


def fault(error: BaseException) -> str:
    """What went wrong with a connection, in words that hold no address and no secret."""
    cause = error.reason if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of the server cannot be trusted ({cause.verify_message})"
    if isinstance(cause, TimeoutError):
        return f"no answer within {SOCKET_SECONDS:g} s"
    if isinstance(cause, ConnectionRefusedError):
        return "nothing answers there (connection refused)"
    if isinstance(cause, OSError) and isinstance(cause.errno, int) and cause.strerror and not isinstance(cause, ssl.SSLError):
        return f"the connection failed ({cause.strerror})"
    return f"the connection failed ({type(cause).__name__})"
