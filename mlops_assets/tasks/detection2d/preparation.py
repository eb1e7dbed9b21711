"""The ``prepare`` verb of image detection: a COCO file for every split, and the images linked beside them.

The folder is described in ``image_folder``, the conversion of labels in ``data.kitti.coco``; what the definition says is in
``words``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mlops_assets.data.dataset import SPLITS, Split
from mlops_assets.data.kitti.classes import CLASSES
from mlops_assets.data.kitti.coco import CocoPolicy, to_coco, write_coco
from mlops_assets.data.kitti.frames import KittiCopy
from mlops_assets.data.kitti.labels import DONT_CARE
from mlops_assets.errors import DataRejected, UserError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection2d.image_folder import ANNOTATIONS, DEFINITION, SUMMARY
from mlops_assets.tasks.detection2d.recipe import settings_of
from mlops_assets.tasks.detection2d.words import WORDS
from mlops_assets.tasks.interface import FeatureSummary
from mlops_assets.whole_files import link_or_copy, write_whole

_READ_AT_ONCE: Final = 1 << 20


def prepare(dataset: Path, request: TrainingRequest, out: Path) -> FeatureSummary:
    """Write the features folder ``out`` of the prepared KITTI copy ``dataset``.

    Settings of the request are tried here already, so that a training does not fail over them later. The same copy and classes
    give the same digest.

    Raises:
        UserError: a class that KITTI does not have, or settings out of range.
        NotFound: the copy lacks a split, or a frame its image or labels.
        DataRejected: a file is damaged; the training or test split holds no object, or one of the classes none to learn from.
    """
    settings_of(request)
    copy = KittiCopy.open(dataset)
    policy = policy_of(request.dataset.classes)
    documents = {split: to_coco(copy, [frame.frame_id for frame in copy.split(split)], policy) for split in SPLITS}
    objects = {split: object_counts(document) for split, document in documents.items()}
    _refuse(documents, objects)
    (out / ANNOTATIONS).mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for split, document in documents.items():
        write_coco(out / ANNOTATIONS / f"{split}.json", document)
        digest.update(split.encode() + hashlib.sha256((out / ANNOTATIONS / f"{split}.json").read_bytes()).digest())
        for entry in document["images"]:
            name = entry["file_name"]
            link_or_copy(copy.root / name, out / name)
            digest.update(name.encode() + _digest(out / name))
    summary = FeatureSummary(
        feature_names=("image",),
        rows={str(split): len(document["images"]) for split, document in documents.items()},
        classes=policy.categories,
        objects={str(split): counts.total() for split, counts in objects.items()},
        digest=digest.hexdigest(),
        warnings=() if objects["validation"].total() else ("no_validation_objects",),
    )
    write_whole(out / DEFINITION, definition(request, policy, documents, objects))
    write_whole(out / SUMMARY, summary.model_dump_json(indent=2))
    return summary


def policy_of(classes: tuple[str, ...]) -> CocoPolicy:
    """What becomes of every KITTI class when ``classes`` are learned; empty: Car, Pedestrian, Cyclist.

    Van is neither right nor wrong as a Car, Person_sitting as a Pedestrian, unless they are learned themselves or their neighbour
    is not. DontCare is neither for every class.

    Raises:
        UserError: a name is no KITTI class, whatever its case, or is there twice.
    """
    usual = CocoPolicy()
    known = {name.casefold(): name for name in CLASSES if name != DONT_CARE}
    named: list[str] = []
    for name in classes or usual.categories:
        own = known.get(name.strip().casefold().replace(" ", "_").replace("-", "_"))
        if own is None or own in named:
            raise UserError(
                "KITTI has no such class" if own is None else "a class is there twice",
                field="dataset.classes",
                given=name,
                allowed=tuple(known.values()),
                next_step="correct `dataset.classes`, or leave it out for " + ", ".join(usual.categories),
            )
        named.append(own)
    ignored = {name: target for name, target in usual.ignored.items() if name not in named and target in named}
    return CocoPolicy(categories=tuple(named), ignored=ignored)


def object_counts(document: Mapping[str, Any]) -> Counter[str]:
    """Class name -> objects to find in a COCO document; classes without one are there with 0."""
    names = {entry["id"]: entry["name"] for entry in document["categories"]}
    counts: Counter[str] = Counter(dict.fromkeys(names.values(), 0))
    counts.update(names[entry["category_id"]] for entry in document["annotations"] if not entry["iscrowd"])
    return counts


def _refuse(documents: Mapping[Split, Mapping[str, Any]], objects: Mapping[Split, Counter[str]]) -> None:
    needed: tuple[Split, ...] = ("train", "test")
    for split in needed:
        if not objects[split].total():
            raise DataRejected(
                f"the {split} split has {len(documents[split]['images'])} frames and no object of the classes",
                field="dataset.classes",
                given=", ".join(objects[split]),
                allowed=("classes that the labels name",),
                next_step="compare the class names with those in the labels, or change the split",
            )
    if absent := [name for name, count in objects["train"].items() if not count]:
        raise DataRejected(
            "a class has no object in the training split",
            field="dataset.classes",
            given=", ".join(absent),
            allowed=tuple(f"{name} ({count})" for name, count in objects["train"].items() if count),
            next_step="take the class out of `dataset.classes`, or add frames that show it",
        )


def _digest(path: Path) -> bytes:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_READ_AT_ONCE):
            found.update(block)
    return found.digest()


def definition(
    request: TrainingRequest,
    policy: CocoPolicy,
    documents: Mapping[Split, Mapping[str, Any]],
    objects: Mapping[Split, Counter[str]],
) -> str:
    """Markdown in the request's language: what is learned, what is ignored, and how much there is of it."""
    say = WORDS[request.language]
    lines = [f"# {say['definition.title']}", "", say["definition.format"], "", f"## {say['definition.policy']}", ""]
    lines += [f"| {say['definition.class']} | {say['definition.role']} |", "| --- | --- |"]
    for name in CLASSES:
        role, category = policy.role(name)
        lines.append(f"| {name} | {say[f'definition.{role}'].format(name=category)} |")
    lines += ["", say["definition.ignored"], "", f"## {say['definition.objects']}", ""]
    lines += [f"| {say['definition.class']} | " + " | ".join(say[f"split.{split}"] for split in documents) + " |"]
    lines += ["| --- |" + " ---: |" * len(documents)]
    lines.append(f"| {say['definition.frames']} | " + " | ".join(f"{len(one['images']):,}" for one in documents.values()) + " |")
    for name in policy.categories:
        lines.append(f"| {name} | " + " | ".join(f"{objects[split][name]:,}" for split in documents) + " |")
    settings = settings_of(request)
    height, width = settings.input_size
    lines += ["", say["definition.input"].format(height=height, width=width)]
    return "\n".join(lines) + "\n"
