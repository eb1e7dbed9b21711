"""The real PyGithub works with the stand-in as it does with GitHub: what the tracker is built on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.standins.github import GitHubStandIn

if TYPE_CHECKING:
    from github import Github
    from github.Repository import Repository


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with GitHubStandIn("acme/models") as running:
        running.add_user("platform", "write")
        running.add_user("maintainer", "write")
        yield running


@pytest.fixture
def client(github: GitHubStandIn) -> Iterator[Github]:
    from github import Auth, Github

    auth = Auth.Token(github.token("platform"))
    made = Github(base_url=github.url, auth=auth, per_page=100, seconds_between_requests=0, seconds_between_writes=0, retry=None)
    yield made
    made.close()


@pytest.fixture
def repository(client: Github) -> Repository:
    return client.get_repo("acme/models")


def test_a_thread(github: GitHubStandIn, repository: Repository) -> None:
    issue = repository.get_issue(github.open_issue("requester", "title", "body", ["mlops:train"]))
    assert (issue.title, issue.user.login, [label.name for label in issue.labels]) == ("title", "requester", ["mlops:train"])
    comment = issue.create_comment("first")
    comment.edit("second")
    github.react(comment.id, "maintainer", "+1")
    assert [(each.user.login, each.content) for each in comment.get_reactions()] == [("maintainer", "+1")]
    reaction = comment.create_reaction("-1")
    comment.delete_reaction(reaction.id)
    assert comment.update()
    assert comment.reactions["+1"] == 1
    issue.add_to_labels("mlops:running", "ünïcode 標")
    issue.remove_from_labels("ünïcode 標")
    issue.remove_from_labels("mlops:train")
    assert github.labels(issue.number) == {"mlops:running"}
    issue.edit(state="closed", state_reason="completed")
    assert [(each.event, each.actor.login) for each in issue.get_events()][-1] == ("closed", "platform")
    assert [each.body for each in issue.get_comments(since=datetime(2020, 1, 1, tzinfo=UTC))] == ["second"]
    comment.delete()
    assert github.comments(issue.number) == []


def test_pages_and_search(github: GitHubStandIn, client: Github, repository: Repository) -> None:
    for k in range(230):
        github.open_issue("requester", f"number {k}", "body", ["mlops:train"])
    github.clear_requests()
    issues = repository.get_issues(state="open", labels=["mlops:train"], sort="updated", direction="asc")
    assert issues.totalCount == 230
    assert [issue.number for issue in issues] == list(range(1, 231))
    assert [issue.number for issue in issues.reversed][:2] == [230, 229]
    found = client.search_issues('repo:acme/models label:"mlops:train" 229 in:title')
    assert (found.totalCount, found[0].title) == (1, "number 229")


def test_conditional_requests(github: GitHubStandIn, repository: Repository) -> None:
    issue = repository.get_issue(github.open_issue("requester", "title", "body"))
    assert not issue.update()
    assert github.requests[-1].not_modified
    github.edit_issue(issue.number, "requester", title="changed")
    assert issue.update()
    url = f"{repository.url}/issues/comments?sort=updated&direction=desc"
    headers, _ = repository.requester.requestJsonAndCheck("GET", url)
    status, _, body = repository.requester.requestJson("GET", url, headers={"If-None-Match": headers["etag"]})
    assert (status, body) == (304, "")


def test_files_and_commits(github: GitHubStandIn, repository: Repository) -> None:
    from github import GithubException

    made = repository.create_file("training_history/a b.md", "add", "# 報告\n")["content"]
    there = repository.get_contents("training_history/a b.md")
    assert not isinstance(there, list)
    assert (there.decoded_content.decode(), there.sha) == ("# 報告\n", made.sha)
    repository.update_file(there.path, "change", "changed\n", there.sha)
    with pytest.raises(GithubException) as stale:
        repository.update_file(there.path, "change", "again\n", there.sha)
    assert stale.value.status == 409
    assert github.files("training_history") == {"training_history/a b.md": b"changed\n"}
    assert [commit.commit.message for commit in repository.get_commits(path="training_history")] == ["change", "add"]
    head = repository.get_git_ref("heads/main").object.sha
    tree = repository.get_git_tree(head, recursive=True)
    assert [each.path for each in tree.tree] == ["training_history", "training_history/a b.md"]
    listed = repository.get_contents("training_history")
    assert isinstance(listed, list)
    assert [each.name for each in listed] == ["a b.md"]


def test_several_files_in_one_commit(github: GitHubStandIn, repository: Repository) -> None:
    from github import InputGitTreeElement

    first = github.push("maintainer", {"README.md": "x"})
    parent = repository.get_git_commit(first)
    elements = [InputGitTreeElement(f"models/{name}", "100644", "blob", content=name) for name in ("a", "b")]
    commit = repository.create_git_commit("two", repository.create_git_tree(elements, parent.tree), [parent])
    repository.get_git_ref("heads/main").edit(commit.sha)
    assert github.files() == {"README.md": b"x", "models/a": b"a", "models/b": b"b"}
    assert [each.sha for each in github.commits()] == [commit.sha, first]


def test_permissions_accounts_and_limits(github: GitHubStandIn, client: Github, repository: Repository) -> None:
    github.add_user("robot", "write", bot=True)
    assert client.get_user().login == "platform"
    assert client.get_user("robot").type == "Bot"
    assert repository.get_collaborator_permission("maintainer") == "write"
    github.add_user("stranger")
    assert repository.get_collaborator_permission("stranger") == "read"
    assert repository.has_in_collaborators("maintainer")
    left = client.get_rate_limit().rate.remaining
    client.get_user("robot")
    assert client.get_rate_limit().rate.remaining == left - 1


def test_hooks(github: GitHubStandIn) -> None:
    from github import Auth, Github

    token = github.add_user("owner", "admin")
    client = Github(base_url=github.url, auth=Auth.Token(token), seconds_between_requests=0, seconds_between_writes=0)
    repository = client.get_repo("acme/models")
    hook = repository.create_hook("web", {"url": "http://127.0.0.1:9/hook", "content_type": "json"}, ["issues"])
    assert github.wait_for_deliveries()
    assert [(each.event, each.status_code) for each in repository.get_hook_deliveries(hook.id)] == [("ping", 502)]
    hook.delete()
    assert github.hooks == []
    client.close()


def test_an_app(github: GitHubStandIn) -> None:
    from github import Auth, GithubIntegration

    app = github.add_app("mlops")
    number = github.open_issue("requester", "title", "body")
    auth = Auth.AppAuth(app.id, app.private_key)
    integration = GithubIntegration(auth=auth, base_url=github.url, seconds_between_requests=0, seconds_between_writes=0)
    installation = integration.get_repo_installation("acme", "models")
    assert installation.id == app.installation
    acting = installation.get_github_for_installation()
    comment = acting.get_repo("acme/models").get_issue(number).create_comment("text")
    assert (comment.user.login, comment.user.type) == ("mlops[bot]", "Bot")
    acting.close()
