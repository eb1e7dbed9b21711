"""Events on their way to webhooks: payloads, signatures, and the thread that sends them over HTTP in order.

Source: https://docs.github.com/webhooks/webhook-events-and-payloads#delivery-headers
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import queue
import threading
import time
import uuid
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.standins.github import shapes
from tests.standins.github.routing import Call
from tests.standins.github.state import Delivery, Hook, Repository, User, World

#: GitHub gives a receiver ten seconds.
PATIENCE_SECONDS = 10.0


def emit(call: Call, repository: Repository, event: str, action: str | None, **content: Any) -> None:
    """Hand an event to every hook that wants it."""
    if "issue" in content:
        content["issue"] = content["issue"] | {"draft": False}
    about = shapes.pushed_repository if event == "push" else shapes.repository
    payload = ({"action": action} if action else {}) | content
    payload |= {"repository": about(call.world, repository), "sender": shapes.user(call.world, call.user())}
    for hook in repository.hooks.values():
        if hook.active and ({"*", event} & set(hook.events)):
            send(call.world, repository, hook, event, action, payload)


def ping(world: World, repository: Repository, hook: Hook, sender: User) -> None:
    """The first event of a new hook."""
    payload = {
        "zen": "Keep it logically awesome.",
        "hook_id": hook.id,
        "hook": shapes.hook(world, repository, hook),
        "repository": shapes.repository(world, repository),
        "sender": shapes.user(world, sender),
    }
    send(world, repository, hook, "ping", None, payload)


def send(world: World, repository: Repository, hook: Hook, event: str, action: str | None, payload: dict[str, Any]) -> Delivery:
    """Put one event on its way to one hook."""
    raw = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    if hook.content_type == "form":
        raw = urlencode({"payload": raw.decode()}).encode()
    guid = str(uuid.uuid4())
    headers = headers_of(repository, hook, guid, event, raw)
    delivery = Delivery(world.next_id(), guid, event, action, raw, headers, world.now(), redelivery=False)
    hook.deliveries.append(delivery)
    world.deliver(repository, hook, delivery)
    return delivery


def again(world: World, repository: Repository, hook: Hook, delivery: Delivery) -> Delivery:
    """Send the same bytes under the same delivery id once more."""
    headers = headers_of(repository, hook, delivery.guid, delivery.event, delivery.payload)
    guid, event, raw = delivery.guid, delivery.event, delivery.payload
    repeated = Delivery(world.next_id(), guid, event, delivery.action, raw, headers, world.now(), redelivery=True)
    hook.deliveries.append(repeated)
    world.deliver(repository, hook, repeated)
    return repeated


def headers_of(repository: Repository, hook: Hook, guid: str, event: str, raw: bytes) -> dict[str, str]:
    """What GitHub sends with a payload; signed over the raw bytes where the hook has a secret."""
    form = hook.content_type == "form"
    headers = {
        "Accept": "*/*",
        "Content-Type": "application/x-www-form-urlencoded" if form else "application/json",
        "User-Agent": "GitHub-Hookshot/standin",
        "X-GitHub-Delivery": guid,
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": str(hook.id),
        "X-GitHub-Hook-Installation-Target-ID": str(repository.id),
        "X-GitHub-Hook-Installation-Target-Type": "repository",
    }
    if hook.secret:
        for name, algorithm in (("X-Hub-Signature", hashlib.sha1), ("X-Hub-Signature-256", hashlib.sha256)):
            digest = hmac.new(hook.secret.encode(), raw, algorithm)
            headers[name] = f"{digest.name.removeprefix('hmac-')}={digest.hexdigest()}"
    return headers


class Courier:
    """One thread that delivers in order, so that a receiver sees events as they happened."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: queue.Queue[tuple[Hook, Delivery] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="github-deliveries", daemon=True)
        self._thread.start()

    def put(self, _repository: Repository, hook: Hook, delivery: Delivery) -> None:
        """Queue a delivery."""
        self._waiting.put((hook, delivery))

    def drain(self, seconds: float) -> bool:
        """Wait until nothing is under way; False if that takes longer."""
        end = time.monotonic() + seconds
        while self._waiting.unfinished_tasks:
            if time.monotonic() > end:
                return False
            time.sleep(0.002)
        return True

    def stop(self) -> None:
        """Finish what is queued within a moment, then end."""
        self._waiting.put(None)
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            self._deliver(*item)
            self._waiting.task_done()

    def _deliver(self, hook: Hook, delivery: Delivery) -> None:
        address = urlsplit(hook.url)
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        connection = kind(address.hostname or "", address.port, timeout=PATIENCE_SECONDS)
        started = time.monotonic()
        code, status, headers, body = 502, "failed to connect to host", {}, ""
        try:
            path = (address.path or "/") + (f"?{address.query}" if address.query else "")
            connection.request("POST", path, body=delivery.payload, headers=delivery.request_headers)
            answer = connection.getresponse()
            body = answer.read().decode("utf-8", "replace")
            code, headers = answer.status, dict(answer.getheaders())
            status = "OK" if code < 400 else f"Invalid HTTP Response: {code}"
        except TimeoutError:
            code, status = 504, "timed out"
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        with self._world.lock:
            delivery.status_code, delivery.status = code, status
            delivery.response_headers, delivery.response_body = headers, body
            delivery.duration = round(time.monotonic() - started, 3)
