"""Making one shard: files copied out of a KITTI copy into the object layout, each held to its digest and read once.

A frame is finished or it is not: its files are made beside the shard, moved into place together, and then noted. A
process that is started again on the same folder does only what is not noted, or not there as noted. A damaged file keeps its
own frame out and no other. Where a shard is kept, and when it is tried again, is in ``resources.shards``.

A file in its place is without write permission: it will not change, and whoever needs it elsewhere may link it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import ValidationError

from mlops_assets.data.dataset import DatasetVersion
from mlops_assets.data.forms import Told
from mlops_assets.data.frame_shards import (
    CONTENTS,
    SHARD,
    DamagedFile,
    FrameContent,
    FrameEntry,
    KeptFile,
    ShardContents,
    ShardSummary,
    SourceFile,
)
from mlops_assets.data.kitti.calibration import calibration_text, read_calibration
from mlops_assets.data.kitti.check import Finding, check_frame
from mlops_assets.data.kitti.frames import KittiCopy
from mlops_assets.data.kitti.labels import DONT_CARE, KittiObjects, label_text
from mlops_assets.data.kitti.layout import Frame, FrameIndex, Part
from mlops_assets.data.kitti.tracking import TrackedObjects, read_tracking_labels
from mlops_assets.data.reasons import FileRejected, Reason, because
from mlops_assets.errors import DataRejected, MlopsError, NotFound
from mlops_assets.request.digest import sha256_of
from mlops_assets.whole_files import make_durable, write_whole

_FOLDERS: dict[Part, str] = {"image": "image_2", "cloud": "velodyne", "calibration": "calib", "labels": "label_2"}
#: Frames being made, and notes of those that are finished; neither is there any more once the shard is.
_UNFINISHED, _FINISHED = "unfinished", "finished"
_BLOCK = 1024 * 1024
_AT_ONCE = 16
_MOST_THREADS = 4
#: What the error of a file says about the file; anything else is about this machine.
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
_UNREADABLE = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ELOOP)
#: Decimals of converted tracking labels: as many as KITTI writes there.
_DECIMALS = 6


def copy_shard(
    frames: Sequence[FrameEntry], root: Path, version: DatasetVersion, shard: int, out: Path, told: Told
) -> ShardSummary:
    """Make ``out`` the shard of these frames of the copy in ``root``; see the module for what happens on a second call.

    Frames of the tracking layout become files of the object layout: labels of their own, truncation levels 1 and 2 written as
    the shares 0.3 and 1.0 (what ``classes.difficulty`` takes them for), calibration under the names of the object benchmark.

    Raises:
        NotFound: the copy is not there any more.
        MlopsError: a file cannot be written, e.g. the disk is full; finished frames stay.
    """
    if not root.is_dir():
        raise _gone(root, version)
    work = _Shard(root, out, version)
    try:
        return work.make(frames, shard, told)
    except OSError as error:
        done = len(list((out / _FINISHED).glob("[!.]*.json")))
        raise MlopsError(
            f"{error.filename or out}: {error.strerror or error}; free space or mend access, then start it again: "
            f"{done:,} of {len(frames):,} frames of shard {shard} are finished and kept"
        ) from error


@dataclass
class _Shard:
    """The making of one shard."""

    root: Path
    out: Path
    version: DatasetVersion
    _sequences: dict[str, str | dict[int, TrackedObjects] | DataRejected] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self, frames: Sequence[FrameEntry], shard: int, told: Told) -> ShardSummary:
        """Every frame, a few at once and in the order of ids; NotFound where the copy was taken away meanwhile."""
        shutil.rmtree(self.out / _UNFINISHED, ignore_errors=True)
        for name in _FOLDERS.values():
            for place in (self.out, self.out / _UNFINISHED):
                (place / "training" / name).mkdir(parents=True, exist_ok=True)
        (self.out / _FINISHED).mkdir(exist_ok=True)
        noted = self._noted()
        whole: list[FrameContent] = []
        damaged: list[DamagedFile] = []
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, "frames") as pool:
            for start in range(0, len(frames), _AT_ONCE):
                for made in pool.map(lambda entry: self._frame(entry, noted), frames[start : start + _AT_ONCE]):
                    if isinstance(made, FrameContent):
                        whole.append(made)
                    else:
                        damaged += made
                done = min(start + _AT_ONCE, len(frames))
                told(done / len(frames), f"{done:,} / {len(frames):,} frames")
        if damaged and not self.root.is_dir():
            raise _gone(self.root, self.version)
        return self._finish(whole, damaged, shard)

    def _noted(self) -> dict[str, FrameContent]:
        """Frames that an earlier call says it has finished."""
        found: dict[str, FrameContent] = {}
        if (self.out / CONTENTS).is_file():
            try:
                found = {content.frame_id: content for content in ShardContents.read(self.out).frames}
            except ValidationError:  # half written when the power failed
                (self.out / CONTENTS).unlink()
        for note in (self.out / _FINISHED).glob("[!.]*.json"):
            try:
                content = FrameContent.model_validate_json(note.read_bytes())
            except ValidationError:
                note.unlink()
            else:
                found[content.frame_id] = content
        return found

    def _frame(self, entry: FrameEntry, noted: dict[str, FrameContent]) -> FrameContent | list[DamagedFile]:
        """The frame, made unless it is noted and there; or what keeps it out."""
        source = sha256_of(entry.model_dump(mode="json"))
        known = noted.get(entry.object_id)
        if known is not None and known.source == source and all(map(self._is_there, known.files.values())):
            return known
        (self.out / _FINISHED / f"{entry.object_id}.json").unlink(missing_ok=True)
        work = self.out / _UNFINISHED
        files: dict[Part, KeptFile] = {}
        damaged: list[DamagedFile] = []
        for part, file in entry.files.items():
            suffix = PurePosixPath(file.key).suffix.lower()
            key = f"training/{_FOLDERS[part]}/{entry.object_id}{suffix}"
            try:
                files[part] = self._file(entry, part, file, work, key)
            except DataRejected as error:
                damaged.append(self._damage(entry, part, error.headline, _why(error)))
        if not damaged:
            objects, findings, damaged = self._read(entry, files, work)
        if damaged:
            return damaged
        for kept in files.values():
            (work / kept.key).chmod(0o444)
            (work / kept.key).replace(self.out / kept.key)
        content = FrameContent(frame_id=entry.object_id, source=source, files=files, objects=objects, findings=findings)
        write_whole(self.out / _FINISHED / f"{entry.object_id}.json", content.model_dump_json())
        return content

    def _is_there(self, kept: KeptFile) -> bool:
        try:
            return _digest(self.out / kept.key) == (kept.sha256, kept.bytes)
        except FileNotFoundError:
            return False

    def _file(self, entry: FrameEntry, part: Part, file: SourceFile, work: Path, key: str) -> KeptFile:
        """One file of a frame, written to ``work``; DataRejected says in its headline what is wrong with the source."""
        if entry.number is None or part in ("image", "cloud"):
            digest, size = hashlib.sha256(), 0
            with (work / key).open("wb") as target:
                for block in self._blocks(file):
                    digest.update(block)
                    size += len(block)
                    target.write(block)
            _require_unchanged(file, digest.hexdigest(), size)
            return KeptFile(key=key, bytes=size, sha256=digest.hexdigest())
        shared = self._sequence(part, file)
        if isinstance(shared, DataRejected):
            raise shared
        text = shared if isinstance(shared, str) else _object_text(shared.get(entry.number))
        content = text.encode()
        (work / key).write_bytes(content)
        return KeptFile(key=key, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def _blocks(self, file: SourceFile) -> Iterator[bytes]:
        """Content of a source file; not much more than it should have, should it grow for ever."""
        left = file.bytes + 1
        try:
            with (self.root / file.key).open("rb") as stream:
                while left > 0 and (block := stream.read(min(_BLOCK, left))):
                    left -= len(block)
                    yield block
        except OSError as error:
            if error.errno in _MISSING:
                raise FileRejected("is missing", reason=because("missing")) from error
            if error.errno in _UNREADABLE:
                reason = because("no_access", error=error.strerror or type(error).__name__)
                raise FileRejected(f"cannot be read: {error.strerror}", reason=reason) from error
            raise

    def _sequence(self, part: Part, file: SourceFile) -> str | dict[int, TrackedObjects] | DataRejected:
        """What a file of a whole sequence holds, read once a shard: calibration text, or objects by frame."""
        with self._lock:
            if file.key not in self._sequences:
                try:
                    self._sequences[file.key] = self._read_sequence(part, file)
                except DataRejected as error:
                    self._sequences[file.key] = error
            return self._sequences[file.key]

    def _read_sequence(self, part: Part, file: SourceFile) -> str | dict[int, TrackedObjects]:
        content = b"".join(self._blocks(file))
        _require_unchanged(file, hashlib.sha256(content).hexdigest(), len(content))
        path = self.root / file.key
        if part == "calibration":
            return calibration_text(read_calibration(path))
        frames = read_tracking_labels(path)
        if any(tracked.objects.scores is not None for tracked in frames.values()):
            raise FileRejected("has scores: these are detections, no labels", reason=because("detections"))
        return frames

    def _read(
        self, entry: FrameEntry, files: dict[Part, KeptFile], work: Path
    ) -> tuple[dict[str, int], tuple[Finding, ...], list[DamagedFile]]:
        """Objects and findings of a copied frame; files that cannot be read although they are as registered."""
        keys = {part: kept.key for part, kept in files.items()}
        frame = Frame(entry.object_id, keys.get("image"), keys.get("cloud"), keys.get("calibration"), keys.get("labels"))
        copy = KittiCopy(work, FrameIndex("object", "training", {frame.frame_id: frame}))
        damaged = []
        # Without the cloud: counting the points in every box would take ten times as long as all the rest.
        checked = check_frame(copy, frame, parts=[part for part in files if part != "cloud"])
        if "cloud" in files:
            try:
                copy.cloud(frame.frame_id)
            except DataRejected as error:
                line = _reason(error.headline, work, files["cloud"])
                damaged.append(self._damage(entry, "cloud", line, _why(error)))
        parts = {kept.key: part for part, kept in files.items()}
        for finding in checked.findings:
            if finding.code == "damaged_file":
                part = parts[finding.file]
                damaged.append(self._damage(entry, part, _reason(finding.text, work, files[part]), finding.reason))
        objects = {count.name[:64]: count.objects for count in checked.classes if count.name != DONT_CARE}
        return objects, checked.findings, damaged

    def _damage(self, entry: FrameEntry, part: Part, reason: str, why: Reason | None) -> DamagedFile:
        """``why`` may be unknown: then it is no image, no cloud …, whatever the line says of it."""
        line = " ".join(reason.replace(f"{self.root}/", "").split())[:300]
        key = entry.files[part].key
        return DamagedFile(frame_id=entry.object_id, part=part, key=key, reason=line, why=why or because(part))

    def _finish(self, whole: list[FrameContent], damaged: list[DamagedFile], shard: int) -> ShardSummary:
        """Leave nothing but whole frames, safe on the disk, and say so last."""
        kept = {file.key: file for content in whole for file in content.files.values()}
        for path in list((self.out / "training").rglob("*")):
            if path.is_dir() or path.relative_to(self.out).as_posix() in kept:
                make_durable(path)
            else:  # of a frame that was moved into place half, and is damaged now
                path.unlink()
        lines = "".join(f"{kept[key].sha256}  {key}\n" for key in sorted(kept))
        objects: Counter[str] = Counter()
        for content in whole:
            objects.update(content.objects)
        summary = ShardSummary(
            dataset_id=self.version.dataset_id,
            version=self.version.version,
            shard=shard,
            frames=tuple(content.frame_id for content in whole),
            damaged=tuple(damaged),
            objects=dict(sorted(objects.items())),
            bytes=sum(file.bytes for file in kept.values()),
            digest=hashlib.sha256(lines.encode()).hexdigest(),
        )
        for name, text in (
            (CONTENTS, ShardContents(frames=tuple(whole)).model_dump_json(indent=1)),
            (SHARD, summary.model_dump_json(indent=1)),
        ):
            write_whole(self.out / name, text, durable=True)
            (self.out / name).chmod(0o444)
        shutil.rmtree(self.out / _UNFINISHED, ignore_errors=True)
        shutil.rmtree(self.out / _FINISHED, ignore_errors=True)
        return summary


def _require_unchanged(file: SourceFile, sha256: str, size: int) -> None:
    if size != file.bytes:
        shrunk = size < file.bytes
        told = f"{size:,}" if shrunk else "more"
        raise FileRejected(
            f"changed since it was registered: {told} bytes, {file.bytes:,} expected",
            reason=because("resized", bytes=size, expected=file.bytes) if shrunk else because("grown", expected=file.bytes),
        )
    if sha256 != file.sha256:
        raise FileRejected("changed since it was registered: other content of the same size", reason=because("altered"))


def _object_text(tracked: TrackedObjects | None) -> str:
    if tracked is None:
        return ""
    given = tracked.objects
    levels = np.where(given.truncation <= 0, given.truncation, np.where(given.truncation <= 1, 0.3, 1.0))
    objects = KittiObjects(
        given.names, levels, given.occlusion, given.alpha, given.boxes_2d, given.dimensions, given.locations, given.rotation_y
    )
    return label_text(objects, decimals=_DECIMALS)


def _why(error: DataRejected) -> Reason | None:
    return error.reason if isinstance(error, FileRejected) else None


def _reason(text: str, work: Path, kept: KeptFile) -> str:
    """What is said of a file, without its name: that is told beside it."""
    return text.replace(f"{work}/", "").removeprefix(kept.key).lstrip(", ")


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), os.fstat(stream.fileno()).st_size


def _gone(root: Path, version: DatasetVersion) -> NotFound:
    return NotFound(
        f"the KITTI copy of {version.dataset_id} is not there any more",
        field="path",
        given=str(root),
        next_step=f"mount it again, or register it from where it is now: mlops dataset add {version.dataset_id} PATH",
    )
