"""Which cell learns which object: SimOTA, for a whole batch at once and without a loop over objects.

Every object takes as many of its cheapest cells as its ten best overlaps add up to; a cell wanted twice goes to the object for
which it is cheapest. What the assigned cells then learn is in ``losses``. Imports torch.

Source: Ge et al., "YOLOX", arXiv:2107.08430, section 2.1; Ge et al., "OTA", arXiv:2103.14259.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mlops_assets.tasks.detection2d.model import Cells

#: Cells within so many cells of an object's centre are candidates, however small the object is.
CENTER_RADIUS = 2.5
#: So many of the best overlaps are added up for the number of cells that an object takes.
CANDIDATES = 10
#: Weight of the overlap beside the class in a cell's cost.
OVERLAP_WEIGHT = 3.0
#: Cost of a cell that is not both inside the object and near its centre: it is taken only when no other is left.
OUTSIDE = 1e5
#: Images are taken together as long as images x objects x cells stay below this; memory is about 40 bytes of each.
PAIRS_AT_ONCE = 2**25


@dataclass(frozen=True, eq=False)
class Targets:
    """The objects of a batch, padded to the largest number in an image.

    Attributes:
        boxes: ``(N, G, 4)`` float32, centre x, y, width, height [px].
        classes: ``(N, G)`` int64; anything where ``present`` is False.
        present: ``(N, G)`` bool, False for padding.
    """

    boxes: Tensor
    classes: Tensor
    present: Tensor

    def images(self, first: int, last: int) -> Targets:
        """The objects of images ``first`` … ``last - 1``."""
        return Targets(self.boxes[first:last], self.classes[first:last], self.present[first:last])


@dataclass(frozen=True, eq=False)
class Assignment:
    """What each cell learns.

    Attributes:
        taken: ``(N, A)`` bool, the cell learns an object.
        target: ``(N, A)`` int64, row of that object in its image; 0 where not taken.
        overlap: ``(N, A)`` float32, intersection over union of the cell's box with it; 0 where not taken.
    """

    taken: Tensor
    target: Tensor
    overlap: Tensor


@torch.no_grad()
def assign(boxes: Tensor, objectness: Tensor, class_logits: Tensor, cells: Cells, targets: Targets) -> Assignment:
    """The SimOTA assignment of a batch.

    Args:
        boxes: ``(N, A, 4)`` predicted boxes, centre x, y, width, height [px].
        objectness: ``(N, A)`` logits.
        class_logits: ``(N, A, C)``.
        cells: the ``A`` cells.
        targets: the objects.
    """
    pairs = max(1, targets.boxes.shape[1] * boxes.shape[1])
    step = max(1, PAIRS_AT_ONCE // pairs)
    parts = [
        _assign(
            boxes[first : first + step].float(),
            objectness[first : first + step].float(),
            class_logits[first : first + step].float(),
            cells,
            targets.images(first, first + step),
        )
        for first in range(0, len(boxes), step)
    ]
    return Assignment(
        torch.cat([part.taken for part in parts]),
        torch.cat([part.target for part in parts]),
        torch.cat([part.overlap for part in parts]),
    )


def _assign(boxes: Tensor, objectness: Tensor, class_logits: Tensor, cells: Cells, targets: Targets) -> Assignment:
    images, count = boxes.shape[:2]
    if targets.boxes.shape[1] == 0:
        nothing = torch.zeros((images, count), device=boxes.device)
        return Assignment(nothing.bool(), nothing.long(), nothing)
    candidate, inner = _geometry(cells, targets)
    overlaps = pairwise_iou(targets.boxes, boxes) * candidate[:, None]
    cost = _class_cost(objectness, class_logits, targets) - OVERLAP_WEIGHT * torch.log(overlaps + 1e-8) + OUTSIDE * ~inner
    cost = cost.masked_fill(~(candidate[:, None] & targets.present[..., None]), torch.inf)
    ranked = min(CANDIDATES, count)
    wanted = overlaps.topk(ranked, dim=-1).values.sum(dim=-1).int().clamp(min=1)
    cheapest = cost.topk(ranked, dim=-1, largest=False)
    chosen = (torch.arange(ranked, device=boxes.device) < wanted[..., None]) & cheapest.values.isfinite()
    matched = torch.zeros_like(cost, dtype=torch.bool).scatter_(-1, cheapest.indices, chosen)
    claims = matched.sum(dim=1)
    target = torch.where(claims > 1, cost.argmin(dim=1), matched.int().argmax(dim=1))
    taken = claims > 0
    overlap = overlaps.gather(1, target[:, None]).squeeze(1)
    return Assignment(taken, target * taken, overlap * taken)


def _geometry(cells: Cells, targets: Targets) -> tuple[Tensor, Tensor]:
    """Cells in or near some object of their image ``(N, A)``; cells both in and near each object ``(N, G, A)``."""
    apart = (cells.centers[None, None] - targets.boxes[:, :, None, :2]).abs()
    inside = (apart < targets.boxes[:, :, None, 2:] / 2).all(dim=-1)
    near = (apart < CENTER_RADIUS * cells.strides[:, None]).all(dim=-1)
    present = targets.present[..., None]
    return ((inside | near) & present).any(dim=1), inside & near & present


def _class_cost(objectness: Tensor, class_logits: Tensor, targets: Targets) -> Tensor:
    """Binary cross entropy ``(N, G, A)`` of every cell's class scores with each object's class.

    A cell's score for a class is the root of objectness x class probability. Of the sum over classes only the object's own
    class differs between objects, so the sum is made once a cell.
    """
    log_score = (functional.logsigmoid(class_logits) + functional.logsigmoid(objectness)[..., None]) / 2
    against = torch.log(-torch.expm1(log_score)).clamp(min=-100)
    own = (against - log_score.clamp(min=-100)).transpose(1, 2)
    classes = targets.classes.clamp(0, class_logits.shape[-1] - 1)
    picked = own.gather(1, classes[..., None].expand(-1, -1, own.shape[-1]))
    return picked - against.sum(dim=-1)[:, None]


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union ``(N, G, A)`` of boxes ``(N, G, 4)`` with ``(N, A, 4)``: centre x, y, width, height [px]."""
    low = torch.maximum(_low(first)[:, :, None], _low(second)[:, None])
    high = torch.minimum(_high(first)[:, :, None], _high(second)[:, None])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    whole = first[..., 2:].prod(dim=-1)[:, :, None] + second[..., 2:].prod(dim=-1)[:, None] - shared
    return shared / whole.clamp(min=1e-8)


def _low(boxes: Tensor) -> Tensor:
    return boxes[..., :2] - boxes[..., 2:] / 2


def _high(boxes: Tensor) -> Tensor:
    return boxes[..., :2] + boxes[..., 2:] / 2
