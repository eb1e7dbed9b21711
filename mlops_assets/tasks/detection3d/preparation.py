"""First verb of detection in clouds: a prepared dataset becomes a features folder, see ``cloud_features``.

Nothing is computed of the clouds but the objects cut out for augmentation: pillars depend on the request's range and are made
while training, faster than they could be read. Files are hard-linked, so that a cloud is on the disk once.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from mlops_assets.data.dataset import SPLITS, PreparedDataset, Split
from mlops_assets.data.kitti.frames import KittiCopy, image_size
from mlops_assets.data.kitti.layout import Part
from mlops_assets.errors import DataRejected, IntegrityError, UserError
from mlops_assets.request.digest import canonical_json
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection3d.cloud_features import DEFINITION, NOTES, OBJECTS, SUMMARY, FrameNotes
from mlops_assets.tasks.detection3d.definition import definition_document
from mlops_assets.tasks.detection3d.kitti_clouds import KittiLidarFrames
from mlops_assets.tasks.detection3d.object_sampling import crop_objects, joined, write_database
from mlops_assets.tasks.detection3d.pillar_settings import KITTI_ANCHORS
from mlops_assets.tasks.interface import FeatureSummary
from mlops_assets.whole_files import link_or_copy, write_whole

LEARNED: Final = tuple(kind.name for kind in KITTI_ANCHORS)
POINT_NUMBERS: Final = ("x", "y", "z", "intensity")
#: Test frames that are drawn: those with the most objects.
FRAMES_SHOWN: Final = 4
_NEEDED: Final[tuple[Part, ...]] = ("cloud", "calibration", "labels")


def prepare(dataset: Path, request: TrainingRequest, out: Path) -> FeatureSummary:
    """Write the features folder ``out`` of the prepared KITTI dataset in ``dataset``.

    The classes are those that the request names, else Car, Pedestrian and Cyclist as far as the training split has objects of
    them. The same dataset and request give the same digest.

    Raises:
        UserError: the dataset is not of KITTI's form, or the request names a class that cannot be learned.
        DataRejected: a split is empty, a frame lacks its cloud, calibration or labels, or there is no object to learn from.
        IntegrityError: the files of ``dataset`` do not match its ``dataset.json``.
    """
    prepared = PreparedDataset.read(dataset)
    if prepared.form != "kitti":
        raise UserError(
            "detection in clouds learns from frames of a KITTI copy",
            field="dataset.dataset_id",
            given=f"{prepared.dataset_id}, a {prepared.form}",
            allowed=("a dataset of the form kitti",),
            next_step="register a KITTI copy, for example one that `mlops kitti generate` writes",
        )
    copy = KittiCopy.open(dataset)
    ids = {split: _ids(copy, split, prepared) for split in SPLITS}
    _require_parts(copy, ids)
    wanted = requested_classes(request)
    objects = {split: _objects(copy, names) for split, names in ids.items()}
    classes, dropped = _learned(wanted, objects["train"], explicit=bool(request.dataset.classes))
    if not any(objects["test"][name] for name in classes):
        raise DataRejected(
            f"the test split has no object of {', '.join(classes)}, so nothing could be measured",
            field="ImageSets/test.txt",
            given=f"{len(ids['test'])} frames",
            next_step="give the dataset more frames, or raise preprocessing.test_fraction",
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / SUMMARY).unlink(missing_ok=True)  # written last again: a folder that has it is a whole one
    shown = _fullest(copy, ids["test"], classes)
    _link_frames(copy, ids, shown, out)
    sizes, without = _image_sizes(copy, [name for names in ids.values() for name in names])
    frames = KittiLidarFrames(copy, ids["train"], {name: size[0] for name, size in sizes.items()})
    database = joined([crop_objects(frames[row], name) for row, name in enumerate(frames.frame_ids)])
    write_database(out / OBJECTS, database)
    notes = FrameNotes(image_sizes=sizes, without_image=without, shown=shown)
    counts = {split: sum(found[name] for name in classes) for split, found in objects.items()}
    digest = hashlib.sha256(canonical_json([prepared.digest, {split: list(names) for split, names in ids.items()}, classes]))
    digest.update((out / OBJECTS).read_bytes())
    summary = FeatureSummary(
        feature_names=POINT_NUMBERS,
        rows={split: len(names) for split, names in ids.items()},
        classes=classes,
        objects=counts,
        dropped=dropped,
        digest=digest.hexdigest(),
    )
    write_whole(out / NOTES, notes.model_dump_json(indent=1))
    write_whole(out / DEFINITION, definition_document(summary, objects, len(database), prepared.digest, request.language))
    write_whole(out / SUMMARY, summary.model_dump_json(indent=1))
    return summary


def requested_classes(request: TrainingRequest) -> tuple[str, ...]:
    """The classes that the request asks for in KITTI's spelling, in the order of the anchors; all of them without a wish.

    Raises:
        UserError: a class has no anchor.
    """
    known = {name.lower(): name for name in LEARNED}
    unknown = [name for name in request.dataset.classes if name.lower() not in known]
    if unknown:
        raise UserError(
            f"PointPillars has no anchor for {', '.join(unknown)}",
            field="dataset.classes",
            given=", ".join(request.dataset.classes),
            allowed=LEARNED,
            next_step="leave the class out; the others are evaluated by KITTI's rules",
        )
    named = {known[name.lower()] for name in request.dataset.classes}
    return tuple(name for name in LEARNED if not named or name in named)


def _ids(copy: KittiCopy, split: Split, prepared: PreparedDataset) -> tuple[str, ...]:
    try:
        ids = tuple(frame.frame_id for frame in copy.split(split))
    except UserError as error:
        raise IntegrityError(f"{copy.root}: the list of the split {split} cannot be used: {error.headline}") from error
    if len(ids) != prepared.rows.get(split, len(ids)):
        raise IntegrityError(f"{copy.root}: {split} lists {len(ids)} frames, dataset.json says {prepared.rows[split]}")
    if not ids and split != "validation":
        raise DataRejected(
            f"the split {split} has no frame",
            field=f"ImageSets/{split}.txt",
            next_step="give the dataset more frames, or change the fractions of the split",
        )
    return ids


def _require_parts(copy: KittiCopy, ids: Mapping[Split, Sequence[str]]) -> None:
    lacking = [
        (name, missing) for names in ids.values() for name in names if (missing := copy.index.frame(name).missing(_NEEDED))
    ]
    if lacking:
        name, missing = lacking[0]
        raise DataRejected(
            f"{len(lacking)} frame(s) lack a file that detection in clouds needs; frame {name} lacks its {', '.join(missing)}",
            field="dataset",
            given=", ".join(frame for frame, _ in lacking[:5]),
            allowed=("frames with cloud, calibration and labels",),
            next_step="complete the copy and register it again; `mlops kitti check PATH` lists what is missing",
        )


def _objects(copy: KittiCopy, ids: Sequence[str]) -> Counter[str]:
    """Labelled objects by class, DontCare included."""
    return Counter(str(name) for frame_id in ids for name in copy.objects(frame_id).names.tolist())


def _learned(wanted: Sequence[str], training: Counter[str], *, explicit: bool) -> tuple[tuple[str, ...], dict[str, str]]:
    """The classes with training objects, and why others are left out."""
    missing = [name for name in wanted if not training[name]]
    if missing and (explicit or len(missing) == len(wanted)):
        raise DataRejected(
            f"the training split has no object of {', '.join(missing)}",
            field="dataset.classes",
            given=", ".join(wanted),
            allowed=[f"{name} ({training[name]:,} objects)" for name in LEARNED if training[name]] or ("none of this dataset",),
            next_step="leave these classes out, or give the dataset frames that show them",
        )
    return tuple(name for name in wanted if training[name]), dict.fromkeys(missing, "no_objects")


def _fullest(copy: KittiCopy, ids: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """The test frames with the most objects of the classes; those with an image first, since they show more."""
    counts = {name: sum(1 for kind in copy.objects(name).names.tolist() if kind in classes) for name in ids}
    ranked = sorted(ids, key=lambda name: (copy.index.frame(name).image is None, -counts[name], name))
    return tuple(ranked[:FRAMES_SHOWN])


def _link_frames(copy: KittiCopy, ids: Mapping[Split, Sequence[str]], shown: Sequence[str], out: Path) -> None:
    for split, names in ids.items():
        for name in names:
            frame = copy.index.frame(name)
            for part in (*_NEEDED, "image") if name in shown else _NEEDED:
                key = frame.key(part)
                if key is not None:
                    link_or_copy(copy.root / key, out / key)
        lists = out / "ImageSets"
        lists.mkdir(exist_ok=True)
        write_whole(lists / f"{split}.txt", "".join(f"{name}\n" for name in names))


def _image_sizes(copy: KittiCopy, ids: Sequence[str]) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """Width and height of every frame's image; where there is none, twice the principal point of camera 2, as cameras have it."""
    sizes, without = {}, []
    for name in ids:
        key = copy.index.frame(name).image
        if key is not None:
            sizes[name] = image_size(copy.root / key)
            continue
        across, down = copy.calibration(name).P2[:2, 2].tolist()
        sizes[name] = (max(1, round(2 * across)), max(1, round(2 * down)))
        without.append(name)
    return sizes, tuple(without)
