"""A KITTI copy becomes a version: the list of its frames, every file of them with size and SHA-256, objects by class.

Nothing is copied here: the files stay where they are until a shard is made of them (``frame_copying``), which then holds each
of them to its digest. The version is the digest of the list alone, so a copy in another folder is the same version.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from mlops_assets.data.dataset import KITTI, CatalogueEntry, DatasetVersion
from mlops_assets.data.forms import Told
from mlops_assets.data.frame_shards import FRAMES, SHARD_FRAMES, FrameEntry, FrameList, SourceFile
from mlops_assets.data.kitti.frames import KittiCopy
from mlops_assets.data.kitti.labels import DONT_CARE
from mlops_assets.data.kitti.layout import PARTS, SUBSETS, FrameIndex, Part, copy_root, read_split
from mlops_assets.errors import DataRejected, NotFound, UserError
from mlops_assets.request.digest import sha256_of

#: Lists of ``ImageSets`` that decide which frame is for what; others are passed over.
LISTS = ("train", "val", "test")
_MOST_CLASSES = 50
_LONGEST_CLASS = 64
_LONGEST_LIST = 16 * 1024 * 1024
_AT_ONCE = 64
_LAYOUT_FOLDERS = ("image_2", "image_02", "velodyne", "label_2", "label_02")


def folder_of(source: str) -> Path:
    """The folder that a source names; ``file:`` may stand before it.

    Raises:
        RuntimeError: it begins with ``~`` and nobody knows whose home that is.
    """
    path = source.removeprefix("file:").removeprefix("//") if source.startswith("file:") else source
    return Path(path).expanduser()


def is_copy(source: str) -> bool:
    """Whether the source is a folder in one of KITTI's layouts, also one of its testing subset; never raises."""
    try:
        folder = folder_of(source)
        roots = [(copy_root(folder, subset=subset), subset) for subset in SUBSETS]
        return any((root / subset / name).is_dir() for root, subset in roots for name in _LAYOUT_FOLDERS)
    except (OSError, ValueError, RuntimeError):  # no permission, too long, a NUL character, an unknown home
        return False


def register_copy(entry: CatalogueEntry, out: Path, told: Told) -> DatasetVersion:
    """Write ``frames.json`` and then ``version.json`` of the copy in ``entry.source``.

    A frame has at least an image or a cloud. One whose labels are damaged is listed, and counted as without objects: its shard
    names the file.

    Raises:
        UserError: something is declared that frames do not have; the copy has no frames or no labels; a file cannot be read.
        DataRejected: both layouts are in the folder, or a list of ``ImageSets`` is not one.
    """
    _require_no_columns(entry)
    root = folder_of(entry.source).absolute()
    copy = _opened(root)
    index = copy.index
    frames = [frame for frame in index if frame.image is not None or frame.cloud is not None]
    if not frames:
        raise _refused("this KITTI copy holds no frame", root, "complete it; `mlops kitti check PATH` tells what is there")
    if all(frame.labels is None for frame in frames):
        raise _refused("no frame of this KITTI copy has labels, so nothing can be learned from it", root, "add label_2/")
    keys = sorted({key for frame in frames for part in PARTS if (key := frame.key(part)) is not None})
    files = _digested(copy.root, keys, told)
    listed = FrameList(
        root=str(copy.root),
        layout=index.layout,
        shard_frames=SHARD_FRAMES,
        frames=tuple(
            FrameEntry(
                frame_id=frame.frame_id,
                files={part: files[key] for part in PARTS if (key := frame.key(part)) is not None},
                number=frame.number,
            )
            for frame in frames
        ),
        lists=_lists(copy.root, index),
    )
    # Neither where the copy lies nor how many frames a shard has is part of its content.
    digest = sha256_of(listed.model_dump(mode="json", exclude={"root", "shard_frames"}))
    version = DatasetVersion(
        dataset_id=entry.dataset_id,
        version=f"sha256-{digest[:16]}",
        form=KITTI,
        raw_sha256=digest,
        raw_bytes=sum(file.bytes for file in files.values()),
        rows=len(frames),
        columns=(),
        duplicate_rows=len(frames) - len({appearance(frame) for frame in listed.frames}),
        target_counts=_objects(copy, [frame.frame_id for frame in frames if frame.labels is not None], told),
        parts={part: sum(frame.key(part) is not None for frame in frames) for part in PARTS},
        shards=math.ceil(len(frames) / listed.shard_frames),
        entry=entry.model_copy(update={"source": str(copy.root)}),
        added_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    (out / FRAMES).write_text(listed.model_dump_json(), encoding="utf-8")
    (out / "version.json").write_text(version.model_dump_json(indent=1), encoding="utf-8")
    return version


def appearance(frame: FrameEntry, shown: Sequence[Part] = ("image", "cloud")) -> tuple[str, ...]:
    """What two frames share that show the same: the digests of these parts."""
    return tuple(frame.files[part].sha256 if part in frame.files else "" for part in shown)


def _require_no_columns(entry: CatalogueEntry) -> None:
    """Frames have no columns, so nothing can be said of one."""
    declared = {
        "--target": entry.target, "--positive": entry.positive_class, "--sensitive": ", ".join(entry.sensitive),
        "--timestamp": entry.timestamp, "--entity": entry.entity, "important": ", ".join(entry.important),
        "ranges": ", ".join(entry.ranges), "fresh_within_hours": entry.fresh_within_hours,
    }  # fmt: skip
    for name, value in declared.items():
        if value:
            raise UserError(
                "this is a KITTI copy: its frames have no columns, what is learned are the labelled objects",
                field=name,
                given=value,
                next_step=f"leave {name} out; an issue chooses classes with `dataset: {{classes: [Car]}}`",
            )


def _opened(root: Path) -> KittiCopy:
    try:
        return KittiCopy.open(root)
    except NotFound:
        tests = copy_root(root, subset="testing")
        if any((tests / "testing" / name).is_dir() for name in _LAYOUT_FOLDERS):
            raise _refused(
                "this KITTI copy has only the testing subset, which has no labels to learn from",
                root,
                "give a copy with the folder training/",
            ) from None
        raise


def _digested(root: Path, keys: Sequence[str], told: Told) -> dict[str, SourceFile]:
    """Size and SHA-256 of every file, read block by block, several at a time: hashing leaves the interpreter."""
    found: dict[str, SourceFile] = {}

    def digested(key: str) -> SourceFile:
        try:
            with (root / key).open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                return SourceFile(key=key, bytes=os.fstat(stream.fileno()).st_size, sha256=digest)
        except OSError as error:
            raise _refused(f"{key} cannot be read: {error.strerror}", root, "mend or remove the file") from error

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "digests") as pool:
        for start in range(0, len(keys), _AT_ONCE):
            found |= {file.key: file for file in pool.map(digested, keys[start : start + _AT_ONCE])}
            told(0.9 * len(found) / len(keys), f"{len(found):,} / {len(keys):,} files read")
    return found


def _lists(root: Path, index: FrameIndex) -> dict[str, tuple[str, ...]]:
    """The lists that decide splits, without the frames that this copy does not have."""
    known = {frame.frame_id for frame in index}
    found = {}
    for name in LISTS:
        key = index.splits.get(name)
        if key is None:
            continue
        try:
            with (root / key).open("rb") as stream:
                ids = read_split(stream.read(_LONGEST_LIST + 1).decode("utf-8"), key)
        except UnicodeDecodeError as error:
            raise DataRejected(f"{key} is not text", field=key, next_step="write one frame id a line") from error
        except OSError as error:
            raise _refused(f"{key} cannot be read: {error.strerror}", root, "mend or remove the list") from error
        present = tuple(frame_id for frame_id in ids if frame_id in known)
        if present:
            found[name] = present
    return found


def _objects(copy: KittiCopy, frame_ids: Sequence[str], told: Told) -> dict[str, int]:
    """Class -> labelled objects, the most frequent ones; DontCare is no object."""
    counts: Counter[str] = Counter()
    for done, frame_id in enumerate(frame_ids, start=1):
        try:
            counts.update(name[:_LONGEST_CLASS] for name in copy.objects(frame_id).names.tolist() if name != DONT_CARE)
        except (DataRejected, OSError):
            continue
        finally:
            if done % 500 == 0 or done == len(frame_ids):
                told(0.9 + 0.1 * done / len(frame_ids), f"labels of {done:,} / {len(frame_ids):,} frames")
    return dict(sorted(counts.most_common(_MOST_CLASSES)))


def _refused(headline: str, root: Path, next_step: str) -> UserError:
    return UserError(headline, field="PATH", given=str(root), next_step=next_step)
