"""What an issue asks of YOLOX, as settings: variant, size, knobs, listed augmentations, threads. Imports no torch.

The knobs themselves are described in ``algorithm`` and ``settings``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mlops_assets.errors import UserError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection2d.algorithm import YOLOX
from mlops_assets.tasks.detection2d.settings import YoloxSettings

#: Pixels of one batch for which a thread more pays. Below, two threads wait for each other longer than they work: on two shared
#: cores a step of 4 images of 160 x 512 took up to 10 times as long on both as on one.
PIXELS_A_THREAD: Final = 1 << 20
#: Augmentation -> settings that make it, with the value where a list names it but neither issue nor recipe says how much.
_MADE_BY: Final[dict[str, dict[str, Any]]] = {
    "mosaic": {"mosaic_probability": 1.0},
    "mixup": {"mixup_probability": 1.0},
    "hsv_jitter": {"hsv_probability": 1.0},
    "random_horizontal_flip": {"flip_probability": 0.5},
    "random_affine": {"degrees": 10.0, "translate": 0.1, "shear": 2.0},
    "multi_scale": {"multiscale": True},
}


def settings_of(request: TrainingRequest, threads: int = 1) -> YoloxSettings:
    """The settings that ``request`` means.

    A list of augmentations switches on what it names and off what it does not; an empty one leaves the variant's recipe. A
    probability or extent that the issue writes as a number holds whatever the list says.

    Args:
        request: a request for ``yolox``.
        threads: processor threads that are there; small batches use fewer (``PIXELS_A_THREAD``).

    Raises:
        UserError: an unknown augmentation, or a value out of range, with what is allowed.
    """
    variant = request.variant or YOLOX.default_variant
    values = YOLOX.resolved(request.hyperparameters, variant)
    written = {knob.name for name in request.hyperparameters if (knob := YOLOX.hyperparameter(name)) is not None}
    values.update(_listed(request.preprocessing.augmentation, values, written))
    given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if given.pop("multiscale") is False:
        given["multiscale"] = (0, 0)
    if request.preprocessing.input_size:
        sides = request.preprocessing.input_size
        given["input_size"] = sides[0] if len(sides) == 1 else tuple(sides)
    settings = YoloxSettings.of({**given, "variant": variant, "seed": request.seed})
    return settings.model_copy(update={"cpu_threads": threads_for(settings, threads)})


def threads_for(settings: YoloxSettings, available: int) -> int:
    """Processor threads for batches of this size: one for every million pixels, at least one, at most ``available``."""
    pixels = settings.input_size[0] * settings.input_size[1] * settings.batch_size
    return max(1, min(available, pixels // PIXELS_A_THREAD))


def _listed(listed: tuple[str, ...], values: Mapping[str, Any], written: set[str]) -> dict[str, Any]:
    """Values of the settings that the list of augmentations decides."""
    if not listed:
        return {}
    named = set()
    for name in listed:
        own = YOLOX.augmentation(name)
        if own is None:
            raise UserError(
                "YOLOX has no such augmentation", field="preprocessing.augmentation", given=name,
                allowed=tuple(YOLOX.augmentations), next_step="correct the name, or take it out of the list",
            )  # fmt: skip
        named.add(own)
    decided: dict[str, Any] = {}
    for own, made_by in _MADE_BY.items():
        for setting, usual in made_by.items():
            if setting not in written:
                off: Any = False if usual is True else 0.0
                decided[setting] = (values[setting] or usual) if own in named else off
    if "random_affine" in named and "mosaic" not in named and "affine_probability" not in written:
        decided["affine_probability"] = 1.0  # without a mosaic there is nothing else to turn
    return decided
