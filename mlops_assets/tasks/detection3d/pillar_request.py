"""From a training request to the settings of PointPillars and of its augmentation.

What the settings mean is in ``pillar_settings`` and ``augmentation``; which knobs an issue may name in ``algorithm``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from mlops_assets.errors import UserError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection3d.algorithm import POINTPILLARS
from mlops_assets.tasks.detection3d.augmentation import AugmentationSettings, FlipSettings, RotationSettings, ScalingSettings
from mlops_assets.tasks.detection3d.object_sampling import ClassSampling, SamplingSettings
from mlops_assets.tasks.detection3d.pillar_settings import KITTI_ANCHORS, PRESETS, PillarSettings, pillar_settings

FORWARD, SIDE = "forward_range", "side_range"
#: Seconds between two checkpoints: what a killed training loses at most.
CHECKPOINT_SECONDS: Final = 20.0
#: Objects of a class in a frame after sampling. Source: the KITTI configuration of SECOND and PointPillars.
SAMPLED_OBJECTS: Final = 15


@dataclass(frozen=True)
class RoundedRange:
    """A range that was asked for and the one that the strides of the backbone divide [m]."""

    name: str
    asked: float
    used: float


@dataclass(frozen=True)
class PillarTraining:
    """What a request comes to.

    Attributes:
        settings: of the detector and its training.
        augmentation: None where nothing is done to the frames.
        knobs: every knob by its own name with the value in use.
        rounded: ranges that were changed.
    """

    settings: PillarSettings
    augmentation: AugmentationSettings | None
    knobs: dict[str, JsonValue]
    rounded: tuple[RoundedRange, ...]


def pillar_training(request: TrainingRequest, classes: Sequence[str]) -> PillarTraining:
    """The settings of a request for these classes.

    ``forward_range`` [m] is how far ahead, ``side_range`` [m] how far to each side the detector looks. Both become the nearest
    length that is a whole number of the backbone's largest cells.

    Raises:
        UserError: an unknown algorithm, variant, knob or augmentation, or a value out of its range.
    """
    if request.algorithm != POINTPILLARS.name or request.task_type not in POINTPILLARS.task_types:
        raise UserError(
            f"detection in clouds has no {request.algorithm} for {request.task_type}",
            field="algorithm",
            given=request.algorithm,
            allowed=(POINTPILLARS.name,),
        )
    variant = request.variant or POINTPILLARS.default_variant or "standard"
    if variant not in PRESETS:
        raise UserError("PointPillars has no such variant", field="variant", given=variant, allowed=POINTPILLARS.variants)
    _require_known(request)
    knobs = POINTPILLARS.resolved(request.hyperparameters, variant)
    preset = PRESETS[variant]
    unit = preset.pillar_size * math.prod(preset.block_strides)
    # To both sides: half a cell on each is one cell in all.
    ranges = [_rounded(FORWARD, knobs[FORWARD], unit), _rounded(SIDE, knobs[SIDE], unit / 2)]
    knobs |= {entry.name: entry.used for entry in ranges}
    forward, side = (entry.used for entry in ranges)
    anchors: list[JsonValue] = [kind.model_dump(mode="json") for kind in KITTI_ANCHORS if kind.name in classes]
    own: dict[str, JsonValue] = {name: value for name, value in knobs.items() if name not in (FORWARD, SIDE)}
    settings = pillar_settings(
        {
            **own,
            "range_min": [0.0, -side, preset.range_min[2]],
            "range_max": [forward, side, preset.range_max[2]],
            "classes": anchors,
            "seed": request.seed,
            "device": _device(request),
            "checkpoint_seconds": CHECKPOINT_SECONDS,
        },
        preset=variant,
    )
    changed = tuple(entry for entry in ranges if not math.isclose(entry.asked, entry.used))
    return PillarTraining(settings, requested_augmentation(request, classes), knobs, changed)


def requested_augmentation(request: TrainingRequest, classes: Sequence[str]) -> AugmentationSettings | None:
    """What is done to training frames: what the issue lists and nothing else; the whole recipe where it lists nothing.

    Raises:
        UserError: PointPillars has no augmentation of that name.
    """
    switch = request.optimization.custom_optimizations.phase1_preprocessing.data_augmentation
    listed = request.preprocessing.augmentation
    chosen = {POINTPILLARS.augmentation(name) for name in listed}
    if None in chosen:
        name = next(name for name in listed if POINTPILLARS.augmentation(name) is None)
        every = [own for own, others in POINTPILLARS.augmentations.items() for own in (own, *others)]
        near = difflib.get_close_matches(name, every, n=1)
        raise UserError(
            "PointPillars has no such augmentation",
            field="preprocessing.augmentation",
            given=name[:80],
            allowed=tuple(POINTPILLARS.augmentations),
            next_step=f"did you mean {near[0]}?" if near else "choose among these, or leave the list out for all of them",
        )
    if not listed:
        chosen = set() if switch == "disabled" else set(POINTPILLARS.augmentations)
    if not chosen:
        return None
    sampled = tuple(ClassSampling(name=name, most=SAMPLED_OBJECTS) for name in classes)
    return AugmentationSettings(
        sampling=SamplingSettings(classes=sampled) if "object_sampling" in chosen else None,
        flip=FlipSettings() if "random_flip" in chosen else None,
        rotation=RotationSettings() if "global_rotation" in chosen else None,
        scaling=ScalingSettings() if "global_scaling" in chosen else None,
    )


def _device(request: TrainingRequest) -> str:
    """A person who sets the resource to CPU is obeyed also where there is a GPU; ``gpu`` is a matter of where it runs."""
    return "cpu" if request.optimization.custom_optimizations.phase2_training.resource_type == "cpu" else "auto"


def _require_known(request: TrainingRequest) -> None:
    for name, value in request.hyperparameters.items():
        knob = POINTPILLARS.hyperparameter(name)
        if knob is None:
            known = [h.name for h in POINTPILLARS.hyperparameters]
            near = difflib.get_close_matches(name, known, n=1)
            raise UserError(
                "PointPillars has no such hyperparameter",
                field=f"hyperparameters.{name[:80]}",
                given=str(value)[:80],
                allowed=known,
                next_step=f"did you mean {near[0]}?" if near else "choose one of these, or leave it out",
            )
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if knob.kind in ("int", "float") and not (
            number and (knob.minimum or 0) <= float(value) <= (knob.maximum or math.inf)  # type: ignore[arg-type]
        ):
            raise UserError(
                f"{knob.name} is out of its range",
                field=f"hyperparameters.{name}",
                given=str(value)[:80],
                allowed=(f"{knob.minimum:g} … {knob.maximum:g}",),
            )


def _rounded(name: str, asked: JsonValue, unit: float) -> RoundedRange:
    length = float(asked)  # type: ignore[arg-type]
    return RoundedRange(name, length, round(max(1, round(length / unit)) * unit, 6))
