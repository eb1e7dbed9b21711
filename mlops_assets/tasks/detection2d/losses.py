"""What YOLOX minimises: overlap of boxes, objectness, classes, and towards the end the distance of raw box offsets.

Which cell learns which object is decided in ``assignment``. Imports torch.

Source: Ge et al., "YOLOX", arXiv:2107.08430; GIoU: Rezatofighi et al., arXiv:1902.09630.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mlops_assets.tasks.detection2d.assignment import Assignment, Targets, assign
from mlops_assets.tasks.detection2d.augmentation import IGNORED
from mlops_assets.tasks.detection2d.model import Cells, boxes_of
from mlops_assets.tasks.detection2d.settings import IouLoss

#: Order of the values in ``Losses.parts``.
PARTS = ("loss", "iou_loss", "objectness_loss", "class_loss", "l1_loss", "cells_per_object")


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What the images of a batch hold: objects to find, and regions about which nothing is said.

    Attributes:
        objects: the objects, padded.
        ignored: ``(N, I, 4)`` float32, left, top, right, bottom [px]; rows of padding have no area.
    """

    objects: Targets
    ignored: Tensor


@dataclass(frozen=True, eq=False)
class Losses:
    """One step's loss, to be differentiated, and its parts without gradient, in the order of ``PARTS``."""

    total: Tensor
    parts: Tensor


def ground_truth(
    boxes: Sequence[NDArray[np.float32]], classes: Sequence[NDArray[np.int64]], *, device: torch.device | str = "cpu"
) -> GroundTruth:
    """A batch's boxes ``(G, 4)`` left, top, right, bottom [px] and classes ``(G,)`` per image, padded into tensors.

    Rows of class ``IGNORED`` become regions in which no cell is told that there is no object.
    """
    kept = [kinds != IGNORED for kinds in classes]
    most = max((int(rows.sum()) for rows in kept), default=0)
    unsaid = max((int((~rows).sum()) for rows in kept), default=0)
    padded = np.zeros((len(boxes), most, 4), np.float32)
    kinds_of = np.zeros((len(boxes), most), np.int64)
    present = np.zeros((len(boxes), most), np.bool_)
    ignored = np.zeros((len(boxes), unsaid, 4), np.float32)
    for image, (rows, found, kinds) in enumerate(zip(kept, boxes, classes, strict=True)):
        objects, regions = found[rows], found[~rows]
        padded[image, : len(objects), :2] = (objects[:, :2] + objects[:, 2:]) / 2
        padded[image, : len(objects), 2:] = objects[:, 2:] - objects[:, :2]
        kinds_of[image, : len(objects)] = kinds[rows]
        present[image, : len(objects)] = True
        ignored[image, : len(regions)] = regions
    moved = (torch.from_numpy(values).to(device, non_blocking=True) for values in (padded, kinds_of, present, ignored))
    to_boxes, to_classes, to_present, to_ignored = moved
    return GroundTruth(Targets(to_boxes, to_classes, to_present), to_ignored)


def yolox_losses(
    raw: Tensor, cells: Cells, truth: GroundTruth, *, iou_loss: IouLoss = "iou", iou_weight: float = 5.0, l1: bool = False
) -> Losses:
    """Loss of raw predictions ``(N, A, 5 + C)``, summed over cells and divided by the number of cells that learn an object.

    Batches without any object are fine: then only objectness is learned.
    """
    raw = raw.float()
    boxes = boxes_of(raw, cells)
    found = assign(boxes, raw[..., 4], raw[..., 5:], cells, truth.objects)
    cell_count = found.taken.sum().clamp(min=1)
    objectness = _objectness_loss(raw[..., 4], found, cells, truth.ignored)
    # one gather of the taken rows instead of masks over every cell
    image, cell = found.taken.nonzero(as_tuple=True)
    row = found.target[image, cell]
    wanted = truth.objects.boxes[image, row] if truth.objects.boxes.shape[1] else raw.new_zeros((0, 4))
    overlap = box_loss(boxes[image, cell], wanted, iou_loss).sum()
    class_logits = raw[image, cell, 5:]
    kinds = torch.zeros_like(class_logits)
    if len(kinds):
        kinds.scatter_(1, truth.objects.classes[image, row][:, None], found.overlap[image, cell][:, None])
    classes = functional.binary_cross_entropy_with_logits(class_logits, kinds, reduction="sum")
    offsets = raw.new_zeros(())
    if l1:
        offsets = (raw[image, cell, :4] - offsets_of(wanted, cells.corners[cell], cells.strides[cell])).abs().sum()
    parts = torch.stack((iou_weight * overlap, objectness, classes, offsets)) / cell_count
    total = parts.sum()
    objects = truth.objects.present.sum().clamp(min=1)
    shown = torch.cat((total[None], parts, (found.taken.sum() / objects)[None]))
    return Losses(total, shown.detach())


def _objectness_loss(logits: Tensor, found: Assignment, cells: Cells, ignored: Tensor) -> Tensor:
    each = functional.binary_cross_entropy_with_logits(logits, found.taken.float(), reduction="none")
    if ignored.shape[1]:
        at = cells.centers[None, None]
        within = ((at > ignored[:, :, None, :2]) & (at < ignored[:, :, None, 2:])).all(dim=-1).any(dim=1)
        each = each * (found.taken | ~within)
    return each.sum()


def box_loss(found: Tensor, wanted: Tensor, kind: IouLoss) -> Tensor:
    """Loss ``(K,)`` of boxes ``(K, 4)`` against ``(K, 4)``, both centre x, y, width, height [px].

    ``iou``: 1 - IoU squared, as published. ``giou``: 1 - GIoU, which also pulls boxes together that do not touch.
    """
    low, high = found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2
    wanted_low, wanted_high = wanted[:, :2] - wanted[:, 2:] / 2, wanted[:, :2] + wanted[:, 2:] / 2
    shared = (torch.minimum(high, wanted_high) - torch.maximum(low, wanted_low)).clamp(min=0).prod(dim=-1)
    whole = found[:, 2:].prod(dim=-1) + wanted[:, 2:].prod(dim=-1) - shared
    iou = shared / whole.clamp(min=1e-8)
    if kind == "iou":
        return 1 - iou.square()
    around = (torch.maximum(high, wanted_high) - torch.minimum(low, wanted_low)).prod(dim=-1).clamp(min=1e-8)
    return 1 - (iou - (around - whole) / around)


def offsets_of(boxes: Tensor, corners: Tensor, strides: Tensor) -> Tensor:
    """The raw offsets ``(K, 4)`` that would decode to ``boxes`` (centre x, y, width, height [px]) at these cells."""
    size = strides[:, None]
    return torch.cat((boxes[:, :2] / size - corners, torch.log(boxes[:, 2:] / size + 1e-8)), dim=-1)
