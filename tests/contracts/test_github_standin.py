"""The GitHub stand-in keeps GitHub's own API description: every operation of it is driven with real requests."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.standins.github import Exchange, GitHubStandIn, Request
from tests.standins.github.contract import Contract, Recorder
from tests.standins.receiver import Receiver

REPOSITORY = "/repos/acme/models"
ISSUE = f"{REPOSITORY}/issues/1"


@pytest.fixture(scope="module")
def contract(shared: Path) -> Contract:
    description = shared / "data" / "github" / "github-openapi-subset.json"
    if not description.is_file():
        pytest.skip(f"GitHub's API description is not at hand: {description}")
    return Contract(description)


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with GitHubStandIn("acme/models") as running:
        running.add_user("owner", "admin")
        yield running


class Client:
    """Plain requests as one account."""

    def __init__(self, github: GitHubStandIn, login: str) -> None:
        self._http = httpx.Client(headers={"Authorization": f"Bearer {github.token(login)}"})
        self._url = github.url

    def __call__(self, method: str, path: str, body: Any = None, expect: int = 200, **headers: str) -> Any:
        content = {} if body is None else {"json": body}
        answer = self._http.request(method, self._url + path, headers=headers, **content)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text[:400]}"
        return answer.json() if answer.content else None


def _drive_issues(call: Client) -> None:
    call("POST", f"{REPOSITORY}/issues", {"title": "A title", "body": "text", "labels": ["a"], "assignees": ["owner"]}, 201)
    call("GET", f"{REPOSITORY}/issues?labels=a&state=all&sort=updated&direction=asc&since=2020-01-01T00:00:00Z&per_page=5&page=1")
    call("GET", ISSUE)
    call(
        "PATCH", ISSUE, {"title": "Another", "body": None, "state": "closed", "state_reason": "not_planned", "labels": ["b", "c"]}
    )
    call("PATCH", ISSUE, {"state": "open"})
    call("POST", f"{ISSUE}/assignees", {"assignees": ["owner"]}, 201)
    call("DELETE", f"{ISSUE}/assignees", {"assignees": ["owner"]})
    call("PUT", f"{ISSUE}/lock", {"lock_reason": "resolved"}, 204)
    call("DELETE", f"{ISSUE}/lock", expect=204)
    call("POST", f"{ISSUE}/labels", {"labels": ["mlops:train"]})
    call("GET", f"{ISSUE}/labels")
    call("DELETE", f"{ISSUE}/labels/mlops%3Atrain")
    call("PUT", f"{ISSUE}/labels", {"labels": ["x", "y"]})
    call("DELETE", f"{ISSUE}/labels", expect=204)
    call("POST", f"{REPOSITORY}/labels", {"name": "new", "color": "00ff00", "description": "of the test"}, 201)
    call("GET", f"{REPOSITORY}/labels")
    call("GET", f"{REPOSITORY}/labels/new")
    call("PATCH", f"{REPOSITORY}/labels/new", {"new_name": "newer", "color": "ff0000"})
    call("DELETE", f"{REPOSITORY}/labels/newer", expect=204)


def _drive_threads(call: Client) -> None:
    comment = f"{REPOSITORY}/issues/comments/{call('POST', f'{ISSUE}/comments', {'body': 'first'}, 201)['id']}"
    call("GET", comment)
    call("PATCH", comment, {"body": "second"})
    call("GET", f"{ISSUE}/comments?since=2020-01-01T00:00:00Z")
    call("GET", f"{REPOSITORY}/issues/comments?sort=updated&direction=desc&since=2020-01-01T00:00:00Z&per_page=100")
    for target in (ISSUE, comment):
        reaction = call("POST", f"{target}/reactions", {"content": "+1"}, 201)
        assert call("POST", f"{target}/reactions", {"content": "+1"})["id"] == reaction["id"]
        call("GET", f"{target}/reactions?content=%2B1")
        call("DELETE", f"{target}/reactions/{reaction['id']}", expect=204)
    call("GET", f"{ISSUE}/events")
    call("GET", f"{ISSUE}/timeline")
    call("GET", f"{REPOSITORY}/issues/events")
    call("GET", "/search/issues?q=repo:acme/models+is:open+another&sort=updated&order=asc")
    call("DELETE", comment, expect=204)


def _drive_files(call: Client) -> None:
    text = base64.b64encode(b"# Models\n").decode()
    made = call("PUT", f"{REPOSITORY}/contents/README.md", {"message": "begin", "content": text, "branch": "main"}, 201)
    path = f"{REPOSITORY}/contents/training_history/a%20b.md"
    sha = call("PUT", path, {"message": "add", "content": text}, 201)["content"]["sha"]
    changed = base64.b64encode(b"changed\n").decode()
    sha = call("PUT", path, {"message": "change", "content": changed, "sha": sha})["content"]["sha"]
    call("GET", f"{path}?ref=main")
    call("GET", f"{REPOSITORY}/contents/training_history")
    call("GET", f"{REPOSITORY}/readme")
    call("DELETE", path, {"message": "remove", "sha": sha})
    blob = call("POST", f"{REPOSITORY}/git/blobs", {"content": text, "encoding": "base64"}, 201)["sha"]
    assert blob == made["content"]["sha"]
    call("GET", f"{REPOSITORY}/git/blobs/{blob}")
    head = call("GET", f"{REPOSITORY}/git/ref/heads/main")["object"]["sha"]
    entries = [{"path": "a/b.txt", "mode": "100644", "type": "blob", "content": "b"}]
    base = call("GET", f"{REPOSITORY}/git/commits/{head}")["tree"]["sha"]
    tree = call("POST", f"{REPOSITORY}/git/trees", {"base_tree": base, "tree": entries}, 201)["sha"]
    call("GET", f"{REPOSITORY}/git/trees/{tree}?recursive=1")
    body = {"message": "by hand", "tree": tree, "parents": [head], "author": {"name": "A", "email": "a@example.org"}}
    sha = call("POST", f"{REPOSITORY}/git/commits", body, 201)["sha"]
    call("PATCH", f"{REPOSITORY}/git/refs/heads/main", {"sha": sha})
    call("POST", f"{REPOSITORY}/git/refs", {"ref": "refs/heads/side", "sha": head}, 201)
    call("GET", f"{REPOSITORY}/git/matching-refs/heads/")
    call("DELETE", f"{REPOSITORY}/git/refs/heads/side", expect=204)
    call("GET", f"{REPOSITORY}/commits?path=a/b.txt&per_page=10")
    call("GET", f"{REPOSITORY}/commits/main")
    call("POST", f"{REPOSITORY}/statuses/{sha}", {"state": "success", "context": "ci", "target_url": "http://127.0.0.1/"}, 201)
    assert call("GET", f"{REPOSITORY}/commits/main/status")["state"] == "success"


def _drive_hooks(call: Client, github: GitHubStandIn, url: str) -> None:
    body = {"name": "web", "config": {"url": url, "content_type": "json", "secret": "s"}, "events": ["issues"], "active": True}
    hook = f"{REPOSITORY}/hooks/{call('POST', f'{REPOSITORY}/hooks', body, 201)['id']}"
    call("GET", f"{REPOSITORY}/hooks")
    call("GET", hook)
    call("PATCH", hook, {"add_events": ["push"]})
    call("GET", f"{hook}/config")
    call("PATCH", f"{hook}/config", {"content_type": "json"})
    call("POST", f"{hook}/pings", expect=204)
    call("POST", f"{hook}/tests", expect=204)
    assert github.wait_for_deliveries()
    delivery = call("GET", f"{hook}/deliveries?per_page=10&status=success")[0]
    call("POST", f"{hook}/deliveries/{delivery['id']}/attempts", expect=202)
    assert github.wait_for_deliveries()
    call("GET", f"{hook}/deliveries/{delivery['id']}")
    call("DELETE", hook, expect=204)


def _drive_accounts(call: Client) -> None:
    for path in ("/user", "/users/owner", "/rate_limit", "/meta", REPOSITORY, f"{REPOSITORY}/collaborators"):
        call("GET", path)
    call("GET", f"{REPOSITORY}/collaborators/owner", expect=204)
    call("GET", f"{REPOSITORY}/collaborators/owner/permission")


def test_every_described_operation_is_answered_as_described(github: GitHubStandIn, contract: Contract) -> None:
    recorder = Recorder(contract)
    github.observe(recorder)
    call = Client(github, "owner")
    _drive_accounts(call)
    _drive_issues(call)
    _drive_threads(call)
    _drive_files(call)
    with Receiver() as receiver:
        _drive_hooks(call, github, receiver.url)
    assert recorder.problems() == []
    assert {operation.id for operation in contract.operations} - recorder.operations == set()
    invented = {each for exchange in recorder.exchanges for each in contract.inventions(exchange)}
    assert invented == set(), "fields that GitHub's description does not know"


def test_refusals_have_the_documented_bodies(github: GitHubStandIn, contract: Contract) -> None:
    recorder = Recorder(contract)
    github.observe(recorder)
    owner, stranger = Client(github, "owner"), Client(github, "stranger")
    github.open_issue("requester", "t", "b")
    github.push("owner", {"a.md": "1"})
    stranger("POST", f"{ISSUE}/labels", {"labels": ["mlops:train"]}, 403)
    stranger("PATCH", ISSUE, {"state": "closed"}, 403)
    stranger("PUT", f"{REPOSITORY}/contents/b.md", {"message": "m", "content": ""}, 404)
    stranger("GET", f"{REPOSITORY}/hooks", expect=404)
    stranger("GET", f"{REPOSITORY}/collaborators/owner/permission", expect=403)
    owner("GET", f"{REPOSITORY}/issues/99", expect=404)
    owner("POST", f"{REPOSITORY}/issues", {"body": "no title"}, 422)
    owner("POST", f"{ISSUE}/comments", {"body": " "}, 422)
    owner("POST", f"{ISSUE}/comments", {"body": "x" * 65_537}, 422)
    owner("POST", f"{ISSUE}/reactions", {"content": "thumbs"}, 422)
    owner("PUT", f"{REPOSITORY}/contents/a.md", {"message": "m", "content": ""}, 422)
    owner("PUT", f"{REPOSITORY}/contents/a.md", {"message": "m", "content": "", "sha": "0" * 40}, 409)
    owner("GET", f"{REPOSITORY}/issues?state=ajar", expect=422)
    for what, status in ((500, 500), (502, 502), ("primary", 403), ("secondary", 403), (429, 429), ("lost", 500)):
        github.fail(what, "POST", "/comments$")  # type: ignore[arg-type]
        owner("POST", f"{ISSUE}/comments", {"body": "text"}, status)
    problems = [each for each in recorder.problems() if "state: 'ajar'" not in each and "parameter state" not in each]
    assert problems == []


def test_the_check_can_fail(contract: Contract) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}

    def judged(method: str, path: str, query: str = "", body: bytes = b"", status: int = 200, answer: bytes = b"") -> str:
        return "; ".join(contract.problems(Exchange(Request(method, path, query, {}, body), status, headers, answer)))

    assert "no such operation" in judged("POST", f"{REPOSITORY}/pulls", body=b"{}", status=201)
    assert "per_page" in judged("GET", f"{REPOSITORY}/issues", "per_page=101", answer=b"[]")
    assert "labelz is not described" in judged("GET", f"{REPOSITORY}/issues", "labelz=a", answer=b"[]")
    assert "state" in judged("GET", f"{REPOSITORY}/issues", "state=ajar", answer=b"[]")
    assert "'body' is a required" in judged("POST", f"{ISSUE}/comments", body=b'{"text":"x"}', status=201, answer=b"{}")
    assert "a body is required" in judged("POST", f"{ISSUE}/comments", status=201, answer=b"{}")
    assert "'html_url' is a required property" in judged("GET", ISSUE, answer=b'{"number":1}')
    assert "+2" in judged("POST", f"{ISSUE}/reactions", body=b'{"content":"+2"}', status=201, answer=b"{}")
    assert "boddy is not described" in judged("PATCH", ISSUE, body=b'{"boddy":"x"}', status=403, answer=b"{}")
    assert "status 418" in judged("GET", ISSUE, status=418, answer=b"{}")
    assert "304 without a condition" in judged("GET", ISSUE, status=304)
    assert judged("GET", f"{REPOSITORY}/issues", "state=all&per_page=100", answer=b"[]") == ""


def test_a_client_whose_answer_never_came_is_still_held_to_its_request(github: GitHubStandIn, contract: Contract) -> None:
    recorder = Recorder(contract)
    github.observe(recorder)
    number = github.open_issue("requester", "t", "b")
    github.fail("close", "POST")
    with pytest.raises(httpx.RemoteProtocolError):
        Client(github, "owner")("POST", f"{REPOSITORY}/issues/{number}/comments", {"text": "x"})
    assert any("'body' is a required property" in problem for problem in recorder.problems())
