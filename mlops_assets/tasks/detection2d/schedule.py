"""How fast weights change over a training: learning rate by step, groups of weights, and their moving average. Imports torch."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mlops_assets.tasks.detection2d.model import BATCH_NORM_MOMENTUM, Yolox
from mlops_assets.tasks.detection2d.settings import YoloxSettings

#: Updates over which the moving average goes from following at once to its full slowness.
EMA_RAMP = 2000


def learning_rate(settings: YoloxSettings, step: int, steps_per_epoch: int) -> float:
    """The rate of ``step`` (counted from 0): quadratic warm-up, cosine, then constant in the epochs without mosaic."""
    top = settings.batch_rate
    bottom = top * settings.minimum_rate
    warmup = settings.warmup_epochs * steps_per_epoch
    falling = (settings.epochs - settings.plain_epochs) * steps_per_epoch - warmup
    if step < warmup:
        return top * ((step + 1) / warmup) ** 2
    if step >= warmup + falling:
        return bottom
    return bottom + (top - bottom) * (1 + math.cos(math.pi * (step - warmup) / falling)) / 2


def optimizer_of(network: Yolox, settings: YoloxSettings) -> torch.optim.SGD:
    """Stochastic gradient descent with Nesterov's momentum; only convolution weights decay, not biases nor normalisation."""
    decaying = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
    known = {id(weight) for weight in decaying}
    others = [parameter for parameter in network.parameters() if id(parameter) not in known]
    groups = [{"params": decaying, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=settings.batch_rate, momentum=settings.momentum, nesterov=settings.momentum > 0)


def with_measured_statistics(network: Yolox, batches: Iterable[Tensor]) -> Yolox:
    """A copy of ``network`` whose normalisation statistics are the plain means over ``batches`` of images ``(N, 3, H, W)``.

    The moving statistics start at mean 0 and variance 1 and follow the weights some dozens of steps late. After a short training
    that makes a network that is good in training mode find nothing in evaluation mode.
    """
    measured = copy.deepcopy(network)
    for module in measured.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # torch's word for a plain mean
    measured.train()
    with torch.no_grad():
        for images in batches:
            measured(images)
    for module in measured.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = BATCH_NORM_MOMENTUM
    return measured.eval()


class MovingAverage:
    """Exponential moving average of a network's weights and normalisation statistics; this is the model that is kept.

    Early on it follows fast: the decay after n updates is ``decay * (1 - exp(-n / 2000))``.
    """

    def __init__(self, network: Yolox, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.updates = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: Yolox) -> None:
        """Move towards the weights of ``network``."""
        self.updates += 1
        share = 1 - self._decay * (1 - math.exp(-self.updates / EMA_RAMP))
        ours, theirs = self.network.state_dict(), network.state_dict()
        floating = [name for name, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_([ours[name] for name in floating], [theirs[name] for name in floating], share)
        for name in ours.keys() - set(floating):
            ours[name].copy_(theirs[name])
