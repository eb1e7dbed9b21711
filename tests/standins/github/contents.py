"""Files of a repository by their path: read, written and removed, each write a commit."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import quote

from tests.standins.github import shapes
from tests.standins.github.commits import commit_files, git_commit, resolve, signature
from tests.standins.github.exchange import Refused, Response, invalid, not_found
from tests.standins.github.objects import Commit, Entry
from tests.standins.github.routing import Call, operation
from tests.standins.github.state import Repository

_CONTENTS = "/repos/{owner}/{repo}/contents/{path}"
#: GitHub hands out larger files as raw bytes only.
LARGEST_WITH_CONTENT = 1024 * 1024


def _valid_path(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or any(part in ("", ".", "..", ".git") for part in parts) or "\0" in path:
        raise Refused(422, "path contains a malformed path component")
    return path


def _entry(call: Call, repository: Repository, ref: str, path: str, entry: Entry, content: bool) -> dict[str, Any]:
    base, html = shapes.repository_url(call.world, repository), f"{call.world.html_url}/{repository.full_name}"
    is_file = entry.type == "blob"
    raw = repository.objects.blob(entry.sha) or b""
    url = f"{base}/contents/{quote(path)}?ref={quote(ref, safe='')}"
    git = f"{base}/git/{entry.type}s/{entry.sha}"
    page = f"{html}/{entry.type}/{quote(ref)}/{quote(path)}"
    shown: dict[str, Any] = {
        "name": path.rpartition("/")[2],
        "path": path,
        "sha": entry.sha,
        "size": len(raw),
        "url": url,
        "html_url": page,
        "git_url": git,
        "download_url": f"{html}/raw/{quote(ref)}/{quote(path)}" if is_file else None,
        "type": "file" if is_file else "dir",
    }
    if content:
        small = len(raw) <= LARGEST_WITH_CONTENT
        shown |= {"content": base64.encodebytes(raw).decode() if small else "", "encoding": "base64" if small else "none"}
    return shown | {"_links": {"self": url, "git": git, "html": page}}


@operation("GET", "/repos/{owner}/{repo}/contents")
@operation("GET", _CONTENTS)
def get_content(call: Call) -> Response:
    """A file with its content, or the list of a folder."""
    repository = call.repository()
    path = call.parameters.get("path", "").strip("/")
    if not repository.refs:
        raise Refused(404, "This repository is empty.")
    ref = call.request.parameter("ref") or repository.default_branch
    try:
        tree = resolve(repository, ref).tree
    except Refused:
        raise Refused(404, f"No commit found for the ref {ref}") from None
    entry = repository.objects.look_up(tree, path)
    if entry is None:
        raise not_found()
    if entry.type == "blob":
        shown = _entry(call, repository, ref, path, entry, content=True)
        if "raw" in call.request.headers.get("accept", ""):
            raw = repository.objects.blob(entry.sha) or b""
            return Response(200, raw=raw, headers={"Content-Type": "application/vnd.github.raw"})
        return Response(200, shown)
    prefix = f"{path}/" if path else ""
    inside = repository.objects.trees[entry.sha]
    return Response(200, [_entry(call, repository, ref, prefix + each.name, each, content=False) for each in inside])


@operation("GET", "/repos/{owner}/{repo}/readme")
def get_readme(call: Call) -> Response:
    """The README at the root."""
    repository = call.repository()
    if repository.refs:
        tree = resolve(repository, call.request.parameter("ref")).tree
        for entry in repository.objects.trees[tree]:
            if entry.name.lower().partition(".")[0] == "readme" and entry.type == "blob":
                ref = call.request.parameter("ref") or repository.default_branch
                return Response(200, _entry(call, repository, ref, entry.name, entry, content=True))
    raise not_found()


@operation("PUT", _CONTENTS)
def put_content(call: Call) -> Response:
    """Create a file, or replace the one whose blob SHA the body names."""
    repository = call.repository("write", "")
    path = _valid_path(call.parameters["path"])
    message = str(call.text("Commit", "message", required=True))
    encoded = call.body.get("content")
    if not isinstance(encoded, str):
        raise Refused(422, 'Invalid request.\n\n"content" wasn\'t supplied.')
    try:
        raw = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(422, "content is not valid Base64") from None
    there = _there(call, repository, path)
    entry = Entry(there.mode if there else "100644", "", repository.objects.put_blob(raw))
    commit = _commit(call, repository, {path: entry}, message)
    branch = call.body.get("branch") or repository.default_branch
    content = _entry(call, repository, branch, path, entry, content=False)
    return Response(200 if there else 201, {"content": content, "commit": git_commit(call, repository, commit)})


@operation("DELETE", _CONTENTS)
def delete_content(call: Call) -> Response:
    """Remove the file whose blob SHA the body names."""
    repository = call.repository("write", "")
    path = _valid_path(call.parameters["path"])
    message = str(call.text("Commit", "message", required=True))
    if not call.body.get("sha"):
        raise invalid("Commit", "sha", "missing_field")
    if _there(call, repository, path) is None:
        raise not_found()
    commit = _commit(call, repository, {path: None}, message)
    return Response(200, {"content": None, "commit": git_commit(call, repository, commit)})


def _there(call: Call, repository: Repository, path: str) -> Entry | None:
    """The file as it is, which the body must name by its SHA.

    Raises:
        Refused: 422 without the SHA of a file that exists, 409 with another one.
    """
    head = repository.head(call.body.get("branch"))
    tree = repository.objects.commits[head].tree if head else None
    there = repository.objects.look_up(tree, path) if tree else None
    given = call.body.get("sha")
    if there is not None and there.type != "blob":
        raise Refused(422, f"{path} is a directory")
    if there is None:
        if given and call.request.method == "PUT":
            raise Refused(409, f"{path} does not match {given}")
        return None
    if not given:
        raise Refused(422, 'Invalid request.\n\n"sha" wasn\'t supplied.')
    if given != there.sha:
        raise Refused(409, f"{path} does not match {given}")
    return there


def _commit(call: Call, repository: Repository, changes: dict[str, Entry | None], message: str) -> Commit:
    user = call.user()
    committer = signature(call, call.body.get("committer"), user)
    author = signature(call, call.body["author"], user) if call.body.get("author") else committer
    branch = call.body.get("branch") or repository.default_branch
    return commit_files(call, repository, str(branch), changes, message, author, committer)
