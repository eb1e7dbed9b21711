"""PointPillars in PyTorch: pillar feature network, scatter, 2D backbone, single-shot head with a direction classifier.

The network only: from decorated pillars to logits and residuals. It needs no CUDA, no compiler and no sparse convolutions. Losses
are in ``pillar_losses``, boxes from its outputs in ``pillar_decoding``. Importing this module imports torch.

Source: Lang et al., "PointPillars: Fast Encoders for Object Detection from Point Clouds", CVPR 2019; layer by layer the KITTI
setting of OpenPCDet and mmdetection3d, with 4,834,888 parameters.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mlops_assets.tasks.detection3d.pillar_settings import BOX_NUMBERS, POINT_FEATURES, PillarSettings

NORM_EPSILON, NORM_MOMENTUM = 1e-3, 0.01
#: Probability that an untrained head gives everything, so that the many background anchors do not drown the first steps.
PRIOR = 0.01
DIRECTIONS = 2


class HeadOutputs(NamedTuple):
    """What the head says; A anchors at each of H x W places, in the order of ``anchors``.

    Attributes:
        class_logits: ``(B, A * classes, H, W)``.
        residuals: ``(B, A * 7, H, W)``.
        direction_logits: ``(B, A * 2, H, W)``.
    """

    class_logits: Tensor
    residuals: Tensor
    direction_logits: Tensor


class PillarFeatureNet(nn.Module):
    """One linear layer over each point of a pillar, then the maximum over its points."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(POINT_FEATURES, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels, eps=NORM_EPSILON, momentum=NORM_MOMENTUM)

    def forward(self, features: Tensor) -> Tensor:
        """``(P, N, 10)`` decorated points to ``(P, C)``; unused places, all 0, take part in the maximum as published."""
        pillars, points, numbers = features.shape
        seen = self.norm(self.linear(features.reshape(pillars * points, numbers)))
        return torch.relu(seen).reshape(pillars, points, -1).amax(dim=1)


class NormalisedConvolution(nn.Module):
    """A convolution without bias, batch normalisation, ReLU."""

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.out_channels, eps=NORM_EPSILON, momentum=NORM_MOMENTUM)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, rows, columns)`` to the convolution's shape."""
        return torch.relu_(self.norm(self.convolution(image)))


class Stage(nn.Module):
    """Convolutions of 3x3, the first one strided, and an enlargement of their result to the head's resolution."""

    def __init__(self, incoming: int, channels: int, raised: int, *, layers: int, stride: int, scale: int) -> None:
        super().__init__()
        first = nn.Conv2d(incoming, channels, 3, stride=stride, padding=1, bias=False)
        more = [nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(layers)]
        self.layers = nn.ModuleList(NormalisedConvolution(layer) for layer in (first, *more))
        self.enlargement = NormalisedConvolution(nn.ConvTranspose2d(channels, raised, scale, stride=scale, bias=False))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, rows, columns)`` to the image for the next stage and the enlarged one for the head."""
        for layer in self.layers:
            image = layer(image)
        return image, self.enlargement(image)


class Backbone(nn.Module):
    """Three stages, and what they say side by side at the first one's resolution."""

    def __init__(self, settings: PillarSettings) -> None:
        super().__init__()
        stages, incoming, scale = [], settings.pillar_channels, 1
        for number, (layers, stride, channels, raised) in enumerate(
            zip(settings.block_layers, settings.block_strides, settings.block_channels, settings.upsample_channels, strict=True)
        ):
            scale *= stride if number else 1
            stages.append(Stage(incoming, channels, raised, layers=layers, stride=stride, scale=scale))
            incoming = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, rows, columns)`` to ``(B, sum of the raised channels, H, W)``."""
        raised = []
        for stage in self.stages:
            image, enlarged = stage(image)
            raised.append(enlarged)
        return torch.cat(raised, dim=1)


class Head(nn.Module):
    """Three 1x1 convolutions: classes, box residuals and directions of every anchor."""

    def __init__(self, settings: PillarSettings) -> None:
        super().__init__()
        incoming, anchors = sum(settings.upsample_channels), settings.anchors_per_cell
        self.classes = nn.Conv2d(incoming, anchors * len(settings.classes), 1)
        self.boxes = nn.Conv2d(incoming, anchors * BOX_NUMBERS, 1)
        self.directions = nn.Conv2d(incoming, anchors * DIRECTIONS, 1)
        nn.init.constant_(self.classes.get_parameter("bias"), -math.log((1 - PRIOR) / PRIOR))
        nn.init.normal_(self.boxes.weight, std=0.001)
        nn.init.zeros_(self.boxes.get_parameter("bias"))

    def forward(self, image: Tensor) -> HeadOutputs:
        """``(B, C, H, W)`` to the outputs of every anchor."""
        return HeadOutputs(self.classes(image), self.boxes(image), self.directions(image))


class PointPillars(nn.Module):
    """The whole detector up to its raw outputs."""

    def __init__(self, settings: PillarSettings) -> None:
        super().__init__()
        self.canvas = settings.canvas
        self.pillar_channels = settings.pillar_channels
        self.pillar_net = PillarFeatureNet(settings.pillar_channels)
        self.backbone = Backbone(settings)
        self.head = Head(settings)

    def forward(self, features: Tensor, places: Tensor, frames: int) -> HeadOutputs:
        """Decorated pillars ``(P, N, 10)`` at ``places`` ``(P,)`` of ``frames`` canvases to the head's outputs.

        See ``PillarBatch`` for how places count. No pillar at all is allowed: the canvases are empty then.
        """
        rows, columns = self.canvas
        if len(features):
            pillars = self.pillar_net(features)
            canvas = pillars.new_zeros(frames * rows * columns, self.pillar_channels)
            canvas = canvas.index_put((places,), pillars)
        else:
            # A mean over no points would make the running statistics NaN.
            canvas = features.new_zeros(frames * rows * columns, self.pillar_channels)
        # Pillars lie side by side in memory, so this view is in the order that convolutions are fastest with.
        image = canvas.view(frames, rows, columns, self.pillar_channels).permute(0, 3, 1, 2)
        outputs: HeadOutputs = self.head(self.backbone(image))
        return outputs


def build_pointpillars(settings: PillarSettings) -> PointPillars:
    """A new detector on the CPU; the same seed gives the same weights. The state of torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return PointPillars(settings).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def parameter_count(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
