"""Files that are whole or not there at all, and one file under two names; for every room of the product.

What a file holds is its writer's matter. A folder that appears whole is made beside its place and renamed where it is published.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

#: Errors that say that these two places cannot share a file: other disks, no right, too many names, unknown to the file system.
_NO_LINKS: Final = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def whole_file(path: Path, *, durable: bool = False, shared: bool = False) -> Iterator[Path]:
    """A neighbour of ``path`` to write to; it takes the place of ``path`` at the end of the block.

    Readers see the old file or the new one, never half of it. Where the block raises, ``path`` stays as it was and the neighbour
    goes. What a killed process left there is overwritten by the next attempt, unless ``shared``.

    Args:
        path: the file; its folder is made where there is none.
        durable: bytes and name are on the disk before this ends, so that it also holds when the power fails.
        shared: others may write the same path at the same time; the last one to finish wins.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = f".{os.getpid()}-{threading.get_ident()}" if shared else ""
    beside = path.with_name(f".{path.name}{own}.part")
    beside.unlink(missing_ok=True)  # it may be another name of a file that is somebody's
    try:
        yield beside
        if durable:
            make_durable(beside)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    if durable:
        make_durable(path.parent)


def write_whole(path: Path, content: str | bytes, *, durable: bool = False, shared: bool = False) -> None:
    """Write text as UTF-8, or bytes; see ``whole_file``."""
    with whole_file(path, durable=durable, shared=shared) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


def make_durable(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` another name of the file ``source``, or a read-only copy where the two places cannot share one.

    What was at ``target`` is replaced; a second call changes nothing. ``source`` must be final: who writes to one writes to both.

    Raises:
        OSError: neither can be made.
    """
    with whole_file(target) as beside:
        try:
            os.link(source.resolve(), beside)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(source, beside)
            beside.chmod(0o444)
        # Renaming one name of a file onto another of the same file does nothing and leaves both.
        target.unlink(missing_ok=True)
