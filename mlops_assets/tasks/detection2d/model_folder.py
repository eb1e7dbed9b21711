"""The model folder of image detection: weights, and the card that says what they are. Imports torch only to read weights.

``weights.pt`` is written by ``checkpoint``; the card ``model.json`` makes the folder complete.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field, ValidationError

from mlops_assets.errors import IntegrityError
from mlops_assets.request.schema import Frozen
from mlops_assets.tasks.detection2d.image_folder import ImageFolder
from mlops_assets.tasks.detection2d.settings import YoloxSettings

if TYPE_CHECKING:
    from mlops_assets.tasks.detection2d.model import Yolox

CARD: Final = "model.json"

ThresholdOrigin = Literal["f1", "nothing_right", "no_validation"]


class ModelCard(Frozen):
    """What a trained network is and how it is used."""

    algorithm: Literal["yolox"] = "yolox"
    classes: tuple[str, ...]
    settings: YoloxSettings
    weights: Literal["moving_average"] = Field(
        default="moving_average", description="of all epochs, the last included; none is picked by its validation"
    )
    threshold: float = Field(
        description="operating threshold: served and counted by recall and precision are scores from here on"
    )
    threshold_origin: ThresholdOrigin = Field(description="how the threshold was found; see `words`")
    device: str
    precision: str
    steps: int
    curves: dict[str, list[float]] = Field(description="name -> one value an epoch, or a measurement")
    features: str = Field(description="digest of the features that it was trained on")
    libraries: dict[str, str]


def read_model(folder: Path, features: ImageFolder) -> tuple[Yolox, ModelCard]:
    """The network on the CPU, in evaluation mode, and its card.

    Raises:
        IntegrityError: the folder is incomplete, damaged, or of a network for other classes than those of ``features``.
    """
    from mlops_assets.tasks.detection2d.checkpoint import WEIGHTS, read_weights

    try:
        card = ModelCard.model_validate_json((folder / CARD).read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{folder} is not a complete YOLOX model: {error}") from error
    network, classes = read_weights(folder / WEIGHTS)
    if not classes == card.classes == features.classes:
        raise IntegrityError(
            f"{folder} was trained on the classes {list(card.classes)}, {features.path} has {list(features.classes)}"
        )
    return network, card
