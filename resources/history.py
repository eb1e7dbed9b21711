"""The training history: a local git repository with one report and one record a training.

Committing, reading and listing only; what the files say is made in ``mlops_assets.reports.report``.

Git's index takes no part in a commit: objects are written, a tree is made through a private index, and one
``update-ref`` with the expected old value publishes it. Killed at any moment, the branch is therefore either before or
after the commit, and calling again finishes the work. The working tree and the index are brought along for people who
look into the folder; the truth that is read back is the branch.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Protocol

from filelock import FileLock
from pydantic import ValidationError

from mlops_assets.errors import IntegrityError, MlopsError, NotFound, UserError
from mlops_assets.reports.record import TrainingRecord

TRAINING_ID: Final = re.compile(r"train-[0-9]{8}-[0-9]{6}-[0-9a-z]{4,32}")
FOLDER: Final = "training_history"
BRANCH: Final = "refs/heads/main"
SUFFIXES: Final = (".md", ".json")
#: Git holds its own lock files for milliseconds. Writers of ours exclude each other by another lock, so an older one
#: belongs to a process that was killed.
STALE_LOCK_SECONDS: Final = 1.0
#: A person may hold the index for as long as an editor is open; it is not needed for a commit.
STALE_INDEX_LOCK_SECONDS: Final = 60.0
LOCK_TIMEOUT_SECONDS: Final = 60.0
_ATTEMPTS: Final = 5
#: Settings of the person or machine must not change what a commit of the platform does or asks.
_CONFIGURATION: Final = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "commit.gpgSign=false"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.autocrlf=false"),
    *("-c", "core.attributesFile=/dev/null"),
    *("-c", "core.fsync=committed,loose-object"),
)


class _RefMovedError(Exception):
    """The branch is no longer where the commit was built upon."""


def checked_training_id(training_id: str) -> str:
    """``training_id`` if it is one, so that it may become a file name.

    Raises:
        UserError: it has another form, such as a path.
    """
    if not TRAINING_ID.fullmatch(training_id):
        raise UserError(
            "this is not a training id",
            field="training_id",
            given=repr(training_id[:80]),
            allowed=("train-YYYYMMDD-HHMMSS-xxxx",),
            next_step="copy the id from the thread or from `mlops trainings LINE`",
        )
    return training_id


def check_files(training_id: str, files: Mapping[str, bytes]) -> None:
    """Check that ``files`` are those of one training.

    Raises:
        UserError: ``training_id`` is none.
        ValueError: ``files`` has other names.
    """
    expected = {f"{checked_training_id(training_id)}{suffix}" for suffix in SUFFIXES}
    if files.keys() != expected:
        raise ValueError(f"files of {training_id} are {sorted(expected)}, not {sorted(files)}")


def not_in_history(training_id: str, known: Sequence[str]) -> NotFound:
    """The error for a training that is not committed; ``known`` are those that are, oldest first."""
    return NotFound(
        "there is no training of that id in the history",
        field="training_id",
        given=training_id,
        allowed=get_close_matches(training_id, known, n=3, cutoff=0.6) or known[-3:],
        next_step="`mlops trainings LINE` lists the trainings of a model line",
    )


def committed_record(content: bytes, place: str) -> TrainingRecord:
    """The record that is committed at ``place``.

    Raises:
        IntegrityError: ``content`` is none.
    """
    try:
        return TrainingRecord.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(f"{place} is not a training record: {error}") from error


def committed_ids(names: Iterable[str]) -> list[str]:
    """Ids of the trainings whose records are among the file names in ``FOLDER``, oldest first."""
    ids = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return sorted(training_id for training_id in ids if TRAINING_ID.fullmatch(training_id))


class History(Protocol):
    """Committed trainings, wherever the commits are."""

    def commit(self, training_id: str, files: Mapping[str, bytes], message: str) -> str:
        """Commit the two files of one training and return the commit id; the same files again give the existing one."""
        ...

    def read(self, training_id: str) -> TrainingRecord:
        """The committed record of one training."""
        ...

    def list(self) -> list[str]:
        """The ids of all committed trainings, oldest first."""
        ...

    def url(self, training_id: str) -> str:
        """Where a person reads the report of a training."""
        ...


class HistoryRepository:
    """Commits of trainings in a git repository at ``folder``, which is created on first use.

    Writers in any number of processes exclude each other by a file lock; readers need none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def commit(self, training_id: str, files: Mapping[str, bytes], message: str) -> str:
        """Commit the files of one training and return the commit id; the same files again give the existing one.

        Args:
            files: exactly ``<training_id>.md`` and ``<training_id>.json``, as ``report.history_files`` gives them.
            message: the commit message, of any content.

        Raises:
            UserError: ``training_id`` is none, or git is not installed.
            ValueError: ``files`` has other names.
            MlopsError: git failed, for example on a full disk; nothing is half done, and calling again is safe.
        """
        check_files(training_id, files)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".mlops.lock", timeout=LOCK_TIMEOUT_SECONDS):
            self._open()
            self._write(files)
            for _ in range(_ATTEMPTS):
                try:
                    commit = self._publish(training_id, files, message)
                except _RefMovedError:
                    continue
                self._bring_index_along()
                return commit
        raise MlopsError(f"the branch {BRANCH} of {self.folder} kept moving; is another program committing there?")

    def read(self, training_id: str) -> TrainingRecord:
        """The committed record of one training.

        Raises:
            UserError: ``training_id`` is none.
            NotFound: no training of that id is committed here.
            IntegrityError: what is committed is not a record.
        """
        checked_training_id(training_id)
        known = self.list()
        if training_id not in known:
            raise not_in_history(training_id, known)
        content = self._git("cat-file", "blob", f"{BRANCH}:{FOLDER}/{training_id}.json")
        return committed_record(content, f"{FOLDER}/{training_id}.json in {self.folder}")

    def list(self) -> list[str]:
        """The ids of all committed trainings, oldest first."""
        if not (self.folder / ".git").is_dir() or self._head() is None:
            return []
        names = self._git("ls-tree", "--name-only", "-z", f"{BRANCH}:{FOLDER}", missing_ok=True).decode().split("\0")
        return committed_ids(names)

    def url(self, training_id: str) -> str:
        """Where a person reads the report of a training: the path of the Markdown file."""
        return str(self.folder / FOLDER / f"{checked_training_id(training_id)}.md")

    def _open(self) -> None:
        """Create the repository in one step, or remove what a killed process left in it."""
        git = self.folder / ".git"
        for leftover in self.folder.glob(".mlops-init-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if not git.is_dir():
            fresh = Path(tempfile.mkdtemp(prefix=".mlops-init-", dir=self.folder))
            self._git("init", "--quiet", "--template=", "-b", "main", str(fresh), repository=None)
            for name, value in (("user.name", "mlops"), ("user.email", "mlops@localhost")):
                self._git("config", name, value, repository=fresh / ".git")
            exclude = fresh / ".git" / "info" / "exclude"
            exclude.parent.mkdir(exist_ok=True)
            exclude.write_text(".mlops*\n", encoding="utf-8")
            fresh.joinpath(".git").replace(git)
            fresh.rmdir()
        for lock in (git / f"{BRANCH}.lock", git / "HEAD.lock", git / "packed-refs.lock", git / "config.lock"):
            _clear(lock, STALE_LOCK_SECONDS)
        index_lock = git / "index.lock"
        if _age(index_lock) > STALE_INDEX_LOCK_SECONDS:
            index_lock.unlink(missing_ok=True)
        shutil.rmtree(git / "mlops", ignore_errors=True)
        (git / "mlops").mkdir(exist_ok=True)

    def _write(self, files: Mapping[str, bytes]) -> None:
        """Put the files into the working tree, each whole or not at all."""
        folder = self.folder / FOLDER
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            path = folder / name
            if path.is_file() and path.read_bytes() == content:
                continue
            part = self.folder / ".git" / "mlops" / name
            with part.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)

    def _publish(self, training_id: str, files: Mapping[str, bytes], message: str) -> str:
        """Build the tree with ``files`` upon the branch and move the branch to it; the existing commit where it is the same."""
        head = self._head()
        paths = [f"{FOLDER}/{name}" for name in sorted(files)]
        blobs = [
            self._git("hash-object", "-w", "--no-filters", "--stdin", given=files[Path(path).name]).decode().strip()
            for path in paths
        ]
        if head is not None:
            listed = self._git("ls-tree", "-z", "--object-only", head, "--", *paths).decode().split("\0")[:-1]
            if listed == blobs:
                return self._git("log", "-1", "--format=%H", head, "--", *paths).decode().strip()
        index = self._private_index(head)
        entries = "".join(f"100644 blob {blob}\t{path}\0" for blob, path in zip(blobs, paths, strict=True))
        self._git("update-index", "-z", "--index-info", given=entries.encode(), index=index)
        tree = self._git("write-tree", index=index).decode().strip()
        text = message.replace("\0", "\ufffd").strip() or training_id
        parents = () if head is None else ("-p", head)
        commit = self._git("commit-tree", tree, *parents, "-F", "-", given=f"{text}\n".encode(errors="replace")).decode().strip()
        try:
            self._git("update-ref", "-m", f"commit: {training_id}", BRANCH, commit, head or "0" * len(commit))
        except MlopsError:
            if self._head() != head:
                raise _RefMovedError from None
            raise
        return commit

    def _private_index(self, commit: str | None) -> Path:
        """An index of our own that holds the tree of ``commit``.

        It starts as a copy of the repository's index, whose file times save git from reading every report again.
        """
        index = self.folder / ".git" / "mlops" / "index"
        index.unlink(missing_ok=True)
        if commit is None:
            return index
        present = self.folder / ".git" / "index"
        if present.is_file():
            shutil.copyfile(present, index)
            try:
                self._git("read-tree", "--reset", commit, index=index)
            except MlopsError:  # the repository's index is damaged: build it anew
                index.unlink(missing_ok=True)
            else:
                return index
        self._git("read-tree", commit, index=index)
        return index

    def _bring_index_along(self) -> None:
        """Make ``git status`` in the folder true again, unless a person is using the index at this moment."""
        git = self.folder / ".git"
        if (git / "index.lock").exists() or (git / "HEAD").read_text(encoding="utf-8").strip() != f"ref: {BRANCH}":
            return
        index = git / "mlops" / "index"
        if not index.exists():
            index = self._private_index(BRANCH)
        self._git("update-index", "-q", "--refresh", index=index, work_tree=True, missing_ok=True)
        index.replace(git / "index")

    def _head(self) -> str | None:
        """The commit that the branch points at; None before the first one."""
        return self._git("rev-parse", "--verify", "--quiet", f"{BRANCH}^{{commit}}", missing_ok=True).decode().strip() or None

    def _git(
        self,
        *arguments: str,
        given: bytes = b"",
        index: Path | None = None,
        work_tree: bool = False,
        missing_ok: bool = False,
        repository: Path | None = Path(".git"),
    ) -> bytes:
        """Run one git command on this repository and return what it wrote.

        Variables such as GIT_DIR or GIT_INDEX_FILE, set where this runs inside somebody's git hook, are not passed on.
        """
        where: list[str] = []
        if repository is not None:
            git = self.folder / repository
            where = ["-c", f"safe.directory={git.parent.resolve()}", f"--git-dir={git.resolve()}"]
        if work_tree:
            where.append(f"--work-tree={self.folder.resolve()}")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        if index is not None:
            environment["GIT_INDEX_FILE"] = str(index.resolve())
        try:
            done = subprocess.run(
                ["git", *_CONFIGURATION, *where, *arguments],
                input=given,
                capture_output=True,
                cwd=self.folder,
                env=environment,
                check=False,
            )
        except FileNotFoundError as error:
            raise UserError("git is not installed", next_step="install git; the training history is a git repository") from error
        if done.returncode != 0:
            if missing_ok:
                return b""
            reason = done.stderr.decode(errors="replace").strip()[:600]
            raise MlopsError(f"git {arguments[0]} failed in {self.folder} (exit code {done.returncode}): {reason}")
        return done.stdout


def _age(path: Path) -> float:
    """Seconds since ``path`` was written; -1 where it does not exist."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return -1.0


def _clear(lock: Path, patience: float) -> None:
    """Wait for a lock file to go, and remove it once it is older than ``patience`` seconds."""
    while (age := _age(lock)) >= 0:
        if age > patience:
            lock.unlink(missing_ok=True)
            return
        time.sleep(0.02)
