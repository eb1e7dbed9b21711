"""Where PointPillars computes and in which numbers. Importing this module imports torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings


@dataclass(frozen=True)
class Precision:
    """Numbers of the forward pass: float32, or mixed with ``dtype``; ``scaled`` where its small gradients would vanish."""

    mixed: bool
    dtype: torch.dtype
    scaled: bool


def device_of(settings: PillarSettings) -> torch.device:
    """The device that ``settings.device`` means here.

    Raises:
        UserError: CUDA is asked for and is not there.
    """
    there = torch.cuda.is_available()
    if settings.device == "cuda" and not there:
        raise UserError(
            "there is no CUDA device that torch can use",
            field="device",
            given="cuda",
            allowed=("auto", "cpu"),
            next_step="choose auto, or install a build of torch for the GPU and its driver",
        )
    return torch.device("cuda" if there and settings.device != "cpu" else "cpu")


def precision_of(settings: PillarSettings, device: torch.device) -> Precision:
    """bfloat16 where the GPU has it, else float16 with scaled gradients; plain float32 on a CPU."""
    if device.type != "cuda" or not settings.mixed_precision:
        return Precision(mixed=False, dtype=torch.bfloat16, scaled=False)
    native = torch.cuda.get_device_capability(device) >= (8, 0)
    return Precision(mixed=True, dtype=torch.bfloat16 if native else torch.float16, scaled=not native)
