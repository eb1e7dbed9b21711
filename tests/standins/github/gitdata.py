"""Git through the API: refs, blobs, trees, commits, the history, and statuses of commits."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import Any

from tests.standins.github import shapes
from tests.standins.github.commits import commit_json, differences, git_commit, move, resolve, signature
from tests.standins.github.exchange import Refused, Response, invalid, not_found
from tests.standins.github.objects import Commit, Entry
from tests.standins.github.routing import Call, operation, page
from tests.standins.github.state import Repository, Status

_REPOSITORY = "/repos/{owner}/{repo}"
_GIT = _REPOSITORY + "/git"
MODES = ("100644", "100755", "040000", "160000", "120000")


def _ref_json(call: Call, repository: Repository, ref: str) -> dict[str, Any]:
    base, sha = shapes.repository_url(call.world, repository), repository.refs[ref]
    return {
        "ref": ref,
        "node_id": shapes.node_id("Ref", repository.id),
        "url": f"{base}/git/{ref}",
        "object": {"sha": sha, "type": "commit", "url": f"{base}/git/commits/{sha}"},
    }


def _not_empty(repository: Repository) -> None:
    if not repository.refs:
        raise Refused(409, "Git Repository is empty.")


@operation("GET", _GIT + "/ref/{ref}")
def get_ref(call: Call) -> Response:
    """One ref, such as ``heads/main``."""
    repository, ref = call.repository(), f"refs/{call.parameters['ref']}"
    _not_empty(repository)
    if ref not in repository.refs:
        raise not_found()
    return Response(200, _ref_json(call, repository, ref))


@operation("GET", _GIT + "/matching-refs/{ref}")
def matching_refs(call: Call) -> Response:
    """Refs that begin so."""
    repository, start = call.repository(), f"refs/{call.parameters['ref']}"
    return Response(200, [_ref_json(call, repository, ref) for ref in sorted(repository.refs) if ref.startswith(start)])


def _commit_named(call: Call, repository: Repository, sha: Any, status: int = 422) -> Commit:
    commit = repository.objects.commits.get(str(sha))
    if commit is None:
        raise Refused(status, "Object does not exist" if status == 422 else "Not Found")
    return commit


@operation("POST", _GIT + "/refs")
def create_ref(call: Call) -> Response:
    """A new branch or tag."""
    repository, ref = call.repository("write", ""), str(call.body.get("ref") or "")
    if not re.fullmatch(r"refs/(?:heads|tags)/[^\s~^:?*\[\\]+", ref) or ".." in ref:
        raise Refused(422, "Reference name is not valid. It must start with 'refs/' and contain at least one more slash.")
    if ref in repository.refs:
        raise Refused(422, "Reference already exists")
    move(call, repository, ref, _commit_named(call, repository, call.body.get("sha")).sha)
    content = _ref_json(call, repository, ref)
    return Response(201, content, {"Location": content["url"]})


@operation("PATCH", _GIT + "/refs/{ref}")
def update_ref(call: Call) -> Response:
    """Move a ref forward, or anywhere with ``force``."""
    repository, ref = call.repository("write", ""), f"refs/{call.parameters['ref']}"
    commit = _commit_named(call, repository, call.body.get("sha"))
    if ref not in repository.refs:
        raise Refused(422, "Reference does not exist")
    if not call.body.get("force") and repository.refs[ref] not in {each.sha for each in repository.objects.history(commit.sha)}:
        raise Refused(422, "Update is not a fast forward")
    move(call, repository, ref, commit.sha)
    return Response(200, _ref_json(call, repository, ref))


@operation("DELETE", _GIT + "/refs/{ref}")
def delete_ref(call: Call) -> Response:
    """Remove a ref."""
    repository, ref = call.repository("write", ""), f"refs/{call.parameters['ref']}"
    if ref not in repository.refs:
        raise Refused(422, "Reference does not exist")
    move(call, repository, ref, None)
    return Response(204)


@operation("POST", _GIT + "/blobs")
def create_blob(call: Call) -> Response:
    """Store bytes."""
    repository, content = call.repository("write", ""), call.body.get("content")
    if not isinstance(content, str):
        raise Refused(422, 'Invalid request.\n\n"content" wasn\'t supplied.')
    encoded = call.body.get("encoding") == "base64"
    try:
        raw = base64.b64decode("".join(content.split()), validate=True) if encoded else content.encode()
    except (binascii.Error, ValueError):
        raise Refused(422, "content is not valid Base64") from None
    sha = repository.objects.put_blob(raw)
    return Response(201, {"url": f"{shapes.repository_url(call.world, repository)}/git/blobs/{sha}", "sha": sha})


@operation("GET", _GIT + "/blobs/{file_sha}")
def get_blob(call: Call) -> Response:
    """Bytes by their name."""
    repository, sha = call.repository(), call.parameters["file_sha"]
    raw = repository.objects.blob(sha)
    if raw is None:
        raise not_found()
    content = {
        "sha": sha,
        "node_id": f"B_{sha}",
        "size": len(raw),
        "url": f"{shapes.repository_url(call.world, repository)}/git/blobs/{sha}",
        "content": base64.encodebytes(raw).decode(),
        "encoding": "base64",
    }
    return Response(200, content)


def _tree_json(call: Call, repository: Repository, sha: str, recursive: bool) -> dict[str, Any]:
    base, objects = shapes.repository_url(call.world, repository), repository.objects

    def entries(tree: str, prefix: str) -> list[dict[str, Any]]:
        found = []
        for entry in objects.trees[tree]:
            shown: dict[str, Any] = {"path": prefix + entry.name, "mode": entry.mode, "type": entry.type, "sha": entry.sha}
            if entry.type == "blob":
                shown["size"] = len(objects.blob(entry.sha) or b"")
            found.append(shown | {"url": f"{base}/git/{entry.type}s/{entry.sha}"})
            if recursive and entry.type == "tree":
                found += entries(entry.sha, f"{prefix}{entry.name}/")
        return found

    return {"sha": sha, "url": f"{base}/git/trees/{sha}", "tree": entries(sha, ""), "truncated": False}


@operation("POST", _GIT + "/trees")
def create_tree(call: Call) -> Response:
    """A tree from entries, on top of another where the body names one."""
    repository = call.repository("write", "")
    objects, wanted, base = repository.objects, call.body.get("tree"), call.body.get("base_tree")
    if not isinstance(wanted, list) or not wanted:
        raise Refused(422, "Invalid tree info")
    if base is not None and base not in objects.trees:
        raise Refused(422, "base_tree is not a valid tree oid")
    changes: dict[str, Entry | None] = {}
    for each in wanted:
        changes[_tree_path(each)] = _tree_entry(repository, each)
    sha = objects.changed(base or objects.put_tree(()), changes)
    return Response(201, _tree_json(call, repository, sha, recursive=False))


def _tree_path(each: Any) -> str:
    path = each.get("path") if isinstance(each, dict) else None
    if not isinstance(path, str) or any(part in ("", ".", "..", ".git") for part in path.split("/")):
        raise Refused(422, "tree.path contains a malformed path component")
    return path


def _tree_entry(repository: Repository, each: dict[str, Any]) -> Entry | None:
    if "sha" in each and each["sha"] is None:
        return None
    mode = each.get("mode", "100644")
    if mode not in MODES:
        raise Refused(422, "tree.mode is not one of 100644, 100755, 040000, 160000, 120000")
    if "sha" in each and "content" in each:
        raise Refused(422, "Must supply either tree.sha or tree.content")
    sha = repository.objects.put_blob(str(each["content"]).encode()) if "content" in each else each.get("sha")
    if sha not in repository.objects.raw:
        raise Refused(422, "tree.sha is not a valid blob or tree oid")
    return Entry(mode, "", str(sha))


@operation("GET", _GIT + "/trees/{tree_sha}")
def get_tree(call: Call) -> Response:
    """A tree, or that of a commit or branch; with ``recursive`` also what is below."""
    repository, name = call.repository(), call.parameters["tree_sha"]
    sha = name if name in repository.objects.trees else resolve(repository, name).tree
    recursive = call.request.parameter("recursive") != ""
    return Response(200, _tree_json(call, repository, sha, recursive))


@operation("POST", _GIT + "/commits")
def create_commit(call: Call) -> Response:
    """A commit of a tree, on no branch yet."""
    repository, user = call.repository("write", ""), call.user()
    message, tree = str(call.text("Commit", "message", required=True)), call.body.get("tree")
    parents = tuple(str(each) for each in call.body.get("parents") or ())
    if tree not in repository.objects.trees:
        raise Refused(422, "Tree SHA does not exist")
    if any(parent not in repository.objects.commits for parent in parents):
        raise Refused(422, "Parent SHA does not exist or is not a commit object")
    author = signature(call, call.body.get("author"), user)
    committer = signature(call, call.body["committer"], user) if call.body.get("committer") else author
    sha = repository.objects.put_commit(str(tree), parents, author, committer, message)
    return Response(201, git_commit(call, repository, repository.objects.commits[sha]))


@operation("GET", _GIT + "/commits/{commit_sha}")
def get_git_commit(call: Call) -> Response:
    """A commit as git has it."""
    repository = call.repository()
    return Response(200, git_commit(call, repository, _commit_named(call, repository, call.parameters["commit_sha"], 404)))


@operation("GET", _REPOSITORY + "/commits")
def list_commits(call: Call) -> Response:
    """History of a branch, newest first; only what touched ``path`` where it is given."""
    repository, path = call.repository(), call.request.parameter("path").strip("/")
    head = resolve(repository, call.request.parameter("sha") or None)
    after, before = (_time(call, name) for name in ("since", "until"))
    found = [
        commit
        for commit in repository.objects.history(head.sha)
        if (after is None or commit.committer.at >= after)
        and (before is None or commit.committer.at <= before)
        and (not path or any(name == path or name.startswith(f"{path}/") for name in differences(repository, commit)))
    ]
    return page(call, found, lambda commit: commit_json(call, repository, commit))


def _time(call: Call, name: str) -> datetime | None:
    value = call.request.parameter(name)
    try:
        return datetime.fromisoformat(value) if value else None
    except ValueError:
        raise invalid("Commit", name, "invalid") from None


@operation("GET", _REPOSITORY + "/commits/{ref}/status")
def combined_status(call: Call) -> Response:
    """The newest status of each context of a commit, and what they come to."""
    repository = call.repository()
    commit = resolve(repository, call.parameters["ref"])
    newest = {status.context: status for status in repository.statuses.get(commit.sha, [])}
    states = {status.state for status in newest.values()}
    state = "failure" if states & {"failure", "error"} else "success" if states == {"success"} else "pending"
    base = shapes.repository_url(call.world, repository)

    def wrap(shown: list[Any]) -> dict[str, Any]:
        return {
            "state": state,
            "statuses": shown,
            "sha": commit.sha,
            "total_count": len(newest),
            "repository": shapes.repository(call.world, repository),
            "commit_url": f"{base}/commits/{commit.sha}",
            "url": f"{base}/commits/{commit.sha}/status",
        }

    return page(call, list(newest.values()), lambda status: _status_json(call, repository, commit.sha, status), wrap)


def _status_json(call: Call, repository: Repository, sha: str, status: Status) -> dict[str, Any]:
    return {
        "url": f"{shapes.repository_url(call.world, repository)}/statuses/{sha}",
        "avatar_url": f"{call.world.html_url}/avatars/u/{status.creator.id}",
        "id": status.id,
        "node_id": shapes.node_id("Status", status.id),
        "state": status.state,
        "description": status.description,
        "target_url": status.target_url,
        "context": status.context,
        "created_at": shapes.when(status.created_at),
        "updated_at": shapes.when(status.created_at),
    }


@operation("GET", _REPOSITORY + "/commits/{ref}")
def get_commit(call: Call) -> Response:
    """A commit with the files that it changed."""
    repository = call.repository()
    try:
        commit = resolve(repository, call.parameters["ref"])
    except Refused as refused:
        if refused.status != 404:
            raise
        raise Refused(422, f"No commit found for SHA: {call.parameters['ref']}", []) from None
    return Response(200, commit_json(call, repository, commit, single=True))


@operation("POST", _REPOSITORY + "/statuses/{sha}")
def create_status(call: Call) -> Response:
    """Put a status on a commit."""
    repository, user = call.repository("write", ""), call.user()
    commit = _commit_named(call, repository, call.parameters["sha"])
    state, context = call.body.get("state"), call.text("Status", "context") or "default"
    if state not in ("error", "failure", "pending", "success"):
        raise invalid("Status", "state", "invalid")
    description, target = call.text("Status", "description", longest=140), call.text("Status", "target_url")
    status = Status(call.world.next_id(), str(state), context, description, target, user, call.now)
    repository.statuses.setdefault(commit.sha, []).append(status)
    shown = _status_json(call, repository, commit.sha, status) | {"creator": shapes.user(call.world, user)}
    return Response(201, shown)
