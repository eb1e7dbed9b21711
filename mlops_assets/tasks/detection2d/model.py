"""The YOLOX network: CSPDarknet, feature pyramid and decoupled head without anchors; images to raw predictions.

Decoding, losses and suppression are elsewhere. Imports torch: import this module only where a network is needed.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection2d.settings import ARCHITECTURES, STRIDE, Variant

#: Pixels from cell to cell on the three feature maps that the head reads.
STRIDES = (8, 16, 32)
#: Score of every cell before training: most cells hold nothing, and a start at 0.5 would drown the objects.
PRIOR = 0.01
BATCH_NORM_EPS, BATCH_NORM_MOMENTUM = 1e-3, 0.03
#: Width and height of a box are at most e to this power of its stride: an untrained network must not overflow.
_LARGEST_EXPONENT = 10.0


class ConvUnit(nn.Sequential):
    """Convolution without bias, batch normalisation, SiLU; same size at stride 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM),
            nn.SiLU(inplace=True),
        )


class DepthwiseUnit(nn.Sequential):
    """Each channel convolved by itself, then mixed by a 1 x 1 convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(ConvUnit(inputs, inputs, kernel, stride, groups=inputs), ConvUnit(inputs, outputs, 1))


def _unit(depthwise: bool, inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    return (DepthwiseUnit if depthwise else ConvUnit)(inputs, outputs, kernel, stride)


class Bottleneck(nn.Module):
    """1 x 1 then 3 x 3 convolution, optionally added to what came in."""

    def __init__(self, channels: int, *, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        self.reduce = ConvUnit(channels, channels, 1)
        self.mix = _unit(depthwise, channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        y: Tensor = self.mix(self.reduce(x))
        return x + y if self.shortcut else y


class CspLayer(nn.Module):
    """Cross-stage partial layer: one half goes through bottlenecks, the other past them."""

    def __init__(self, inputs: int, outputs: int, count: int, *, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        hidden = outputs // 2
        self.main = ConvUnit(inputs, hidden, 1)
        self.side = ConvUnit(inputs, hidden, 1)
        self.bottlenecks = nn.Sequential(*(Bottleneck(hidden, shortcut=shortcut, depthwise=depthwise) for _ in range(count)))
        self.join = ConvUnit(2 * hidden, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H, W)``."""
        joined: Tensor = self.join(torch.cat((self.bottlenecks(self.main(x)), self.side(x)), dim=1))
        return joined


class Focus(nn.Module):
    """Stem: every 2 x 2 pixels become four times the channels, then one convolution."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = ConvUnit(12, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` to ``(N, outputs, H/2, W/2)``; order of the quarters as published."""
        quarters = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        y: Tensor = self.conv(torch.cat(quarters, dim=1))
        return y


class PyramidPooling(nn.Module):
    """Spatial pyramid pooling over windows of 5, 9 and 13 cells.

    Windows of 9 and 13 are windows of 5 applied twice and three times: the same maxima for a third of the comparisons.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = ConvUnit(channels, channels // 2, 1)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.join = ConvUnit(channels * 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        x = self.reduce(x)
        five = self.pool(x)
        nine = self.pool(five)
        y: Tensor = self.join(torch.cat((x, five, nine, self.pool(nine)), dim=1))
        return y


class CspDarknet(nn.Module):
    """Backbone; gives the feature maps of strides 8, 16 and 32."""

    def __init__(self, base: int, count: int, *, depthwise: bool) -> None:
        super().__init__()

        def stage(inputs: int, layers: int, *, last: bool = False) -> nn.Sequential:
            outputs = inputs * 2
            middle = [PyramidPooling(outputs)] if last else []
            csp = CspLayer(outputs, outputs, layers, shortcut=not last, depthwise=depthwise)
            return nn.Sequential(_unit(depthwise, inputs, outputs, 3, 2), *middle, csp)

        self.stem = nn.Sequential(Focus(base), stage(base, count))
        self.stride8 = stage(base * 2, count * 3)
        self.stride16 = stage(base * 4, count * 3)
        self.stride32 = stage(base * 8, count, last=True)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(N, 3, H, W)`` to maps of ``base`` x 4, 8, 16 channels."""
        fine: Tensor = self.stride8(self.stem(images))
        middle: Tensor = self.stride16(fine)
        return fine, middle, self.stride32(middle)


class PathPyramid(nn.Module):
    """Path-aggregation feature pyramid: coarse meaning goes down to the fine maps, exact places go back up."""

    def __init__(self, channels: tuple[int, int, int], count: int, *, depthwise: bool) -> None:
        super().__init__()
        fine, middle, coarse = channels

        def csp(inputs: int, outputs: int) -> CspLayer:
            return CspLayer(inputs, outputs, count, shortcut=False, depthwise=depthwise)

        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.lateral = ConvUnit(coarse, middle, 1)
        self.down_middle = csp(2 * middle, middle)
        self.reduce = ConvUnit(middle, fine, 1)
        self.down_fine = csp(2 * fine, fine)
        self.shrink_fine = _unit(depthwise, fine, fine, 3, 2)
        self.up_middle = csp(2 * fine, middle)
        self.shrink_middle = _unit(depthwise, middle, middle, 3, 2)
        self.up_coarse = csp(2 * middle, coarse)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three maps in, three maps of the same shapes out."""
        top = self.lateral(coarse)
        between = self.reduce(self.down_middle(torch.cat((self.up(top), middle), dim=1)))
        first = self.down_fine(torch.cat((self.up(between), fine), dim=1))
        second = self.up_middle(torch.cat((self.shrink_fine(first), between), dim=1))
        third = self.up_coarse(torch.cat((self.shrink_middle(second), top), dim=1))
        return first, second, third


class HeadLevel(nn.Module):
    """Decoupled head of one feature map: classes on one branch, box and objectness on the other."""

    def __init__(self, inputs: int, hidden: int, classes: int, *, depthwise: bool) -> None:
        super().__init__()

        def branch() -> nn.Sequential:
            return nn.Sequential(*(_unit(depthwise, hidden, hidden, 3) for _ in range(2)))

        self.stem = ConvUnit(inputs, hidden, 1)
        self.class_branch, self.box_branch = branch(), branch()
        self.class_logits = nn.Conv2d(hidden, classes, 1)
        self.box = nn.Conv2d(hidden, 4, 1)
        self.objectness = nn.Conv2d(hidden, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, H * W, 5 + classes)``."""
        x = self.stem(x)
        places = self.box_branch(x)
        found = torch.cat((self.box(places), self.objectness(places), self.class_logits(self.class_branch(x))), dim=1)
        return found.flatten(2).transpose(1, 2)


class Yolox(nn.Module):
    """YOLOX of one variant for ``classes`` classes, initialised as published.

    Images are RGB, 0 … 255 without normalisation.

    Raises:
        UserError: less than one class.
    """

    def __init__(self, variant: Variant, classes: int) -> None:
        super().__init__()
        if classes < 1:
            raise UserError("a detector needs a class to detect", field="classes", given=classes, allowed=("1 or more",))
        made = ARCHITECTURES[variant]
        self.variant: Variant = variant
        self.classes = classes
        base, count = int(made.width * 64), max(round(made.depth * 3), 1)
        channels = (int(256 * made.width), int(512 * made.width), int(1024 * made.width))
        self.backbone = CspDarknet(base, count, depthwise=made.depthwise)
        self.pyramid = PathPyramid(channels, count, depthwise=made.depthwise)
        self.head = nn.ModuleList(HeadLevel(width, channels[0], classes, depthwise=made.depthwise) for width in channels)
        for level in self.head:
            for scores in (level.class_logits, level.objectness):
                nn.init.constant_(scores.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[union-attr, arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Raw predictions ``(N, A, 5 + classes)``: box offsets, objectness logit, class logits, in the order of ``cells_of``.

        Args:
            images: ``(N, 3, H, W)`` float, RGB 0 … 255, sides multiples of 32.

        Raises:
            UserError: sides that are no multiples of 32.
        """
        check_sides(images.shape[-2:])
        maps: Sequence[Tensor] = self.pyramid(*self.backbone(images))
        return torch.cat([level(x) for level, x in zip(self.head, maps, strict=True)], dim=1)


@dataclass(frozen=True, eq=False)
class Cells:
    """Where the predictions of an image size sit.

    Attributes:
        corners: ``(A, 2)`` x, y of each cell's upper left corner, in cells of its own map.
        strides: ``(A,)`` pixels a cell.
    """

    corners: Tensor
    strides: Tensor

    @property
    def centers(self) -> Tensor:
        """``(A, 2)`` x, y [px]."""
        return (self.corners + 0.5) * self.strides[:, None]


def check_sides(size: Sequence[int]) -> None:
    """Refuse an image size that the feature maps do not fit.

    Raises:
        UserError: a side is no multiple of 32.
    """
    if any(side % STRIDE for side in size):
        given = " x ".join(map(str, size))
        raise UserError(
            "the network reads images whose sides are multiples of 32",
            field="input_size",
            given=given,
            allowed=(f"multiples of {STRIDE}",),
            next_step="resize or pad the images (`letterboxed` in augmentation.py)",
        )


def cells_of(size: tuple[int, int], *, device: torch.device | str = "cpu") -> Cells:
    """The cells of an image of ``size`` (height, width) [px]: map by map from fine to coarse, rows from the top."""
    corners, strides = [], []
    for stride in STRIDES:
        rows, columns = torch.meshgrid(
            torch.arange(size[0] // stride, device=device), torch.arange(size[1] // stride, device=device), indexing="ij"
        )
        corners.append(torch.stack((columns, rows), dim=-1).reshape(-1, 2).float())
        strides.append(torch.full((len(corners[-1]),), float(stride), device=device))
    return Cells(torch.cat(corners), torch.cat(strides))


def boxes_of(raw: Tensor, cells: Cells) -> Tensor:
    """Boxes ``(N, A, 4)`` as centre x, y, width, height [px] of raw predictions ``(N, A, 4 or more)``, in float32."""
    offsets = raw[..., :4].float()
    strides = cells.strides[:, None]
    sides = offsets[..., 2:].clamp(max=_LARGEST_EXPONENT).exp()
    return torch.cat(((offsets[..., :2] + cells.corners) * strides, sides * strides), dim=-1)


class Detector(nn.Module):
    """A network with its decoding for one image size, as it is exported and used: images to boxes and scores.

    Suppression is not in it.

    Args:
        network: the trained network, shared, not copied.
        size: height, width [px], multiples of 32.
    """

    corners: Tensor
    strides: Tensor

    def __init__(self, network: Yolox, size: tuple[int, int]) -> None:
        super().__init__()
        check_sides(size)
        self.network = network
        cells = cells_of(size, device=next(network.parameters()).device)
        self.register_buffer("corners", cells.corners, persistent=False)
        self.register_buffer("strides", cells.strides, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes ``(N, A, 4)`` left, top, right, bottom [px] and scores ``(N, A, C)`` of images ``(N, 3, H, W)``, RGB 0 … 255."""
        return self.decoded(self.network(images))

    def decoded(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``forward`` from raw predictions ``(N, A, 5 + C)`` on, in float32."""
        raw = raw.float()
        middles = boxes_of(raw, Cells(self.corners, self.strides))
        half = middles[..., 2:] / 2
        boxes = torch.cat((middles[..., :2] - half, middles[..., :2] + half), dim=-1)
        return boxes, raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid()


def parameter_count(model: nn.Module) -> int:
    """Number of learned values."""
    return sum(parameter.numel() for parameter in model.parameters())
