"""State as the JSON that GitHub sends; one function a schema of its API description. Nothing is changed here."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tests.standins.github.state import REACTIONS, Comment, Event, Hook, Issue, Label, Reaction, Repository, User, World

Json = dict[str, Any]
_USER_LINKS = {
    "followers_url": "/followers",
    "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs",
    "repos_url": "/repos",
    "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}
_REPOSITORY_LINKS = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}


def when(at: datetime) -> str:
    """A time as GitHub writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node_id(kind: str, number: int) -> str:
    """The opaque identity that GraphQL would use."""
    return base64.b64encode(f"{kind}:{number}".encode()).decode()


def user(world: World, account: User) -> Json:
    """simple-user."""
    url = f"{world.api_url}/users/{account.login}"
    return {
        "login": account.login,
        "id": account.id,
        "node_id": node_id("User", account.id),
        "avatar_url": f"{world.html_url}/avatars/u/{account.id}",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{world.html_url}/{account.login}",
        **{name: url + path for name, path in _USER_LINKS.items()},
        "type": account.kind,
        "user_view_type": "public",
        "site_admin": False,
    }


def full_user(world: World, account: User, private: bool) -> Json:
    """public-user, or private-user for the account itself."""
    content = user(world, account) | {
        "name": None,
        "company": None,
        "blog": "",
        "location": None,
        "email": None,
        "hireable": None,
        "bio": None,
        "twitter_username": None,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "created_at": when(account.created_at),
        "updated_at": when(account.created_at),
    }
    if private:
        content |= dict.fromkeys(
            ("private_gists", "total_private_repos", "owned_private_repos", "disk_usage", "collaborators"), 0
        )
        content |= {"two_factor_authentication": True, "user_view_type": "private"}
    return content


def repository_url(world: World, repository: Repository) -> str:
    """The API address of a repository."""
    return f"{world.api_url}/repos/{repository.full_name}"


def permissions(role: str) -> dict[str, bool]:
    """What a role may do, as five flags."""
    order = ("none", "read", "triage", "write", "maintain", "admin")
    names = {"pull": "read", "triage": "triage", "push": "write", "maintain": "maintain", "admin": "admin"}
    return {name: order.index(role) >= order.index(least) for name, least in names.items()}


def repository(world: World, repo: Repository, viewer: User | None = None) -> Json:
    """full-repository; a webhook's and a search's repository are parts of it."""
    url, html = repository_url(world, repo), f"{world.html_url}/{repo.full_name}"
    issues = sum(issue.state == "open" for issue in repo.issues.values())
    content: Json = {
        "id": repo.id,
        "node_id": node_id("Repository", repo.id),
        "name": repo.name,
        "full_name": repo.full_name,
        "private": repo.private,
        "owner": user(world, repo.owner),
        "html_url": html,
        "description": None,
        "fork": False,
        "url": url,
        **{name: url + path for name, path in _REPOSITORY_LINKS.items()},
        "git_url": html.replace("http", "git", 1) + ".git",
        "ssh_url": f"git@localhost:{repo.full_name}.git",
        "clone_url": f"{html}.git",
        "svn_url": html,
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        "size": 0,
        "default_branch": repo.default_branch,
        "open_issues_count": issues,
        "open_issues": issues,
        "is_template": False,
        "topics": [],
        "has_issues": True,
        **dict.fromkeys(("has_projects", "has_wiki", "has_pages", "has_downloads", "has_discussions"), False),
        **dict.fromkeys(("archived", "disabled", "allow_forking", "web_commit_signoff_required"), False),
        **dict.fromkeys(("forks_count", "stargazers_count", "watchers_count", "forks", "watchers"), 0),
        "visibility": "private" if repo.private else "public",
        "custom_properties": {},
        "pushed_at": when(repo.pushed_at),
        "created_at": when(repo.created_at),
        "updated_at": when(repo.created_at),
        "subscribers_count": 0,
        "network_count": 0,
    }
    if viewer is not None:
        content["permissions"] = permissions(repo.role(viewer))
    return content


def pushed_repository(world: World, repo: Repository) -> Json:
    """A repository as the event of a push has it: times are numbers, and the owner has a name."""
    content = repository(world, repo)
    content["owner"] |= {"name": repo.owner.login, "email": None}
    times = {"created_at": int(repo.created_at.timestamp()), "pushed_at": int(repo.pushed_at.timestamp())}
    return content | times | {"stargazers": 0, "master_branch": repo.default_branch}


def association(repo: Repository, account: User) -> str:
    """How an author stands to the repository."""
    if account is repo.owner:
        return "OWNER"
    return "COLLABORATOR" if account.login.lower() in repo.collaborators else "NONE"


def roll_up(url: str, reactions: Iterable[Reaction]) -> Json:
    """reaction-rollup."""
    counts = Counter(reaction.content for reaction in reactions)
    return {"url": url, "total_count": counts.total(), **{name: counts[name] for name in REACTIONS}}


def reaction(world: World, one: Reaction) -> Json:
    """reaction."""
    return {
        "id": one.id,
        "node_id": node_id("Reaction", one.id),
        "user": user(world, one.user),
        "content": one.content,
        "created_at": when(one.created_at),
    }


def label(world: World, repo: Repository, one: Label) -> Json:
    """label."""
    return {
        "id": one.id,
        "node_id": node_id("Label", one.id),
        "url": f"{repository_url(world, repo)}/labels/{quote(one.name, safe='')}",
        "name": one.name,
        "color": one.color,
        "default": False,
        "description": one.description,
    }


def issue(world: World, repo: Repository, one: Issue, single: bool = False) -> Json:
    """issue; ``closed_by`` comes only with a single one."""
    base = repository_url(world, repo)
    url = f"{base}/issues/{one.number}"
    content: Json = {
        "url": url,
        "repository_url": base,
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "html_url": f"{world.html_url}/{repo.full_name}/issues/{one.number}",
        "id": one.id,
        "node_id": node_id("Issue", one.id),
        "number": one.number,
        "title": one.title,
        "user": user(world, one.user),
        "labels": [label(world, repo, each) for each in one.labels],
        "state": one.state,
        "locked": one.locked,
        "assignee": user(world, one.assignees[0]) if one.assignees else None,
        "assignees": [user(world, each) for each in one.assignees],
        "milestone": None,
        "comments": len(one.comments),
        "created_at": when(one.created_at),
        "updated_at": when(one.updated_at),
        "closed_at": None if one.closed_at is None else when(one.closed_at),
        "author_association": association(repo, one.user),
        "active_lock_reason": one.lock_reason,
        "body": one.body,
        "reactions": roll_up(f"{url}/reactions", one.reactions),
        "timeline_url": f"{url}/timeline",
        "performed_via_github_app": None,
        "state_reason": one.state_reason,
    }
    if single:
        content["closed_by"] = None if one.closed_by is None else user(world, one.closed_by)
    return content


def comment(world: World, repo: Repository, parent: Issue, one: Comment) -> Json:
    """issue-comment."""
    base = repository_url(world, repo)
    url = f"{base}/issues/comments/{one.id}"
    return {
        "url": url,
        "html_url": f"{world.html_url}/{repo.full_name}/issues/{parent.number}#issuecomment-{one.id}",
        "issue_url": f"{base}/issues/{parent.number}",
        "id": one.id,
        "node_id": node_id("IssueComment", one.id),
        "user": user(world, one.user),
        "created_at": when(one.created_at),
        "updated_at": when(one.updated_at),
        "body": one.body,
        "author_association": association(repo, one.user),
        "reactions": roll_up(f"{url}/reactions", one.reactions),
        "performed_via_github_app": None,
    }


def event(world: World, repo: Repository, one: Event, parent: Issue | None = None) -> Json:
    """issue-event-for-issue; with its issue it is an issue-event."""
    content = {
        "id": one.id,
        "node_id": node_id("Event", one.id),
        "url": f"{repository_url(world, repo)}/issues/events/{one.id}",
        "actor": user(world, one.actor),
        "event": one.kind,
        "commit_id": None,
        "commit_url": None,
        "created_at": when(one.created_at),
        "performed_via_github_app": None,
        **one.detail,
    }
    if parent is not None:
        content["issue"] = issue(world, repo, parent)
    return content


def hook(world: World, repo: Repository, one: Hook) -> Json:
    """hook; the secret is never shown again."""
    url = f"{repository_url(world, repo)}/hooks/{one.id}"
    last = one.deliveries[-1] if one.deliveries else None
    return {
        "type": "Repository",
        "id": one.id,
        "name": "web",
        "active": one.active,
        "events": one.events,
        "config": hook_config(one),
        "updated_at": when(one.updated_at),
        "created_at": when(one.created_at),
        "url": url,
        "test_url": f"{url}/test",
        "ping_url": f"{url}/pings",
        "deliveries_url": f"{url}/deliveries",
        "last_response": {
            "code": last.status_code if last else None,
            "status": "unused" if last is None else "active" if last.status_code < 400 else "misconfigured",
            "message": last.status if last else None,
        },
    }


def hook_config(one: Hook) -> Json:
    """webhook-config."""
    content = {"url": one.url, "content_type": one.content_type, "insecure_ssl": one.insecure_ssl}
    return content | ({"secret": "********"} if one.secret else {})
