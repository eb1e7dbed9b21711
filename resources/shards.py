"""The shards of KITTI versions in the store: made when first asked for, by one maker at a time, and reused by content.

A shard lies under ``datasets/{id}/frames/{digest}``, the digest being that of its frames' entries: another version of the
dataset that has the same frames there shares it. A shard that lost frames to damage is kept beside it, under a key that also
says which frames are left; it is not final: each request begins with what is kept and looks at its damaged files again, so that
a mended source heals the shard, and makes no whole frame twice. Copying is ``mlops_assets.data.frame_copying``.
"""

from __future__ import annotations

from pathlib import Path

from mlops_assets.data.dataset import KITTI, DatasetVersion
from mlops_assets.data.forms import ShardFolder, Told
from mlops_assets.data.frame_copying import copy_shard
from mlops_assets.data.frame_registration import folder_of
from mlops_assets.data.frame_shards import CONTENTS, SHARD, FrameList, ShardSummary
from mlops_assets.errors import IntegrityError, NotFound, UserError
from mlops_assets.request.digest import sha256_of
from mlops_assets.whole_files import link_or_copy
from resources.catalogue import Catalogue
from resources.store import ObjectStore
from resources.workshop import Workshop

#: Raised with every change of what a shard's folder holds for the same frames.
FORMAT = 1


class Shards:
    """Shards by version and number.

    Args:
        store: where they are kept.
        catalogue: tells the frames of a version, and where its copy is now.
        workshop: where they are made; what a killed process left there is gone on with.
    """

    def __init__(self, store: ObjectStore, catalogue: Catalogue, workshop: Workshop) -> None:
        self._store = store
        self._catalogue = catalogue
        self._workshop = workshop
        self._lists: dict[tuple[str, str], FrameList] = {}

    def frames(self, version: DatasetVersion, number: int, told: Told | None = None) -> tuple[Path, ShardSummary]:
        """The folder of a shard and its summary, made first where that is needed.

        Raises:
            NotFound: the version has no such shard, or its copy is not there any more.
            UserError: it is no version of frames.
            MlopsError: the shard cannot be written, e.g. the disk is full; asked again, it is gone on with.
            IntegrityError: a file in the store differs from its digest.
        """
        prefix = self._prefix(version, number)
        if self._store.manifest(prefix) is None:
            with self._workshop.making(prefix) as work:
                # Meanwhile another process may have made it.
                if self._store.manifest(prefix) is None:
                    prefix = self._made(version, number, work, prefix, told or (lambda fraction, text: None))
        folder = self._store.checkout(prefix)
        return folder, _as_asked((folder / SHARD).read_bytes(), version, number)

    def known(self, version: DatasetVersion, number: int) -> ShardSummary | None:
        """What came of a shard when it was last made, None where it never was. Raises as ``frames``, and makes nothing."""
        prefix = self._prefix(version, number)
        try:
            if self._store.manifest(prefix) is None:
                prefix = self._store.get(_damaged(prefix)).decode()
            return _as_asked(self._store.get(f"{prefix}/{SHARD}"), version, number)
        except NotFound:
            return None

    def opener(self, version: DatasetVersion, told: Told) -> ShardFolder:
        """``frames`` as a form's ``prepare`` takes it; ``told`` hears how far all shards of the version are together."""

        def opened(number: int) -> Path:
            def moved(fraction: float, text: str) -> None:
                told((number + fraction) / version.shards, f"{number + 1:,} / {version.shards:,}: {text}")

            return self.frames(version, number, moved)[0]

        return opened

    def listed(self, version: DatasetVersion) -> FrameList:
        """The frames of a version.

        Raises:
            UserError: it is a table.
        """
        if version.form != KITTI:
            raise UserError(
                "this dataset has no shards", field="dataset", given=version.dataset_id, next_step="name a KITTI copy"
            )
        known = (version.dataset_id, version.version)
        if known not in self._lists:
            self._lists = {known: FrameList.read(self._catalogue.folder(*known))}
        return self._lists[known]

    def _prefix(self, version: DatasetVersion, number: int) -> str:
        """Where the shard is once it is whole."""
        listed = self.listed(version)
        if not 0 <= number < version.shards:
            raise NotFound(
                f"{version.dataset_id} has no such shard", field="shard", given=number, allowed=(f"0 … {version.shards - 1}",)
            )
        entries = [entry.model_dump(mode="json") for entry in listed.shard(number)]
        return f"datasets/{version.dataset_id}/frames/{sha256_of({'format': FORMAT, 'frames': entries})[:32]}"

    def _made(self, version: DatasetVersion, number: int, work: Path, prefix: str, told: Told) -> str:
        """Make or complete the shard in ``work`` and publish it; the prefix it is under."""
        listed = self.listed(version)
        self._lay_out(prefix, work)
        summary = copy_shard(listed.shard(number), self._root(version, listed), version, number, work, told)
        if not summary.damaged:
            self._store.publish(prefix, work)
            return prefix
        left = f"{prefix}-{sha256_of([summary.digest, [file.model_dump() for file in summary.damaged]])[:8]}"
        self._store.publish(left, work)
        self._store.put(_damaged(prefix), left.encode())
        return left

    def _lay_out(self, prefix: str, work: Path) -> None:
        """Begin with what the store has of a shard that lost frames: files that ``work`` lacks, linked where that can be."""
        try:
            kept = self._store.checkout(self._store.get(_damaged(prefix)).decode())
        except (NotFound, IntegrityError):  # never damaged; or altered in the store, so that the source has to give everything
            return
        for path in [kept / CONTENTS, *(path for path in (kept / "training").rglob("*") if path.is_file())]:
            target = work / path.relative_to(kept)
            if not target.exists():
                link_or_copy(path, target)

    def _root(self, version: DatasetVersion, listed: FrameList) -> Path:
        """Where the copy is: where it was last registered from, else where it was first. Digests tell whether it is the same."""
        current = self._catalogue.current(version.dataset_id)
        places = [folder_of(current.entry.source)] if current.version == version.version else []
        places += [folder_of(version.entry.source), Path(listed.root)]
        return next((place for place in places if place.is_dir()), places[0])


def _damaged(prefix: str) -> str:
    """The key under which stands where a shard is kept as long as it lacks frames."""
    return f"{prefix}.damaged"


def _as_asked(content: bytes, version: DatasetVersion, number: int) -> ShardSummary:
    """The summary of a shard that may have been made for another version."""
    return ShardSummary.model_validate_json(content).model_copy(update={"version": version.version, "shard": number})
