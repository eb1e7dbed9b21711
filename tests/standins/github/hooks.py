"""Webhooks of a repository and their deliveries; an administrator's business, so that others are told 404."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.standins.github import deliveries, shapes
from tests.standins.github.exchange import Refused, Response, invalid, not_found
from tests.standins.github.routing import Call, operation, page
from tests.standins.github.state import Delivery, Hook, Repository

_HOOKS = "/repos/{owner}/{repo}/hooks"
_HOOK = _HOOKS + "/{hook_id}"


def _admin(call: Call) -> Repository:
    return call.repository("admin", "")


def _hook(call: Call) -> tuple[Repository, Hook]:
    repository = _admin(call)
    hook = repository.hooks.get(int(call.parameters["hook_id"]))
    if hook is None:
        raise not_found()
    return repository, hook


def _is_address(url: Any) -> bool:
    if not isinstance(url, str) or not url.isascii() or not url.isprintable():
        return False
    try:
        address = urlsplit(url)
        return address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # a port that is no number, or too large
        return False


def _configure(hook: Hook, config: Any) -> None:
    if not isinstance(config, dict):
        raise invalid("Hook", "config", "invalid")
    url = config.get("url", hook.url)
    if not _is_address(url):
        raise invalid("Hook", "url", "missing_field" if not url else "custom", "url is not a valid http or https address")
    content_type = config.get("content_type", hook.content_type)
    if content_type not in ("json", "form"):
        raise invalid("Hook", "content_type", "invalid")
    hook.url, hook.content_type = url, content_type
    secret = config.get("secret", hook.secret)
    hook.secret = str(secret) if secret else None
    hook.insecure_ssl = str(config.get("insecure_ssl", hook.insecure_ssl))


def _wants(call: Call, hook: Hook) -> None:
    events, added, removed = (
        _names(call.body.get(name, default))
        for name, default in (("events", hook.events), ("add_events", []), ("remove_events", []))
    )
    wanted = [event for event in dict.fromkeys([*events, *added]) if event not in removed]
    if not wanted:
        raise invalid("Hook", "events", "invalid")
    hook.events, hook.active = wanted, bool(call.body.get("active", hook.active))


def _names(events: Any) -> list[str]:
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        raise invalid("Hook", "events", "invalid")
    return events


def _same(one: Hook, other: Hook) -> bool:
    return (one.url, one.content_type, set(one.events)) == (other.url, other.content_type, set(other.events))


@operation("GET", _HOOKS)
def list_hooks(call: Call) -> Response:
    """Hooks of a repository."""
    repository = _admin(call)
    return page(call, list(repository.hooks.values()), lambda hook: shapes.hook(call.world, repository, hook))


@operation("POST", _HOOKS)
def create_hook(call: Call) -> Response:
    """A new hook, told of by a ping."""
    repository = _admin(call)
    if call.body.get("name", "web") != "web":
        raise invalid("Hook", "name", "invalid")
    hook = Hook(call.world.next_id(), "", None, ["push"], call.now, call.now, content_type="form")
    _configure(hook, call.body.get("config"))
    _wants(call, hook)
    if any(_same(each, hook) for each in repository.hooks.values()):
        message = "Hook already exists on this repository"
        raise Refused(422, "Validation Failed", [{"resource": "Hook", "code": "custom", "message": message}])
    repository.hooks[hook.id] = hook
    content = shapes.hook(call.world, repository, hook)
    if hook.active:
        deliveries.ping(call.world, repository, hook, call.user())
    return Response(201, content, {"Location": content["url"]})


@operation("GET", _HOOK)
def get_hook(call: Call) -> Response:
    """One hook."""
    return Response(200, shapes.hook(call.world, *_hook(call)))


@operation("PATCH", _HOOK)
def update_hook(call: Call) -> Response:
    """Change where a hook points, and what it wants."""
    repository, hook = _hook(call)
    if "config" in call.body:
        _configure(hook, call.body["config"])
    _wants(call, hook)
    hook.updated_at = call.now
    return Response(200, shapes.hook(call.world, repository, hook))


@operation("DELETE", _HOOK)
def delete_hook(call: Call) -> Response:
    """Remove a hook."""
    repository, hook = _hook(call)
    del repository.hooks[hook.id]
    return Response(204)


@operation("GET", _HOOK + "/config")
def get_config(call: Call) -> Response:
    """Where a hook points."""
    return Response(200, shapes.hook_config(_hook(call)[1]))


@operation("PATCH", _HOOK + "/config")
def update_config(call: Call) -> Response:
    """Change where a hook points."""
    hook = _hook(call)[1]
    _configure(hook, call.body)
    hook.updated_at = call.now
    return Response(200, shapes.hook_config(hook))


@operation("POST", _HOOK + "/pings")
def ping_hook(call: Call) -> Response:
    """Send a ping."""
    repository, hook = _hook(call)
    deliveries.ping(call.world, repository, hook, call.user())
    return Response(204)


@operation("POST", _HOOK + "/tests")
def test_hook(call: Call) -> Response:
    """Send the last push again, to a hook that wants pushes."""
    from tests.standins.github.commits import push_payload

    repository, hook = _hook(call)
    head = repository.head()
    if head is not None and {"push", "*"} & set(hook.events):
        payload = push_payload(call, repository, f"refs/heads/{repository.default_branch}", head, head)
        deliveries.send(call.world, repository, hook, "push", None, payload)
    return Response(204)


def _item(repository: Repository, delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "guid": delivery.guid,
        "delivered_at": shapes.when(delivery.delivered_at),
        "redelivery": delivery.redelivery,
        "duration": delivery.duration,
        "status": delivery.status,
        "status_code": delivery.status_code,
        "event": delivery.event,
        "action": delivery.action,
        "installation_id": None,
        "repository_id": repository.id,
        "throttled_at": None,
    }


@operation("GET", _HOOK + "/deliveries")
def list_deliveries(call: Call) -> Response:
    """Deliveries of a hook, newest first."""
    repository, hook = _hook(call)
    wanted = call.request.parameter("status")
    found = [each for each in reversed(hook.deliveries) if not wanted or (each.status == "OK") == (wanted == "success")]
    return page(call, found, lambda delivery: _item(repository, delivery))


def _delivery(call: Call, hook: Hook) -> Delivery:
    found = next((each for each in hook.deliveries if each.id == int(call.parameters["delivery_id"])), None)
    if found is None:
        raise not_found()
    return found


@operation("GET", _HOOK + "/deliveries/{delivery_id}")
def get_delivery(call: Call) -> Response:
    """One delivery with what was sent and answered."""
    repository, hook = _hook(call)
    delivery = _delivery(call, hook)
    raw = delivery.payload.decode()
    payload = json.loads(parse_qs(raw)["payload"][0] if hook.content_type == "form" else raw)
    content = _item(repository, delivery) | {
        "url": hook.url,
        "request": {"headers": delivery.request_headers, "payload": payload},
        "response": {"headers": delivery.response_headers, "payload": delivery.response_body},
    }
    return Response(200, content)


@operation("POST", _HOOK + "/deliveries/{delivery_id}/attempts")
def redeliver(call: Call) -> Response:
    """Send a delivery again under its own id."""
    repository, hook = _hook(call)
    deliveries.again(call.world, repository, hook, _delivery(call, hook))
    return Response(202, {})
