"""What can be changed when a detector stays below its threshold, and the YAML that carries it out.

The counterpart of the rules for tables in ``suggestions``, which holds what both share. Keys and values only; the sentences
(``suggestion.<key>``) are in the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from pydantic import JsonValue

from mlops_assets.request.schema import TrainingRequest

DETECTOR_SUGGESTIONS: Final[tuple[str, ...]] = (
    "more_epochs",
    "larger_variant",
    "larger_input",
    "whole_recipe",
    "smaller_variant",
    "smaller_input",
)
#: A score this much worse on unseen frames than on those of the training.
OVERFITTED: Final = 0.1
FEW_FRAMES: Final = 1_000
MOST_EPOCHS: Final = 600
#: Sides are changed by this factor, in the steps that a network's strides divide.
_FACTOR: Final = 1.25
_STEP: Final = 32
_LARGEST, _SMALLEST = 1280, 160


def detector_suggestions(
    request: TrainingRequest,
    *,
    hyperparameters: Mapping[str, JsonValue],
    direction: Literal["higher", "lower"],
    value: float,
    trained: float | None,
    variants: Sequence[str],
    training_frames: int,
) -> tuple[str, ...]:
    """Keys of what can be changed, most promising first.

    Args:
        request: the effective one, with its variant, input size and augmentations.
        direction: ``lower`` for a time, which a smaller network shortens.
        trained: the metric on the frames of the training; None where it was not measured there.
        variants: of the algorithm, smallest first.
    """
    if direction == "lower":
        found = ["smaller_variant"] if _beside(request, variants, -1) else []
        return (*found, "smaller_input") if _resized(request, 1 / _FACTOR) else tuple(found)
    found = []
    few = training_frames < FEW_FRAMES
    if trained is not None and math.isfinite(trained) and trained - value > OVERFITTED:
        return ("more_data", "whole_recipe") if request.preprocessing.augmentation else ("more_data",)
    epochs = hyperparameters.get("epochs")
    if isinstance(epochs, int) and epochs < MOST_EPOCHS:
        found.append("more_epochs")
    if _beside(request, variants, 1):
        found.append("larger_variant")
    if _resized(request, _FACTOR):
        found.append("larger_input")
    return (*found[:2], "more_data") if few else tuple(found)


def detector_changes(
    request: TrainingRequest, wanted: Sequence[str], hyperparameters: Mapping[str, JsonValue], variants: Sequence[str]
) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    """(suggestion, keys of the issue's YAML) of each that a key can carry out, each an alternative of its own."""
    for key in wanted:
        epochs = hyperparameters.get("epochs")
        step, factor = (1, _FACTOR) if key.startswith("larger") else (-1, 1 / _FACTOR)
        if key == "more_epochs" and isinstance(epochs, int):
            yield key, {"hyperparameters": {**request.hyperparameters, "epochs": min(MOST_EPOCHS, 2 * epochs)}}
        elif key in ("larger_variant", "smaller_variant"):
            variant = _beside(request, variants, step)
            if variant is not None:
                yield key, {"variant": variant}
        elif key in ("larger_input", "smaller_input"):
            size = _resized(request, factor)
            if size is not None:
                yield key, {"input_size": list(size)}
        elif key == "whole_recipe" and request.preprocessing.augmentation:
            yield key, {"augmentation": []}


def _beside(request: TrainingRequest, variants: Sequence[str], step: int) -> str | None:
    """The next larger or smaller variant, if there is one."""
    if request.variant is None or request.variant not in variants:
        return None
    place = list(variants).index(request.variant) + step
    return variants[place] if 0 <= place < len(variants) else None


def _resized(request: TrainingRequest, factor: float) -> tuple[int, ...] | None:
    """The sides that the issue gave, larger or smaller by a quarter; None where it gave none or there is no room."""
    size = request.preprocessing.input_size
    rounded = math.ceil if factor > 1 else math.floor
    sides = tuple(rounded(side * factor / _STEP) * _STEP for side in size)
    return (
        sides if sides and max(sides) <= max(_LARGEST, *size) and min(sides) >= min(_SMALLEST, *size) and sides != size else None
    )
