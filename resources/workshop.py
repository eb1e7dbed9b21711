"""Folders in which something is made for the store: for one process at a time, kept over a kill, and removed in the end.

What a killed process left, or one without room on the disk, is gone on with by the next that makes the same. It is removed once
it is of no use: what was made there is in the store, or nobody has come back to it for a week. What is made there, and how to go
on with it, is up to ``shards`` and ``frame_products``. ``passing`` is for work that is begun anew instead.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.errors import MlopsError
from mlops_assets.serving.package import MANIFEST
from resources.store import ObjectStore

if TYPE_CHECKING:
    from filelock import BaseFileLock

KEPT_SECONDS = 7 * 24 * 3600
#: Stands for ``/`` in names of folders; no name of a dataset has it.
_SLASH = "+"


class Workshop:
    """Work in progress by the prefix that it is published under.

    Args:
        store: where work is published.
        folder: has one folder for each piece of work and nothing else.
        locks: folder of the locks; they outlive the work, so that no two processes ever hold different files of one name.
    """

    def __init__(self, store: ObjectStore, folder: Path, locks: Path) -> None:
        self._store = store
        self._folder = folder
        self._locks = locks

    @contextmanager
    def making(self, prefix: str) -> Iterator[Path]:
        """A folder to make ``prefix`` in, with what a killed process left of it; others who ask for it wait.

        It is removed when the block ends, and stays when an error ends it.

        Raises:
            MlopsError: a file cannot be written, e.g. the disk is full.
        """
        work = self._folder / prefix.replace("/", _SLASH)
        try:
            with self._lock(prefix):
                work.mkdir(parents=True, exist_ok=True)
                os.utime(work)
                self.sweep()
                yield work
                shutil.rmtree(work, ignore_errors=True)
        except OSError as error:
            raise MlopsError(
                f"{error.filename or work}: {error.strerror or error}; free space or mend access, then start it again: "
                "what is made so far is kept"
            ) from error

    def sweep(self) -> None:
        """Remove what nobody will go on with; what some process works on stays, however old."""
        from filelock import Timeout

        for work in sorted(self._folder.glob(f"*{_SLASH}*")):
            prefix = work.name.replace(_SLASH, "/")
            try:
                with self._lock(prefix).acquire(timeout=0):
                    if self._is_over(work, prefix):
                        shutil.rmtree(work, ignore_errors=True)
            except Timeout:
                continue

    def _is_over(self, work: Path, prefix: str) -> bool:
        """Whether it is published, or was last begun or gone on with long ago."""
        try:
            begun = work.stat().st_mtime
        except FileNotFoundError:  # another process has removed it
            return False
        return time.time() - begun > KEPT_SECONDS or self._store.exists(f"{prefix}/{MANIFEST}")

    def _lock(self, prefix: str) -> BaseFileLock:
        from filelock import FileLock

        self._locks.mkdir(parents=True, exist_ok=True)
        return FileLock(self._locks / f"{prefix.replace('/', _SLASH)}.lock")


@contextmanager
def passing(scratch: Path, kind: str) -> Iterator[Path]:
    """A folder of this call alone, gone when the block ends; those of processes that were killed are removed first."""
    import psutil

    scratch.mkdir(parents=True, exist_ok=True)
    for folder in scratch.glob(f"{kind}-*-*"):
        process = folder.name.split("-")[1]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=f"{kind}-{os.getpid()}-", ignore_cleanup_errors=True) as name:
        yield Path(name)
