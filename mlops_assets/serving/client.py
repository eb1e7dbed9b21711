"""Asking a running endpoint: health, predictions and drift over HTTP with the standard library.

The reading side only; deploying is in ``deployment``.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mlops_assets.errors import MlopsError, UserError

#: Endpoints are on this machine or in this network: a proxy that is set for the internet must not be asked.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class DeploymentFailed(UserError):
    """A version did not become active; the one before it goes on serving."""


class Health(NamedTuple):
    """What a healthy server says of itself."""

    model_id: str
    version: str
    digest: str


def ping(url: str, timeout: float = 2.0) -> Health | None:
    """What the server at ``url`` says of itself; None if it is not healthy or not one of ours."""
    try:
        with _opener.open(f"{url}/ping", timeout=timeout) as reply:
            content = json.load(reply)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    if not isinstance(content, dict):
        return None
    fields = [content.get(name) for name in Health._fields]
    return Health(*map(str, fields)) if all(isinstance(value, str) for value in fields) else None


def predict(url: str, rows: Sequence[Mapping[str, Any]], *, timeout: float = 30.0) -> dict[str, Any]:
    """The server's answer for ``rows``: ``{"predictions": [...], "model_version": "vX.Y.Z"}``.

    Raises:
        UserError: nothing answers at ``url``, or the server refused the rows; the text says which field and why.
        MlopsError: the server failed, or what answers is not a model server.
    """
    # Half of a surrogate pair is no UTF-8, but JSON has an escape for it: the server then names its field.
    body = json.dumps({"rows": [dict(row) for row in rows]}, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return predict_file(url, body, "application/json", timeout=timeout)


def predict_file(url: str, content: bytes, media_type: str, *, timeout: float = 30.0) -> dict[str, Any]:
    """The server's answer for a body as it is: an image, a cloud, or JSON; as ``predict``, also in what it raises."""
    answer = _ask(_address(url, "/invocations"), timeout, content, media_type)
    if "predictions" not in answer:
        raise MlopsError(f"{_address(url, '/invocations')} answered without predictions: it is not a model server")
    return answer


def drift(url: str, *, timeout: float = 10.0) -> dict[str, Any]:
    """What the server says of its latest requests beside the data it was trained on; see ``monitoring.DriftMonitor.page``.

    Raises:
        UserError: nothing answers at ``url``.
        MlopsError: what answers is not a model server, or none that measures drift.
    """
    answer = _ask(_address(url, "/drift"), timeout)
    if "verdict" not in answer or not isinstance(answer.get("quantities"), list):
        raise MlopsError(f"{_address(url, '/drift')} answered without a verdict: it is not a model server")
    return answer


def _address(url: str, route: str) -> str:
    """Raises ``UserError`` for what is no address."""
    if not url.startswith(("http://", "https://")):
        raise UserError("not the address of an endpoint", field="url", given=url, allowed=("http://…", "https://…"))
    return url.rstrip("/").removesuffix("/invocations") + route


def _ask(address: str, timeout: float, body: bytes | None = None, media_type: str = "") -> dict[str, Any]:
    headers = {"content-type": media_type} if body is not None else {}
    request = urllib.request.Request(address, data=body, headers=headers, method="GET" if body is None else "POST")  # noqa: S310
    try:
        with _opener.open(request, timeout=timeout) as reply:
            answer = json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            raise _failure(address, error.code, error.read(65536)) from error
    except (OSError, http.client.HTTPException) as error:
        text = f"nothing answers at {address}: {error}"
        raise UserError(text, next_step="`mlops endpoints` shows what runs; running the line's deployment starts it") from error
    except ValueError as error:
        raise MlopsError(f"{address} did not answer with JSON: it is not a model server") from error
    if not isinstance(answer, dict):
        raise MlopsError(f"{address} did not answer with an object: it is not a model server")
    return answer


def _failure(address: str, status: int, body: bytes) -> MlopsError:
    try:
        problems = json.loads(body)["error"]["problems"]
        lines = [
            str(problem["message"]) + (f" (allowed: {problem['allowed']})" if "allowed" in problem else "")
            for problem in problems
        ]
    except (ValueError, KeyError, TypeError):
        return MlopsError(f"{address} answered {status}")
    text = f"{address} answered {status}: " + "\n  ".join(lines)
    return UserError(text) if 400 <= status < 500 else MlopsError(text)
