"""Who may do what at the stand-in: roles, strangers, bots, apps, private repositories, tokens."""

from __future__ import annotations

import httpx
import pytest

from tests.standins.github import GitHubStandIn, ManualClock
from tests.standins.github.state import ROLES, Role
from tests.unit.standins.conftest import Ask


@pytest.mark.parametrize("role", ROLES)
def test_what_each_role_may_do_in_a_public_repository(github: GitHubStandIn, ask: Ask, role: Role) -> None:
    number = github.open_issue("requester", "t", "b")
    comment = github.comment(number, "maintainer", "text")
    github.add_user("somebody", role)

    def status(method: str, path: str, body: object) -> int:
        return ask("somebody", method, path, json=body).status_code

    at = ROLES.index(role)
    assert status("POST", f"/issues/{number}/comments", {"body": "text"}) == 201, "anybody may comment in public"
    assert status("POST", f"/issues/comments/{comment}/reactions", {"content": "+1"}) == 201
    assert status("POST", f"/issues/{number}/labels", {"labels": ["a"]}) == (200 if at >= ROLES.index("triage") else 403)
    assert status("PATCH", f"/issues/{number}", {"state": "closed"}) == (200 if at >= ROLES.index("triage") else 403)
    writes = at >= ROLES.index("write")
    assert status("PATCH", f"/issues/{number}", {"body": "changed"}) == (200 if writes else 403)
    assert status("PATCH", f"/issues/comments/{comment}", {"body": "changed"}) == (200 if writes else 403)
    assert status("PUT", "/contents/a.md", {"message": "m", "content": ""}) == (201 if writes else 404)
    assert status("GET", "/collaborators/maintainer/permission", None) == (200 if writes else 403)
    assert status("GET", "/hooks", None) == (200 if role == "admin" else 404)


@pytest.mark.parametrize(
    ("role", "permission"),
    [("none", "read"), ("read", "read"), ("triage", "read"), ("write", "write"), ("maintain", "write"), ("admin", "admin")],
)
def test_the_permission_that_is_told(github: GitHubStandIn, ask: Ask, role: Role, permission: str) -> None:
    github.add_user("somebody", role)
    told = ask("maintainer", "GET", "/collaborators/SomeBody/permission").json()
    assert told["permission"] == permission
    assert told["role_name"] == ("read" if role == "none" else role), "what is public can be read by anybody"
    assert told["user"]["login"] == "somebody"


def test_a_permission_counts_from_the_moment_it_is_given(github: GitHubStandIn, ask: Ask) -> None:
    github.add_user("somebody", "write")
    assert ask("maintainer", "GET", "/collaborators/somebody/permission").json()["permission"] == "write"
    github.add_user("somebody", "read")
    assert ask("maintainer", "GET", "/collaborators/somebody/permission").json()["permission"] == "read"


def test_labels_of_a_stranger_are_dropped_unless_an_issue_form_sets_them(github: GitHubStandIn, ask: Ask) -> None:
    opened = ask("stranger", "POST", "/issues", json={"title": "t", "labels": ["mlops:train"]})
    assert (opened.status_code, opened.json()["labels"]) == (201, [])
    assert github.labels(github.open_issue("stranger", "t", "b", ["mlops:train"])) == {"mlops:train"}


def test_the_author_changes_the_own_issue_and_not_its_labels(github: GitHubStandIn, ask: Ask) -> None:
    number = github.open_issue("requester", "t", "b")
    changed = ask("requester", "PATCH", f"/issues/{number}", json={"body": "changed", "labels": ["a"]}).json()
    assert (changed["body"], changed["labels"]) == ("changed", [])


def test_a_bot_is_told_as_one(github: GitHubStandIn) -> None:
    github.add_user("robot", "write", bot=True)
    assert httpx.get(f"{github.url}/users/robot").json()["type"] == "Bot"
    assert httpx.get(f"{github.url}/users/maintainer").json()["type"] == "User"
    assert httpx.get(f"{github.url}/users/nobody").status_code == 404


def test_tokens(github: GitHubStandIn, ask: Ask) -> None:
    number = github.open_issue("requester", "t", "b")
    url = f"{github.url}/repos/acme/models/issues/{number}/comments"
    assert httpx.post(url, json={"body": "x"}).status_code == 401
    assert httpx.post(url, json={"body": "x"}, headers={"Authorization": "Bearer wrong"}).json()["message"] == "Bad credentials"
    assert httpx.post(url, json={"body": "x"}, headers={"Authorization": f"token {github.token('a')}"}).status_code == 201
    assert httpx.post(url, json={"body": "x"}, auth=("a", github.token("a"))).status_code == 201
    assert httpx.get(url, headers={"User-Agent": ""}).status_code == 403
    assert {comment["user"]["login"] for comment in github.comments(number)} == {"a"}


def test_what_is_private_is_not_there_for_others() -> None:
    with GitHubStandIn("acme/secret", private=True) as github:
        github.add_user("reader", "read")
        number = github.open_issue("reader", "t", "b")
        url = f"{github.url}/repos/acme/secret/issues/{number}"
        assert httpx.get(url).status_code == 404
        assert httpx.get(url, headers={"Authorization": f"Bearer {github.token('stranger')}"}).status_code == 404
        assert httpx.get(url, headers={"Authorization": f"Bearer {github.token('reader')}"}).status_code == 200


def test_an_app_acts_through_its_installation(github: GitHubStandIn, clock: ManualClock, ask: Ask) -> None:
    import jwt

    app = github.add_app("mlops")
    number = github.open_issue("requester", "t", "b")
    now = int(clock.now.timestamp())
    address = f"{github.url}/app/installations/{app.installation}/access_tokens"

    def exchanged(key: str, algorithm: str = "RS256", **claims: int | str) -> httpx.Response:
        token = jwt.encode({"iat": now - 60, "exp": now + 540, "iss": str(app.id)} | claims, key, algorithm=algorithm)
        return httpx.post(address, headers={"Authorization": f"Bearer {token}"})

    assert exchanged(app.private_key, exp=now - 1).status_code == 401
    assert exchanged(app.private_key, exp=now + 3600).status_code == 401
    assert exchanged(app.private_key, iat=now + 600).status_code == 401
    assert exchanged(app.private_key, iss="1").status_code == 401
    assert exchanged("a shared secret that is long enough for it", "HS256").status_code == 401
    granted = exchanged(app.private_key)
    assert granted.status_code == 201
    headers = {"Authorization": f"token {granted.json()['token']}"}
    url = f"{github.url}/repos/acme/models"
    commented = httpx.post(f"{url}/issues/{number}/comments", json={"body": "text"}, headers=headers)
    assert (commented.status_code, commented.json()["user"]["type"]) == (201, "Bot")
    assert commented.json()["user"]["login"] == "mlops[bot]"
    assert ask("maintainer", "GET", "/collaborators/mlops%5Bbot%5D/permission").status_code == 404
    assert httpx.get(f"{github.url}/user", headers=headers).status_code == 403
    clock.advance(3601)
    assert httpx.get(f"{url}/issues", headers=headers).status_code == 401, "a token of an installation ends after an hour"
