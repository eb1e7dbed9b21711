"""The training history in the GitHub repository where the issues are: one commit a training, on the default branch.

Committing, reading and listing only; what the files say is made in ``mlops_assets.reports.report``.

Blobs, a tree and a commit are written first and seen by nobody; moving the branch, never by force, publishes all of it at once.
Killed at any moment, the branch is either before or after the commit, and calling again finds out which.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from mlops_assets.errors import MlopsError
from mlops_assets.reports.record import TrainingRecord
from resources.github_client import GitHubClient, Refused
from resources.github_payloads import Blob, Commit, FileContent, GitObject, Reference, Tree, understood
from resources.github_text import sendable
from resources.history import FOLDER, check_files, checked_training_id, committed_ids, committed_record, not_in_history

#: The branch of a busy repository moves while we commit; each try looks anew.
ATTEMPTS: Final = 8
_FIRST_FILE: Final = f"{FOLDER}/README.md"
_FIRST_TEXT: Final = b"# Training history\n\nOne report (`.md`) and one record (`.json`) for each training.\n"


class GitHubHistory:
    """Commits of trainings through GitHub's git data API; needs no checkout and no git."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client

    def commit(self, training_id: str, files: Mapping[str, bytes], message: str) -> str:
        """Commit the files of one training and return the commit id; the same files again give the existing one.

        Args:
            files: exactly ``<training_id>.md`` and ``<training_id>.json``, as ``report.history_files`` gives them.
            message: the commit message, of any content.

        Raises:
            UserError: ``training_id`` is none, or GitHub refuses the commit, for example by a rule of the branch.
            ValueError: ``files`` has other names.
            Unavailable: GitHub keeps failing; nothing is half done, and calling again is safe.
        """
        check_files(training_id, files)
        content = {f"{FOLDER}/{name}": files[name] for name in sorted(files)}
        refusal: Refused | None = None
        built_upon: str | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                self._client.pause(0.25 * attempt)
            head = self._head()
            if head is None:
                self._begin()
                continue
            if existing := self._existing(head, content):
                return existing
            if refusal is not None and head == built_upon:
                raise refusal  # nobody moved the branch: it is a rule that refuses us
            try:
                return self._publish(head, content, sendable(message).strip() or training_id)
            except Refused as refused:
                if refused.status not in (409, 422):
                    raise
                refusal, built_upon = refused, head
        raise MlopsError(f"the branch {self._branch} of {self._client.name} kept moving while {training_id} was committed")

    def read(self, training_id: str) -> TrainingRecord:
        """The committed record of one training.

        Raises:
            UserError: ``training_id`` is none.
            NotFound: no training of that id is committed there.
            IntegrityError: what is committed is not a record.
        """
        name = f"{FOLDER}/{checked_training_id(training_id)}.json"
        found = self._file(name, self._branch)
        if found is None:
            raise not_in_history(training_id, self.list())
        if found.encoding != "base64":  # above 1 MB the contents come by their id only
            blob = understood(Blob, self._client.get(f"git/blobs/{found.sha}").content)
            raw = b64decode(blob.content) if blob.encoding == "base64" else blob.content.encode()
        else:
            raw = b64decode(found.content)
        return committed_record(raw, f"{name} in {self._client.name}")

    def list(self) -> list[str]:
        """The ids of all committed trainings, oldest first."""
        head = self._head()
        if head is None:
            return []
        top = understood(Tree, self._client.get(f"git/trees/{head}").content)
        folder = next((entry for entry in top.tree if entry.path == FOLDER and entry.type == "tree"), None)
        if folder is None:
            return []
        inside = understood(Tree, self._client.get(f"git/trees/{folder.sha}").content)
        if inside.truncated:
            raise MlopsError(f"{FOLDER} in {self._client.name} has more files than GitHub lists at once")
        return committed_ids(entry.path for entry in inside.tree)

    def url(self, training_id: str) -> str:
        """Where a person reads the report of a training: the Markdown file's page on GitHub."""
        page = f"{quote(self._branch)}/{FOLDER}/{checked_training_id(training_id)}.md"
        return f"{self._client.repository.html_url}/blob/{page}"

    @property
    def _branch(self) -> str:
        return self._client.repository.default_branch

    @property
    def _ref(self) -> str:
        return f"heads/{quote(self._branch)}"

    def _head(self) -> str | None:
        """The commit that the branch points at; None where the repository has none yet."""
        try:
            return understood(Reference, self._client.get(f"git/ref/{self._ref}").content).object.sha
        except Refused as refused:
            if refused.status == 409:  # "Git Repository is empty."
                return None
            raise

    def _begin(self) -> None:
        """Make the first commit of an empty repository, in which the git data API answers 409 to everything.

        It holds none of the training's files, so that these come in one commit as always.
        """
        body = {"message": "Begin the training history", "content": b64encode(_FIRST_TEXT).decode()}
        try:
            self._client.write("PUT", f"contents/{_FIRST_FILE}", body, repeatable=True)
        except Refused as refused:
            if refused.status not in (409, 422):  # somebody else, or our own first try, has begun it
                raise

    def _existing(self, head: str, content: Mapping[str, bytes]) -> str | None:
        """The commit that brought these very files, if ``head`` holds them."""
        for path, raw in content.items():
            found = self._file(path, head)
            if found is None or found.sha != _blob_id(raw):
                return None
        commits = self._client.get("commits", {"sha": head, "path": next(iter(content)), "per_page": 1})
        return understood(tuple[GitObject, ...], commits.content)[0].sha

    def _file(self, path: str, ref: str) -> FileContent | None:
        try:
            return understood(FileContent, self._client.get(f"contents/{quote(path)}", {"ref": ref}).content)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def _publish(self, head: str, content: Mapping[str, bytes], message: str) -> str:
        """Write the objects upon ``head`` and move the branch. Objects that nothing refers to are harmless, so each of these
        may be sent again."""
        entries = []
        for path, raw in content.items():
            sent = {"content": b64encode(raw).decode(), "encoding": "base64"}
            blob = understood(GitObject, self._write("POST", "git/blobs", sent))
            entries.append({"path": path, "mode": "100644", "type": "blob", "sha": blob.sha})
        base = understood(Commit, self._client.get(f"git/commits/{head}").content).tree.sha
        tree = understood(GitObject, self._write("POST", "git/trees", {"base_tree": base, "tree": entries}))
        made = {"message": message, "tree": tree.sha, "parents": [head]}
        commit = understood(GitObject, self._write("POST", "git/commits", made))
        self._write("PATCH", f"git/refs/{self._ref}", {"sha": commit.sha, "force": False})
        return commit.sha

    def _write(self, verb: str, path: str, body: object) -> object:
        return self._client.write(verb, path, body, repeatable=True).content


def _blob_id(raw: bytes) -> str:
    """The name that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()
