"""KITTI labels as a COCO annotation file, for 2D detectors and COCO's metrics, by a stated policy for every class.

COCO has no DontCare and no neighbouring class: both become *crowd regions* (``iscrowd`` 1). Training leaves them out;
COCO's evaluation neither demands nor punishes detections in them, but only for the category of the region, so a DontCare
becomes one region for *each* category. A field ``ignore`` would not do: pycocotools overwrites it with ``iscrowd``.

Boxes are x, y, width, height [px] as floats, width = right - left as in KITTI's own evaluation; ids begin at 1, since
pycocotools takes a match with annotation 0 for none. Image sizes are read from each file: KITTI has several.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mlops_assets.data.kitti.classes import CLASSES
from mlops_assets.data.kitti.frames import KittiCopy, image_size
from mlops_assets.data.kitti.labels import DONT_CARE, KittiObjects
from mlops_assets.errors import UserError
from mlops_assets.request.schema import Frozen
from mlops_assets.whole_files import write_whole

Role = Literal["category", "crowd", "every_crowd", "background"]


class CocoPolicy(Frozen):
    """What becomes of each KITTI class. The default is that of KITTI's own evaluation.

    A class that is named nowhere here (Truck, Tram, Misc by default) is background: a detector that finds it is wrong.
    """

    categories: tuple[str, ...] = Field(
        default=("Car", "Pedestrian", "Cyclist"), min_length=1, description="learned classes; their ids are 1, 2, … in this order"
    )
    merged: dict[str, str] = Field(default_factory=dict, description="class -> category as which it is learned too")
    ignored: dict[str, str] = Field(
        default_factory=lambda: {"Van": "Car", "Person_sitting": "Pedestrian"},
        description="class -> category of which it is a crowd region: neither demanded nor punished",
    )
    dont_care: Literal["crowd", "background"] = Field(
        default="crowd", description="DontCare as crowd regions of every category, or left out"
    )

    def role(self, name: str) -> tuple[Role, str]:
        """What becomes of a class, and the category that it concerns."""
        if name in self.categories:
            return "category", name
        if name in self.merged:
            return "category", self.merged[name]
        if name in self.ignored:
            return "crowd", self.ignored[name]
        return ("every_crowd" if name == DONT_CARE and self.dont_care == "crowd" else "background"), ""

    def verify(self) -> None:
        """Make sure that the policy gives every class one role.

        Raises:
            UserError: a name is no KITTI class, a class has two roles, or a target is no category.
        """
        named = Counter([*self.categories, *self.merged, *self.ignored])
        allowed = tuple(name for name in CLASSES if name != DONT_CARE)
        for name in named:
            if name not in allowed:
                raise _wrong("KITTI has no such class", name, allowed)
            if named[name] > 1:
                raise _wrong("a class can be a category, merged into one or ignored, not two of these", name, ())
        for target in [*self.merged.values(), *self.ignored.values()]:
            if target not in self.categories:
                raise _wrong("a class is merged into or ignored for what is no category", target, self.categories)


def to_coco(
    copy: KittiCopy,
    frame_ids: Iterable[str],
    policy: CocoPolicy | None = None,
    *,
    told: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """The COCO document of these frames, in their order; ``told`` hears how many are done.

    Every image has ``frame_id``; every annotation ``attributes`` with KITTI's class, truncation, occlusion and its row in
    the label file. ``info`` states the policy and how many objects of each class took which role.

    Raises:
        UserError: the policy contradicts itself.
        NotFound: a frame does not exist or lacks its image or labels.
        DataRejected: naming the file: an image or label file is damaged.
    """
    policy = policy or CocoPolicy()
    policy.verify()
    category_ids = {name: number for number, name in enumerate(policy.categories, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    roles: Counter[str] = Counter()
    for frame_id in frame_ids:
        path = copy.path(frame_id, "image")
        width, height = image_size(path)
        image_id = len(images) + 1
        file_name = path.relative_to(copy.root).as_posix()
        images.append({"id": image_id, "file_name": file_name, "width": width, "height": height, "frame_id": frame_id})
        objects = copy.objects(frame_id)
        for row, name in enumerate(objects.names.tolist()):
            role, category = policy.role(name)
            box = _clipped(objects, row, width, height)
            if box is None:
                roles[f"{name}: outside the image"] += 1
                continue
            roles[f"{name}: {role.replace('every_crowd', 'crowd of every category')}{f' {category}' if category else ''}"] += 1
            targets = {"category": [category], "crowd": [category], "every_crowd": list(category_ids), "background": []}[role]
            for target in targets:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": category_ids[target],
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": int(role != "category"),
                        "segmentation": [],
                        "attributes": {
                            "kitti_class": name,
                            "truncated": float(objects.truncation[row]),
                            "occluded": int(objects.occlusion[row]),
                            "row": row,
                        },
                    }
                )
        if told is not None:
            told(image_id)
    return {
        "info": {
            "description": "KITTI object labels",
            "policy": policy.model_dump(mode="json"),
            "roles": dict(sorted(roles.items())),
        },
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": "kitti"} for name, number in category_ids.items()],
    }


def write_coco(path: Path, document: dict[str, Any]) -> None:
    """Write a COCO document as JSON; readers see the old file or the whole new one.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    write_whole(path, json.dumps(document, ensure_ascii=False, allow_nan=False), shared=True)


def _clipped(objects: KittiObjects, row: int, width: int, height: int) -> list[float] | None:
    """x, y, width, height within the image, None where nothing of the box is."""
    left, top = np.maximum(objects.boxes_2d[row, :2], 0.0).tolist()
    right, bottom = np.minimum(objects.boxes_2d[row, 2:], (width, height)).tolist()
    if right <= left or bottom <= top:
        return None
    # Whole hundredths in, whole hundredths out: 0.1 + 0.2 style digits would only make the file longer.
    return [left, top, round(right - left, 6), round(bottom - top, 6)]


def _wrong(headline: str, given: str, allowed: tuple[str, ...]) -> UserError:
    step = "correct the class policy of the conversion"
    return UserError(headline, field="class policy", given=given, allowed=allowed, next_step=step)
