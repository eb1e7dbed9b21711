"""Where objects live: one interface over a local folder and S3, with atomic create and folders whose manifest comes last.

Keys are ``/``-separated and relative. What is stored under which key belongs to ``artifacts``, ``catalogue`` and ``ledger``.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mlops_assets.errors import IntegrityError, NotFound, Unavailable, UserError
from mlops_assets.serving.package import MANIFEST, Manifest, make_manifest, verify
from resources.known_digests import known_digests

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Backend


class ObjectStore:
    """Objects under string keys. Every write is atomic; a reader never sees half an object.

    Every method raises ``Unavailable`` where the disk is full or may not be written, or S3 does not answer.

    Args:
        url: ``file:///folder`` or ``s3://bucket/prefix``.
        cache: local folder for copies of remote folders; a local store needs none.
        s3_endpoint: address of an S3-compatible service other than AWS.
    """

    def __init__(self, url: str, cache: Path, s3_endpoint: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._cache = cache
        self._s3_endpoint = s3_endpoint
        self._root = Path(unquote(urlsplit(url).path)) if urlsplit(url).scheme == "file" else None
        self._backend_instance: Backend | None = None

    @property
    def _backend(self) -> Backend:
        if self._backend_instance is None:
            from obstore.store import LocalStore, S3Store

            if self._root is not None:
                self._root.mkdir(parents=True, exist_ok=True)
                self._backend_instance = LocalStore(prefix=str(self._root))
            elif urlsplit(self.url).scheme == "s3":
                options: dict[str, Any] = {}
                if self._s3_endpoint is not None:
                    options = {
                        "endpoint": self._s3_endpoint,
                        "virtual_hosted_style_request": False,
                        "client_options": {"allow_http": self._s3_endpoint.startswith("http://")},
                    }
                self._backend_instance = S3Store.from_url(self.url, **options)
            else:
                raise UserError(
                    "unknown kind of object store",
                    field="store_url",
                    given=self.url,
                    allowed=["file:///absolute/folder", "s3://bucket/prefix"],
                    next_step="set MLOPS_STORE_URL or store_url in mlops.toml",
                )
        return self._backend_instance

    def get(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            NotFound: no object has this key.
        """
        import obstore

        try:
            with _failures_told(key):
                return bytes(obstore.get(self._backend, key).bytes())
        except FileNotFoundError as error:
            raise NotFound("no such object in the store", field="key", given=key) from error

    def exists(self, key: str) -> bool:
        """Whether an object has this key."""
        import obstore

        try:
            with _failures_told(key):
                obstore.head(self._backend, key)
        except FileNotFoundError:
            return False
        return True

    def put(self, key: str, data: bytes) -> None:
        """Create or replace one object; for the few pointers that may change."""
        import obstore

        with _failures_told(key):
            obstore.put(self._backend, key, data)

    def create(self, key: str, data: bytes) -> bool:
        """Create the object unless it exists; of many writers at once exactly one gets True."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with _failures_told(key):
            try:
                obstore.put(self._backend, key, data, mode="create")
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def remove(self, key: str) -> None:
        """Remove the object at ``key``; one that is not there is no error."""
        import obstore

        try:
            with _failures_told(key):
                obstore.delete(self._backend, key)
        except FileNotFoundError:
            return

    def keys(self, prefix: str) -> list[str]:
        """Keys below ``prefix/``, sorted."""
        import obstore

        with _failures_told(prefix):
            return sorted(str(meta["path"]) for batch in obstore.list(self._backend, prefix=prefix) for meta in batch)

    def children(self, prefix: str) -> list[str]:
        """Names of the folders directly below ``prefix/``, sorted."""
        import obstore

        with _failures_told(prefix):
            found = obstore.list_with_delimiter(self._backend, prefix=prefix)["common_prefixes"]
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)

    def uri(self, key: str) -> str:
        """The address of a key for people and links."""
        return f"{self.url}/{key}"

    def publish(self, prefix: str, folder: Path) -> Manifest:
        """Upload a folder under ``prefix``, its manifest last; only then is it visible to ``checkout``.

        Published folders are immutable: if ``prefix`` already has a manifest, that one is returned and nothing is
        written. Files of an earlier attempt that never got its manifest are replaced. A file without write permission
        will not change any more: where the store is a folder of the same disk it is linked, and takes no second place.
        """
        import obstore

        published = self.manifest(prefix)
        if published is not None:
            return published
        with known_digests(self._cache) as digest_of:
            manifest = make_manifest(folder, digest_of)
        self._sweep(prefix)
        for name in manifest.files:
            if self._root is None or not _linked(folder / name, self._root / prefix / name):
                with _failures_told(f"{prefix}/{name}"):
                    obstore.put(self._backend, f"{prefix}/{name}", folder / name)
        if not self.create(f"{prefix}/{MANIFEST}", manifest.model_dump_json(indent=1).encode()):
            winner = self.manifest(prefix)
            if winner is None or winner.files != manifest.files:
                raise IntegrityError(f"two writers published different content under {prefix}")
        return manifest

    def _sweep(self, prefix: str) -> None:
        """Remove what a killed writer left under its temporary name (``name#1``) in a local folder."""
        if self._root is not None:
            for path in (self._root / prefix).rglob("*#*"):
                if path.name.rpartition("#")[2].isdecimal():
                    path.unlink(missing_ok=True)

    def manifest(self, prefix: str) -> Manifest | None:
        """The manifest of a published folder; None where nothing is (completely) published."""
        try:
            return Manifest.model_validate_json(self.get(f"{prefix}/{MANIFEST}"))
        except NotFound:
            return None

    def checkout(self, prefix: str) -> Path:
        """A local, read-only view of a published folder; every file has been checked against the manifest.

        Large folders of final files would be read anew at every step: see ``known_digests`` for which are not.

        Raises:
            NotFound: nothing is published under ``prefix``.
            IntegrityError: a file differs from the manifest.
        """
        manifest = self.manifest(prefix)
        if manifest is None:
            raise NotFound("no complete folder in the store", field="prefix", given=prefix)
        if self._root is not None:
            folder = self._root / prefix
            with known_digests(self._cache) as digest_of:
                verify(folder, digest_of)
            return folder
        return self._cached(prefix, manifest)

    def _cached(self, prefix: str, manifest: Manifest) -> Path:
        """The local copy of a remote folder, fetched once by one process; one that was damaged since is fetched again."""
        from filelock import FileLock

        folder = self._cache / manifest.digest
        if not self._is_whole(folder):
            self._cache.mkdir(parents=True, exist_ok=True)
            with FileLock(self._cache / f".{manifest.digest}.lock"):
                if not self._is_whole(folder):  # nobody has fetched it meanwhile
                    self._fetch(prefix, manifest, folder)
        return folder

    def _is_whole(self, folder: Path) -> bool:
        with known_digests(self._cache) as digest_of:
            try:
                verify(folder, digest_of)
            except IntegrityError:  # also where there is none
                return False
        return True

    def _fetch(self, prefix: str, manifest: Manifest, folder: Path) -> None:
        """Make ``folder`` the remote one, at once; its files are final, so that they are not read anew at every step."""
        partial = self._cache / f".{manifest.digest}.partial"
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        try:
            for name in manifest.files:
                target = partial / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self.download(f"{prefix}/{name}", target)
                target.chmod(0o444)
            partial.mkdir(parents=True, exist_ok=True)
            (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1))
            verify(partial)
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
        finally:  # after a rename there is none; after an error it would only take room
            shutil.rmtree(partial, ignore_errors=True)

    def download(self, key: str, target: Path) -> None:
        """Copy one object to a local file, block by block."""
        import obstore

        try:
            with _failures_told(key), target.open("wb") as out:
                for block in obstore.get(self._backend, key).stream(min_chunk_size=8 * 1024 * 1024):
                    out.write(block)
                out.flush()
                os.fsync(out.fileno())  # a digest that is remembered must not outlive the bytes in a power cut
        except FileNotFoundError as error:
            raise NotFound("no such object in the store", field="key", given=key) from error


@contextmanager
def _failures_told(key: str) -> Iterator[None]:
    """Failures of the disk or the network as one of our errors, without the backend's own structures."""
    from obstore.exceptions import BaseError

    try:
        yield
    except BaseError as error:
        reason = str(error).partition("\n")[0][:300]
        raise Unavailable(
            f"the object store failed at {key}: {reason}; free space, or mend access to it, and start this again"
        ) from error


def _linked(source: Path, target: Path) -> bool:
    """Whether ``target`` has become another name of ``source``, which only files that are final can have.

    A link appears whole or not at all. What lies at ``target`` from an earlier attempt is taken away first; its folder has no
    manifest yet, so nobody reads it.
    """
    if source.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, a file system without links, or another writer was faster: it is written as any other
        return False
    return True
