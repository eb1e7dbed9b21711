"""Losses of PointPillars: focal for classes, smooth L1 with the sine of the angle's error for boxes, cross-entropy for headings.

Importing this module imports torch. Which anchor shall find what is decided in ``anchors``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mlops_assets.tasks.detection3d.pillar_samples import PillarBatch
from mlops_assets.tasks.detection3d.pillar_settings import BOX_NUMBERS, PillarSettings
from mlops_assets.tasks.detection3d.pointpillars import DIRECTIONS, HeadOutputs

#: Source: Lang et al., "PointPillars", CVPR 2019, section 2.2, and SECOND's beta of the smooth L1.
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
SMOOTH_BETA = 1 / 9


@dataclass(frozen=True, eq=False)
class TensorBatch:
    """A ``PillarBatch`` as tensors on one device."""

    frames: int
    features: Tensor
    places: Tensor
    positive: Tensor
    positive_frames: Tensor
    classes: Tensor
    residuals: Tensor
    directions: Tensor
    ignored: Tensor


@dataclass(frozen=True, eq=False)
class PillarLosses:
    """The three parts, weighted, and their sum; scalars."""

    total: Tensor
    classes: Tensor
    boxes: Tensor
    directions: Tensor


def to_tensors(batch: PillarBatch, device: torch.device) -> TensorBatch:
    """The batch on ``device``."""

    def moved(values: object) -> Tensor:
        tensor = torch.as_tensor(values)
        return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor

    return TensorBatch(
        frames=batch.frames,
        features=moved(batch.features),
        places=moved(batch.places),
        positive=moved(batch.positive),
        positive_frames=moved(batch.positive_frames),
        classes=moved(batch.classes),
        residuals=moved(batch.residuals),
        directions=moved(batch.directions),
        ignored=moved(batch.ignored),
    )


def pillar_losses(outputs: HeadOutputs, batch: TensorBatch, settings: PillarSettings) -> PillarLosses:
    """Losses of the raw outputs, computed in float32; each frame's parts are divided by its number of positive anchors.

    A frame without objects, or a batch of them, has a class loss only: all of its anchors are background.
    """
    logits = _by_anchor(outputs.class_logits, len(settings.classes))
    normaliser = torch.bincount(batch.positive_frames, minlength=batch.frames).clamp(min=1).float()
    class_part = _class_loss(logits, batch, normaliser)
    share = 1 / (normaliser[batch.positive_frames] * batch.frames)
    found = _by_anchor(outputs.residuals, BOX_NUMBERS)[batch.positive]
    box_part = (box_loss(found, batch.residuals) * share).sum()
    halves = _by_anchor(outputs.direction_logits, DIRECTIONS)[batch.positive]
    direction_part = (functional.cross_entropy(halves, batch.directions, reduction="none") * share).sum()
    parts = class_part * settings.class_weight, box_part * settings.box_weight, direction_part * settings.direction_weight
    return PillarLosses(parts[0] + parts[1] + parts[2], *parts)


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss of every logit against a target of 0 or 1, not reduced.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 5.
    """
    probability = torch.sigmoid(logits)
    wrong = targets * (1 - probability) + (1 - targets) * probability
    weight = targets * FOCAL_ALPHA + (1 - targets) * (1 - FOCAL_ALPHA)
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return weight * wrong**FOCAL_GAMMA * entropy


def box_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Smooth L1 between residuals ``(P, 7)``, summed over the seven: ``(P,)``. The angle's error counts by its sine.

    So a box that is turned by half a turn is right, as it covers the same ground; its heading is the classifier's matter.

    Source: Yan et al., "SECOND", 2018, section 3.2.2.
    """
    error = torch.cat([found[:, :6] - wanted[:, :6], torch.sin(found[:, 6:] - wanted[:, 6:])], dim=1)
    return functional.smooth_l1_loss(error, torch.zeros_like(error), beta=SMOOTH_BETA, reduction="none").sum(dim=1)


def _class_loss(logits: Tensor, batch: TensorBatch, normaliser: Tensor) -> Tensor:
    targets = torch.zeros_like(logits)
    targets[batch.positive, batch.classes] = 1.0
    counted = torch.ones(len(logits), 1, device=logits.device)
    counted[batch.ignored] = 0.0
    per_frame = (focal_loss(logits, targets) * counted).view(batch.frames, -1).sum(dim=1)
    return (per_frame / normaliser).mean()


def _by_anchor(output: Tensor, numbers: int) -> Tensor:
    """``(B, A * numbers, H, W)`` to ``(B * A * H * W, numbers)`` float32, one row an anchor in the order of ``anchors``."""
    frames, channels, rows, columns = output.shape
    split = output.float().reshape(frames, channels // numbers, numbers, rows * columns)
    return split.transpose(2, 3).reshape(-1, numbers)
