"""Mean average precision of boxes in images as COCO counts it, through faster-coco-eval.

Only the wrapper is here: shapes, refusals, and what looks wrong though it can be counted. KITTI's own metrics, which differ in
every convention, are in ``kitti_evaluation``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mlops_assets.errors import DataRejected, UserError
from mlops_assets.tasks.detection.image_boxes import ImageBoxes
from mlops_assets.tasks.detection.overlap import Floats, boxes_of

__all__ = ["MAX_DETECTIONS", "CocoClass", "CocoEvaluation", "CocoRemark", "ImageBoxes", "RemarkCode", "evaluate_coco"]

#: Detections counted of each image and class, the surest first.
MAX_DETECTIONS = 100
_NAMED_AT_MOST = 5
#: Below this mAP@0.5 it is asked whether the classes are mixed up: boxes that match well when no class is looked at.
_SUSPICIOUS, _WELL = 0.1, 0.5

RemarkCode = Literal["no_detections", "class_never_detected", "class_without_ground_truth", "classes_mixed_up"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CocoClass(_Frozen):
    """One class; shares of 1. A class without ground truth has no numbers and takes no part in the means.

    Attributes:
        ap_50: average precision over 101 recall positions at intersection over union 0.5.
        ap_50_95: mean of it over 0.5, 0.55 … 0.95.
        recall_50: share of the ground truth found at 0.5 by at most 100 detections an image.
        recall_50_95: mean of that over 0.5, 0.55 … 0.95 (COCO's AR@100).
    """

    name: str
    ground_truths: int
    detections: int
    ap_50: float | None
    ap_50_95: float | None
    recall_50: float | None
    recall_50_95: float | None


class CocoRemark(_Frozen):
    """Something that can be counted but looks wrong; ``class_name`` is None where it concerns them all."""

    code: RemarkCode
    class_name: str | None = None


class CocoEvaluation(_Frozen):
    """Means over the classes that have ground truth, what they are means of, and what looks wrong."""

    images: int
    map_50: float
    map_50_95: float
    recall_50: float
    recall_50_95: float
    classes: tuple[CocoClass, ...]
    remarks: tuple[CocoRemark, ...]


def evaluate_coco(
    truths: Mapping[str, ImageBoxes], detections: Mapping[str, ImageBoxes], class_names: Sequence[str]
) -> CocoEvaluation:
    """Judge detections against ground truth, both by image name; an image without boxes is there and empty.

    Raises:
        UserError: no class names, or one twice.
        DataRejected: no image; an image on one side only; no ground truth at all; a class that is no position in
            ``class_names``; shapes that do not fit; values that are not finite; a ground truth box without area, a detection
            turned inside out.

    Source: Microsoft COCO detection evaluation; bbox, all areas, at most 100 detections an image and class.
    """
    _refuse(truths, detections, class_names)
    counted, found = (_per_class(side, len(class_names)) for side in (truths, detections))
    if not counted.any():
        raise DataRejected(
            f"none of {len(truths)} images has a ground truth box",
            field="truths",
            next_step="look at the split and at the conversion of the labels: a mean over nothing would be no number",
        )
    precision, recall = _counted(truths, detections, len(class_names))
    classes = []
    for position, name in enumerate(class_names):
        numbers: dict[str, float | None] = dict.fromkeys(("ap_50", "ap_50_95", "recall_50", "recall_50_95"))
        if counted[position]:
            numbers = {
                "ap_50": float(precision[0, :, position].mean()),
                "ap_50_95": float(precision[:, :, position].mean()),
                "recall_50": float(recall[0, position]),
                "recall_50_95": float(recall[:, position].mean()),
            }
        mine = CocoClass(name=name, ground_truths=int(counted[position]), detections=int(found[position]), **numbers)
        classes.append(mine)
    present = counted > 0
    map_50 = float(precision[0, :, present].mean())
    return CocoEvaluation(
        images=len(truths),
        map_50=map_50,
        map_50_95=float(precision[:, :, present].mean()),
        recall_50=float(recall[0, present].mean()),
        recall_50_95=float(recall[:, present].mean()),
        classes=tuple(classes),
        remarks=tuple(_remarks(truths, detections, classes, map_50)),
    )


def _remarks(
    truths: Mapping[str, ImageBoxes], detections: Mapping[str, ImageBoxes], classes: Sequence[CocoClass], map_50: float
) -> list[CocoRemark]:
    if not any(one.detections for one in classes):
        return [CocoRemark(code="no_detections")]
    remarks = []
    if map_50 < _SUSPICIOUS and len(classes) > 1:
        precision, _ = _counted(truths, detections, 1)
        if precision[0].mean() >= _WELL:
            remarks.append(CocoRemark(code="classes_mixed_up"))
    for one in classes:
        if one.ground_truths and not one.detections:
            remarks.append(CocoRemark(code="class_never_detected", class_name=one.name))
        if one.detections and not one.ground_truths:
            remarks.append(CocoRemark(code="class_without_ground_truth", class_name=one.name))
    return remarks


def _counted(truths: Mapping[str, ImageBoxes], detections: Mapping[str, ImageBoxes], classes: int) -> tuple[Floats, Floats]:
    """Precision ``(10, 101, classes)`` and recall ``(10, classes)``; with one class, all boxes count as of that one."""
    from faster_coco_eval import COCO, COCOeval_faster

    images = {name: number for number, name in enumerate(sorted(truths), start=1)}
    annotations: list[dict[str, Any]] = []
    for name, image in images.items():
        crowd = truths[name].crowd
        crowds = np.zeros(len(truths[name].boxes), dtype=np.bool_) if crowd is None else crowd
        for row, at, outside in zip(_rows(truths[name].boxes), truths[name].classes.tolist(), crowds.tolist(), strict=True):
            number = len(annotations) + 1  # an id of 0 would count as "matched nothing"
            category = 1 + (at if classes > 1 else 0)
            entry = {"id": number, "image_id": image, "category_id": category, "bbox": row, "iscrowd": int(outside)}
            annotations.append({**entry, "area": row[2] * row[3]})
    results: list[dict[str, Any]] = []
    for name, image in images.items():
        scores = detections[name].scores
        given = [] if scores is None else scores.tolist()
        for row, at, score in zip(_rows(detections[name].boxes), detections[name].classes.tolist(), given, strict=True):
            category = 1 + (at if classes > 1 else 0)
            results.append({"image_id": image, "category_id": category, "bbox": row, "score": score})
    dataset = {
        "images": [{"id": number} for number in images.values()],
        "categories": [{"id": number + 1, "name": str(number)} for number in range(classes)],
        "annotations": annotations,
    }
    truth = COCO(dataset)
    evaluation = COCOeval_faster(truth, truth.loadRes(results), "bbox")
    evaluation.params.maxDets = [MAX_DETECTIONS]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"], dtype=np.float64).reshape(10, 101, classes)
    recall = np.asarray(evaluation.eval["recall"], dtype=np.float64).reshape(10, classes)
    return precision, recall


def _rows(boxes: Floats) -> list[list[float]]:
    """Left, top, width, height, as COCO has them."""
    rows: list[list[float]] = np.column_stack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2])).tolist()
    return rows


def _per_class(side: Mapping[str, ImageBoxes], classes: int) -> NDArray[np.int64]:
    counts = np.zeros(classes, dtype=np.int64)
    for image in side.values():
        mine = image.classes if image.crowd is None else image.classes[~image.crowd]
        counts += np.bincount(mine, minlength=classes)
    return counts


def _refuse(truths: Mapping[str, ImageBoxes], detections: Mapping[str, ImageBoxes], class_names: Sequence[str]) -> None:
    if not class_names or len(set(class_names)) < len(class_names):
        raise UserError("class names must be there, each once", field="class_names", given=list(class_names))
    if not truths:
        raise DataRejected("there is no image to evaluate", field="truths", next_step="name a split that has labelled images")
    alone = sorted(set(truths) ^ set(detections))
    if alone:
        shown = ", ".join(alone[:_NAMED_AT_MOST]) + (", …" if len(alone) > _NAMED_AT_MOST else "")
        raise DataRejected(
            f"{len(alone)} image(s) have ground truth only or detections only: {shown}",
            field="detections",
            given=f"{len(detections)} images with detections, {len(truths)} with ground truth",
            next_step="give every image on both sides, without boxes where there are none",
        )
    for side, images in (("truths", truths), ("detections", detections)):
        for name, image in images.items():
            _refuse_image(f"{side}[{name}]", image, class_names, scored=side == "detections")


def _refuse_image(place: str, image: ImageBoxes, class_names: Sequence[str], *, scored: bool) -> None:
    boxes = boxes_of(image.boxes, 4, place)
    arrays = {"classes": image.classes, "scores": image.scores, "crowd": image.crowd}
    for name, values in arrays.items():
        if values is not None and values.shape != (len(boxes),):
            raise DataRejected(f"{place}.{name} must be one for each box", field=f"{place}.{name}", given=values.shape)
    wrong = image.classes[(image.classes < 0) | (image.classes >= len(class_names))]
    if len(wrong) or not np.issubdtype(image.classes.dtype, np.integer):
        raise DataRejected(
            f"{place} has a class that is no position in the list of {len(class_names)} class names",
            field=f"{place}.classes",
            given=sorted(set(wrong.tolist()))[:_NAMED_AT_MOST] or str(image.classes.dtype),
            allowed=[f"{position} ({name})" for position, name in enumerate(class_names)],
            next_step="classes are counted from 0 here; the category ids of a COCO file usually begin with 1",
        )
    if scored and (image.scores is None or not np.isfinite(image.scores).all()):
        raise DataRejected(f"{place} lacks a finite score for every box", field=f"{place}.scores")
    # A detection may be cut to nothing at the image's edge: it matches nothing. A label without area is a mistake.
    flat = ((boxes[:, 2:] < boxes[:, :2]) if scored else (boxes[:, 2:] <= boxes[:, :2])).any(axis=1)
    if flat.any():
        raise DataRejected(
            f"{place} has a box {'turned inside out' if scored else 'without area'}",
            field=f"{place}.boxes",
            given=boxes[int(np.argmax(flat))].tolist(),
            allowed=(f"left {'<=' if scored else '<'} right and top {'<=' if scored else '<'} bottom, in pixels",),
            next_step="boxes are left, top, right, bottom here, not left, top, width, height",
        )
