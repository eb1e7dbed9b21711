"""Commits on branches: making one from changed files, moving a ref, telling hooks of a push, and their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.standins.github import shapes
from tests.standins.github.deliveries import emit
from tests.standins.github.exchange import Refused, not_found
from tests.standins.github.objects import EMPTY_TREE, Commit, Entry, Signature
from tests.standins.github.routing import Call
from tests.standins.github.state import Repository, User

ZERO = "0" * 40


def signature(call: Call, given: Any, user: User) -> Signature:
    """Who commits: as the body says, else the account.

    Raises:
        Refused: 422, the body names somebody without name or address.
    """
    if given is None:
        return Signature(user.login, f"{user.id}+{user.login}@users.noreply.github.com", call.now)
    if not isinstance(given, dict) or not given.get("name") or not given.get("email"):
        raise Refused(422, 'Invalid request.\n\n"email", "name" weren\'t supplied.')
    from datetime import datetime

    try:
        at = datetime.fromisoformat(str(given["date"])) if given.get("date") else call.now
    except ValueError:
        raise Refused(422, "Invalid request.\n\nFor 'properties/date', the value is not a date-time.") from None
    return Signature(str(given["name"]), str(given["email"]), at)


def commit_files(
    call: Call,
    repository: Repository,
    branch: str,
    changes: Mapping[str, Entry | None],
    message: str,
    author: Signature,
    committer: Signature,
) -> Commit:
    """One commit on top of a branch, which it makes where the repository is still empty; hooks are told.

    Raises:
        Refused: 404, no such branch.
    """
    head = repository.head(branch)
    if head is None and repository.refs:
        raise Refused(404, f"Branch {branch} not found")
    objects = repository.objects
    tree = objects.changed(objects.commits[head].tree if head else EMPTY_TREE, changes)
    sha = objects.put_commit(tree, (head,) if head else (), author, committer, message)
    move(call, repository, f"refs/heads/{branch}", sha)
    return objects.commits[sha]


def move(call: Call, repository: Repository, ref: str, sha: str | None) -> None:
    """Point a ref at a commit, or remove it; hooks are told of the push."""
    before = repository.refs.get(ref)
    if before == sha:
        return
    if sha is None:
        del repository.refs[ref]
    else:
        repository.refs[ref] = sha
    repository.pushed_at = call.now
    payload = push_payload(call, repository, ref, before, sha)
    emit(call, repository, "push", None, **payload)


def resolve(repository: Repository, name: str | None) -> Commit:
    """The commit of a branch, tag, full ref or (abbreviated) SHA; None is the default branch.

    Raises:
        Refused: 404, there is none; 409, the repository is empty.
    """
    if not repository.refs:
        raise Refused(409, "Git Repository is empty.")
    name = name or repository.default_branch
    for ref in (f"refs/heads/{name}", f"refs/tags/{name}", f"refs/{name}", name):
        if ref in repository.refs:
            return repository.objects.commits[repository.refs[ref]]
    found = [sha for sha in repository.objects.commits if len(name) >= 7 and sha.startswith(name.lower())]
    if len(found) != 1:
        raise not_found()
    return repository.objects.commits[found[0]]


def differences(repository: Repository, commit: Commit) -> dict[str, tuple[Entry | None, Entry | None]]:
    """What a commit changed beside its first parent: path -> (before, after)."""
    objects = repository.objects
    after = objects.walk(commit.tree)
    before = objects.walk(objects.commits[commit.parents[0]].tree) if commit.parents else {}
    pairs = {path: (before.get(path), after.get(path)) for path in sorted({*before, *after})}
    return {path: (old, new) for path, (old, new) in pairs.items() if old != new}


def push_payload(call: Call, repository: Repository, ref: str, before: str | None, after: str | None) -> dict[str, Any]:
    """What hooks are told of a push."""
    objects, html = repository.objects, f"{call.world.html_url}/{repository.full_name}"
    known = {commit.sha for commit in objects.history(before)}
    new = [commit for commit in objects.history(after) if commit.sha not in known]
    commits = [_pushed(call, repository, commit) for commit in reversed(new)]
    pusher = call.user()
    return {
        "ref": ref,
        "before": before or ZERO,
        "after": after or ZERO,
        "created": before is None,
        "deleted": after is None,
        "forced": before is not None and after is not None and before not in {c.sha for c in objects.history(after)},
        "base_ref": None,
        "compare": f"{html}/compare/{(before or ZERO)[:12]}...{(after or ZERO)[:12]}",
        "commits": commits,
        "head_commit": _pushed(call, repository, objects.commits[after]) if after else None,
        "pusher": {"name": pusher.login, "email": f"{pusher.id}+{pusher.login}@users.noreply.github.com"},
    }


def _pushed(call: Call, repository: Repository, commit: Commit) -> dict[str, Any]:
    changed = differences(repository, commit)
    return {
        "id": commit.sha,
        "tree_id": commit.tree,
        "distinct": True,
        "message": commit.message,
        "timestamp": shapes.when(commit.author.at),
        "url": f"{call.world.html_url}/{repository.full_name}/commit/{commit.sha}",
        "author": {"name": commit.author.name, "email": commit.author.email, "username": commit.author.name},
        "committer": {"name": commit.committer.name, "email": commit.committer.email, "username": commit.committer.name},
        "added": [path for path, (old, _) in changed.items() if old is None],
        "removed": [path for path, (_, new) in changed.items() if new is None],
        "modified": [path for path, (old, new) in changed.items() if old is not None and new is not None],
    }


def _person(one: Signature) -> dict[str, str]:
    return {"name": one.name, "email": one.email, "date": shapes.when(one.at)}


def git_commit(call: Call, repository: Repository, commit: Commit) -> dict[str, Any]:
    """git-commit; a file-commit's commit is the same."""
    base, html = shapes.repository_url(call.world, repository), f"{call.world.html_url}/{repository.full_name}"
    return {
        "sha": commit.sha,
        "node_id": f"C_{commit.sha}",
        "url": f"{base}/git/commits/{commit.sha}",
        "html_url": f"{html}/commit/{commit.sha}",
        "author": _person(commit.author),
        "committer": _person(commit.committer),
        "tree": {"sha": commit.tree, "url": f"{base}/git/trees/{commit.tree}"},
        "message": commit.message,
        "parents": [
            {"sha": parent, "url": f"{base}/git/commits/{parent}", "html_url": f"{html}/commit/{parent}"}
            for parent in commit.parents
        ],
        "verification": {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None},
    }


def commit_json(call: Call, repository: Repository, commit: Commit, single: bool = False) -> dict[str, Any]:
    """commit; files and counts come only with a single one."""
    base = shapes.repository_url(call.world, repository)
    inner = git_commit(call, repository, commit)
    author, committer = (_account(call, one) for one in (commit.author, commit.committer))
    content: dict[str, Any] = {
        "sha": commit.sha,
        "node_id": inner["node_id"],
        "commit": {name: inner[name] for name in ("author", "committer", "message", "tree", "url", "verification")}
        | {"comment_count": 0},
        "url": f"{base}/commits/{commit.sha}",
        "html_url": inner["html_url"],
        "comments_url": f"{base}/commits/{commit.sha}/comments",
        "author": author,
        "committer": committer,
        "parents": [
            {"sha": parent["sha"], "url": f"{base}/commits/{parent['sha']}", "html_url": parent["html_url"]}
            for parent in inner["parents"]
        ],
    }
    if single:
        files = [_changed_file(call, repository, commit, path, *pair) for path, pair in differences(repository, commit).items()]
        added, removed = (sum(each[name] for each in files) for name in ("additions", "deletions"))
        content |= {"files": files, "stats": {"total": added + removed, "additions": added, "deletions": removed}}
    return content


def _account(call: Call, one: Signature) -> dict[str, Any] | None:
    login = one.email.partition("@")[0].partition("+")[2] or one.name
    user = call.world.users.get(login.lower())
    return None if user is None else shapes.user(call.world, user)


def _lines(repository: Repository, entry: Entry | None) -> list[str]:
    raw = b"" if entry is None else repository.objects.blob(entry.sha) or b""
    return raw.decode("utf-8", "replace").splitlines()


def _changed_file(
    call: Call, repository: Repository, commit: Commit, path: str, old: Entry | None, new: Entry | None
) -> dict[str, Any]:
    import difflib

    before, after = (_lines(repository, entry) for entry in (old, new))
    lines = list(difflib.unified_diff(before, after, lineterm=""))[2:]
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    html = f"{call.world.html_url}/{repository.full_name}"
    shown = new or old
    return {
        "sha": shown.sha if shown else None,
        "filename": path,
        "status": "added" if old is None else "removed" if new is None else "modified",
        "additions": added,
        "deletions": removed,
        "changes": added + removed,
        "blob_url": f"{html}/blob/{commit.sha}/{path}",
        "raw_url": f"{html}/raw/{commit.sha}/{path}",
        "contents_url": f"{shapes.repository_url(call.world, repository)}/contents/{path}?ref={commit.sha}",
        "patch": "\n".join(lines),
    }
