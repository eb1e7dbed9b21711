"""What a person tells a stand-in started by hand, under ``/_standin``: faults, accounts, and what has been asked of it.

GitHub has nothing like it. Bodies and answers are JSON:

    POST   /_standin/faults   {"what": "lost", "method": "POST", "path": "/comments$", "times": 1, "seconds": 60}
    GET    /_standin/faults   those still to come         DELETE /_standin/faults   none any more
    POST   /_standin/users    {"login": "stranger", "permission": "read", "bot": false} -> {"login": …, "token": …}
    GET    /_standin/requests the request log             DELETE /_standin/requests forgets it
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.standins.github.exchange import Refused, Request, Response

if TYPE_CHECKING:
    from tests.standins.github.standin import GitHubStandIn

ROOT = "/_standin"
_FAULT, _USER = {"what", "method", "path", "times", "seconds"}, {"login", "permission", "bot"}


def answer(github: GitHubStandIn, request: Request) -> Response | None:
    """Answer a request under ``/_standin``; None for any other."""
    if not request.path.startswith(f"{ROOT}/"):
        return None
    try:
        return _answer(github, request)
    except Refused as refused:
        return refused.response


def _answer(github: GitHubStandIn, request: Request) -> Response | None:
    match (request.method, request.path.removeprefix(f"{ROOT}/")):
        case ("GET", "faults"):
            return Response(200, [asdict(fault) for fault in github.faults])
        case ("POST", "faults"):
            return Response(201, asdict(_asked(github.fail, _body(request, _FAULT))))
        case ("DELETE", "faults"):
            github.clear_faults()
            return Response(204)
        case ("POST", "users"):
            body = _body(request, _USER)
            return Response(201, {"login": body.get("login"), "token": _asked(github.add_user, body)})
        case ("GET", "requests"):
            return Response(200, [asdict(each) | {"at": each.at.isoformat()} for each in github.requests])
        case ("DELETE", "requests"):
            github.clear_requests()
            return Response(204)
    return None


def _body(request: Request, known: set[str]) -> dict[str, Any]:
    body = request.json()
    if not isinstance(body, dict) or not body or body.keys() - known:
        raise Refused(422, f"a JSON object with some of: {', '.join(sorted(known))}")
    return body


def _asked(what: Any, body: dict[str, Any]) -> Any:
    try:
        return what(**body)
    except (TypeError, ValueError) as error:
        raise Refused(422, str(error)) from None
