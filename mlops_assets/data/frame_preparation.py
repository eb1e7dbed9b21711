"""From the shards of a version to a prepared dataset: the frames that a task can use, linked, judged, and split.

A file is linked where the disk allows it and copied elsewhere, so that a dataset of 12 GB costs no second 12 GB. Only frames
that are in a split are taken, and of each only what the kind of task can use: images are not learned from with clouds.
How frames are split is in ``frame_splits``, what is refused in ``frame_quality``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlops_assets.data.dataset import KITTI, SPLITS, DatasetVersion, PreparedDataset, QualityCheck, Split
from mlops_assets.data.forms import ShardFolder, Told
from mlops_assets.data.frame_quality import check_files, check_labels, check_repeated, check_support
from mlops_assets.data.frame_registration import appearance
from mlops_assets.data.frame_shards import (
    SHARD,
    DamagedFile,
    FrameContent,
    FrameEntry,
    FrameList,
    KeptFile,
    ShardContents,
    ShardSummary,
)
from mlops_assets.data.frame_splits import Assignment, keyed, split_frames
from mlops_assets.data.kitti.classes import CLASSES
from mlops_assets.data.kitti.layout import PARTS, Part
from mlops_assets.data.quality import require_stop_rules
from mlops_assets.errors import MlopsError
from mlops_assets.request.digest import sha256_of
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.whole_files import link_or_copy

#: Kind of task -> files without which a frame is of no use to it; other kinds need labels alone.
NEEDED: Final[Mapping[str, tuple[Part, ...]]] = {
    "detection_2d": ("image", "labels"), "detection_3d": ("cloud", "calibration", "labels"),
}  # fmt: skip
#: Kind of task -> files that it is given; other kinds are given all.
GIVEN: Final[Mapping[str, tuple[Part, ...]]] = {"detection_2d": ("image", "calibration", "labels")}
#: Kind of task -> what it looks at, so that frames which differ only in the rest are the same to it; others look at both.
SHOWN: Final[Mapping[str, tuple[Part, ...]]] = {"detection_2d": ("image",), "detection_3d": ("cloud",)}


@dataclass(frozen=True)
class _Frame:
    """A whole frame that can be used, and the shard it is in."""

    entry: FrameEntry
    content: FrameContent
    folder: Path


def prepare_frames(
    source: Path, request: TrainingRequest, target: str, out: Path, *, shard: ShardFolder, told: Told
) -> PreparedDataset:
    """Write the prepared dataset of ``data.dataset``; the same version, request and seed give the same digest.

    ``train_size`` and ``validation_size`` of the request take so many frames by key; asked for more than there are, all.

    Raises:
        QualityRejected: too much is damaged, or there is nothing to learn from or to measure with.
        MlopsError: a file cannot be written.
    """
    version = DatasetVersion.model_validate_json((source / "version.json").read_bytes())
    listed = FrameList.read(source)
    whole, damaged = _whole_frames(version, listed, shard)
    needed = NEEDED.get(request.task_type, ("labels",))
    incomplete = {frame.entry.object_id: lack for frame in whole if (lack := _lacking(frame, needed))}
    complete = [frame for frame in whole if frame.entry.object_id not in incomplete]
    different = _without_repeated(complete, SHOWN.get(request.task_type, ("image", "cloud")))
    single = different if request.preprocessing.remove_duplicates else complete
    by_id = {frame.entry.frame_id: frame for frame in single}
    checks: tuple[QualityCheck, ...] = (check_files(version.rows, damaged, incomplete, len(single)),)
    require_stop_rules(checks)
    assigned = split_frames(list(by_id), listed.lists, request.preprocessing, request.seed)
    splits = _limited(assigned, request)
    used = {name: [by_id[frame_id] for frame_id in splits[name]] for name in SPLITS}
    counts = _counts(used, request.dataset.classes)
    asked = _asked(request.dataset.classes, version.target_counts)
    frames = [frame for name in SPLITS for frame in used[name]]
    checks += (
        check_labels(
            [finding for frame in frames for finding in frame.content.findings],
            Counter({name: sum(counts[split].get(name, 0) for split in SPLITS) for name in asked}),
            asked,
            sum(not frame.content.objects for frame in frames),
        ),
        check_repeated(len(complete) - len(different), len(complete)),
        check_support(counts, asked),
    )
    require_stop_rules(checks)
    given = GIVEN.get(request.task_type, PARTS)
    files = [(frame.folder, file) for frame in frames for part, file in frame.content.files.items() if part in given]
    _write(out, files, {name: [frame.entry.object_id for frame in used[name]] for name in SPLITS}, told)
    prepared = PreparedDataset(
        dataset_id=version.dataset_id,
        version=version.version,
        form=KITTI,
        target=target,
        positive_class=None,
        columns=(),
        ignored={},
        sensitive=(),
        timestamp=None,
        entity=None,
        rows={name: len(used[name]) for name in SPLITS},
        removed={
            "damaged": len({file.frame_id for file in damaged}),
            "incomplete": len(incomplete),
            "duplicates": len(complete) - len(single),
            "not_listed": assigned.unlisted,
            "not_selected": sum(map(len, assigned.splits.values())) - len(frames),
        },
        split=assigned.rule,
        seed=request.seed,
        target_counts=counts,
        checks=checks,
        digest=sha256_of(
            {
                "splits": {name: [frame.entry.object_id for frame in used[name]] for name in SPLITS},
                "files": {file.key: file.sha256 for _, file in files},
            }
        ),
    )
    (out / "dataset.json").write_text(prepared.model_dump_json(indent=2), encoding="utf-8")
    return prepared


def _whole_frames(version: DatasetVersion, listed: FrameList, shard: ShardFolder) -> tuple[list[_Frame], list[DamagedFile]]:
    """Frames of every shard, in the order of ids, and what kept others out."""
    whole: list[_Frame] = []
    damaged: list[DamagedFile] = []
    for number in range(version.shards):
        folder = shard(number)
        entries = {entry.object_id: entry for entry in listed.shard(number)}
        damaged += ShardSummary.model_validate_json((folder / SHARD).read_bytes()).damaged
        whole += [_Frame(entries[content.frame_id], content, folder) for content in ShardContents.read(folder).frames]
    return whole, damaged


def _lacking(frame: _Frame, needed: Sequence[Part]) -> tuple[Part, ...]:
    return tuple(part for part in needed if part not in frame.content.files)


def _without_repeated(frames: Sequence[_Frame], shown: Sequence[Part]) -> list[_Frame]:
    """Of frames that show the same the first, so that none is both learned from and measured with."""
    return list({appearance(frame.entry, shown): frame for frame in reversed(frames)}.values())[::-1]


def _limited(assigned: Assignment, request: TrainingRequest) -> dict[Split, list[str]]:
    """The splits, no larger than the request says."""
    limits = {"train": request.dataset.train_size, "validation": request.dataset.validation_size}
    return {name: sorted(keyed(ids, request.seed)[: limits.get(name)]) for name, ids in assigned.splits.items()}


def _asked(classes: Sequence[str], found: Mapping[str, int]) -> tuple[str, ...]:
    """The classes of a request as KITTI, or this copy, writes them."""
    written = {name.casefold(): name for name in (*CLASSES, *found)}
    return tuple(name if name in found else written.get(name.casefold(), name) for name in classes)


def _counts(used: Mapping[Split, Sequence[_Frame]], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Split -> class -> objects: the classes asked for in their order, else all that occur."""
    totals: dict[str, Counter[str]] = {name: Counter() for name in SPLITS}
    for name, frames in used.items():
        for frame in frames:
            totals[name].update(frame.content.objects)
    found: Counter[str] = sum(totals.values(), Counter())
    names = _asked(classes, found) or sorted(found)
    return {split: {name: totals[split][name] for name in names} for split in SPLITS}


def _write(out: Path, files: Sequence[tuple[Path, KeptFile]], splits: Mapping[Split, Sequence[str]], told: Told) -> None:
    try:
        (out / "ImageSets").mkdir(parents=True, exist_ok=True)
        for name, ids in splits.items():
            (out / "ImageSets" / f"{name}.txt").write_text("".join(f"{frame_id}\n" for frame_id in ids), encoding="utf-8")
        for done, (folder, file) in enumerate(files, start=1):
            link_or_copy(folder / file.key, out / file.key)
            if done % 1000 == 0:
                told(done / len(files), f"{done:,} / {len(files):,} files linked")
    except OSError as error:
        raise MlopsError(f"{error.filename or out}: {error.strerror or error}; free space or mend access") from error
