"""Webhooks of the stand-in: signed over the raw bytes, in order, repeatable, and shaped like recorded deliveries."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.standins.github import GitHubStandIn, Refused
from tests.standins.github.deliveries import headers_of
from tests.standins.github.state import Hook
from tests.standins.receiver import Received, Receiver

SECRET = "It's a Secret to Everybody"
RECORDED = ("issues.opened", "issues.edited", "issues.labeled", "issue_comment.created", "ping", "push")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def _events(github: GitHubStandIn, receiver: Receiver) -> list[tuple[str, str | None]]:
    assert github.wait_for_deliveries()
    return [(each.headers["x-github-event"], json.loads(each.body).get("action")) for each in receiver.received]


def test_events_arrive_in_order_and_reactions_send_none(github: GitHubStandIn, receiver: Receiver) -> None:
    github.add_hook(receiver.url, SECRET, ["issues", "issue_comment", "push"])
    number = github.open_issue("requester", "t", "b", ["mlops:train"])
    comment = github.comment(number, "maintainer", "text")
    github.react(comment, "stranger", "+1")
    github.edit_comment(comment, "maintainer", "other")
    github.edit_issue(number, "requester", body="changed")
    github.push("maintainer", {"a.md": "1"})
    github.unlabel(number, "maintainer", "mlops:train")
    github.delete_comment(comment, "maintainer")
    github.close_issue(number, "maintainer")
    assert _events(github, receiver) == [
        ("ping", None),
        ("issues", "opened"),
        ("issues", "labeled"),
        ("issue_comment", "created"),
        ("issue_comment", "edited"),
        ("issues", "edited"),
        ("push", None),
        ("issues", "unlabeled"),
        ("issue_comment", "deleted"),
        ("issues", "closed"),
    ]
    edited = json.loads(receiver.received[5].body)
    assert (edited["changes"]["body"]["from"], edited["issue"]["body"], edited["sender"]["login"]) == (
        "b",
        "changed",
        "requester",
    )


def test_a_hook_hears_only_what_it_asked_for(github: GitHubStandIn, receiver: Receiver) -> None:
    github.add_hook(receiver.url, None, ["issue_comment"])
    github.comment(github.open_issue("requester", "t", "b"), "requester", "text")
    assert _events(github, receiver) == [("ping", None), ("issue_comment", "created")]
    assert not any(name.startswith("x-hub-signature") for name in receiver.received[0].headers), "without a secret, unsigned"


def _signed(received: Received) -> bool:
    expected = hmac.new(SECRET.encode(), received.body, hashlib.sha256).hexdigest()
    return received.headers["x-hub-signature-256"] == f"sha256={expected}"


def test_a_redelivery_is_the_same_delivery(github: GitHubStandIn, receiver: Receiver) -> None:
    github.add_hook(receiver.url, SECRET)
    github.open_issue("要求者", "題", "本文")
    assert github.wait_for_deliveries()
    github.redeliver(github.deliveries[-1])
    assert github.wait_for_deliveries()
    first, second = receiver.received[-2:]
    assert first.body == second.body
    assert first.headers["x-github-delivery"] == second.headers["x-github-delivery"]
    assert all(_signed(each) for each in receiver.received)
    assert [each.redelivery for each in github.deliveries[-2:]] == [False, True]
    assert len({each.headers["x-github-delivery"] for each in receiver.received}) == len(receiver.received) - 1


def test_signatures_are_those_that_github_documents(github: GitHubStandIn, shared: Path) -> None:
    folder = shared / "data" / "github" / "webhooks"
    repository = github.world.repositories["acme/models"]
    vectors = json.loads((folder / "signature-vectors.json").read_text(encoding="utf-8"))
    told = [vector for vector in vectors if vector["valid"]]
    assert len(told) >= 2
    for vector in told:
        raw = vector["payload_utf8"].encode() if "payload_utf8" in vector else (folder / vector["payload_file"]).read_bytes()
        hook = Hook(1, "http://127.0.0.1", vector["secret"], ["*"], github.world.now(), github.world.now())
        headers = headers_of(repository, hook, "guid", "ping", raw)
        assert headers["X-Hub-Signature-256"] == vector["x_hub_signature_256"]


def _missing(recorded: Any, ours: Any, at: str = "") -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(ours, dict):
        for name, value in recorded.items():
            yield from _missing(value, ours[name], f"{at}.{name}") if name in ours else [f"{at}.{name}"]
    elif isinstance(recorded, list) and isinstance(ours, list) and recorded and ours:
        yield from _missing(recorded[0], ours[0], f"{at}[]")
    elif recorded is not None and ours is not None and type(recorded) is not type(ours):
        yield f"{at}: {type(recorded).__name__} is recorded, not {type(ours).__name__}"


def test_payloads_have_every_field_of_recorded_deliveries(github: GitHubStandIn, receiver: Receiver, shared: Path) -> None:
    github.add_hook(receiver.url, SECRET, ["*"])
    number = github.open_issue("requester", "t", "b", ["x"])
    github.edit_issue(number, "requester", body="changed")
    github.comment(number, "requester", "text")
    github.push("maintainer", {"a.md": "1"})
    assert github.wait_for_deliveries()
    ours: dict[str, Any] = {}
    for each in receiver.received:
        payload = json.loads(each.body)
        ours[".".join(filter(None, (each.headers["x-github-event"], payload.get("action"))))] = payload
    folder = shared / "data" / "github" / "webhooks"
    for name in RECORDED:
        recorded = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        assert list(_missing(recorded, ours[name])) == [], name


def test_a_push_says_what_it_changed(github: GitHubStandIn, receiver: Receiver) -> None:
    github.push("maintainer", {"kept.py": "1", "gone.py": "1"})
    github.add_hook(receiver.url, SECRET, ["push"])
    sha = github.push("maintainer", {"src/new.py": "1", "kept.py": "2", "gone.py": None}, "change three")
    assert github.wait_for_deliveries()
    payload = json.loads(receiver.received[-1].body)
    assert (payload["ref"], payload["after"], payload["head_commit"]["id"]) == ("refs/heads/main", sha, sha)
    changed = {kind: payload["commits"][0][kind] for kind in ("added", "modified", "removed")}
    assert changed == {"added": ["src/new.py"], "modified": ["kept.py"], "removed": ["gone.py"]}


def test_a_receiver_that_fails_or_is_away_is_noted(github: GitHubStandIn) -> None:
    with Receiver(status=500) as failing:
        github.add_hook(failing.url)
        assert github.wait_for_deliveries()
    github.open_issue("requester", "t", "b")
    assert github.wait_for_deliveries()
    assert [(each.event, each.status_code) for each in github.deliveries] == [("ping", 500), ("issues", 502)]


def test_a_form_carries_the_payload_and_is_signed_as_it_is_sent(github: GitHubStandIn, receiver: Receiver) -> None:
    config = {"url": receiver.url, "content_type": "form", "secret": SECRET}
    github.do("acme", "POST", "/repos/acme/models/hooks", {"config": config, "events": ["issues"]})
    github.open_issue("requester", "題", "b & c")
    assert github.wait_for_deliveries()
    received = receiver.received[-1]
    assert _signed(received)
    assert json.loads(parse_qs(received.body.decode())["payload"][0])["issue"]["title"] == "題"


@pytest.mark.parametrize(
    "url", ["", "ftp://x/", "http://", "http://127.0.0.1:99999/", "http://h:x/", "http://h/題", "javascript:x", 5]
)
def test_an_address_that_cannot_be_reached_is_refused(github: GitHubStandIn, url: object) -> None:
    with pytest.raises(Refused) as refused:
        github.do("acme", "POST", "/repos/acme/models/hooks", {"config": {"url": url}})
    assert (refused.value.status, github.hooks) == (422, [])
