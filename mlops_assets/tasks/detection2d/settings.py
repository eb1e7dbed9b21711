"""Every knob of a YOLOX detector and its training in one frozen model, with the published recipe as defaults; imports no torch.

What a knob does is in the module that reads it: ``model``, ``augmentation``, ``training``, ``decoding``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mlops_assets.errors import UserError

Variant = Literal["nano", "tiny", "s", "m", "l", "x"]
IouLoss = Literal["iou", "giou"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda"]

#: The coarsest feature map has one cell for so many pixels; sides of the input are multiples of it.
STRIDE: Final = 32
SMALLEST_SIDE, LARGEST_SIDE = 64, 4096


@dataclass(frozen=True)
class Architecture:
    """Depth and width factors of a variant, and its published size at 80 classes in millions of parameters.

    Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430; table of the authors' repository.
    """

    depth: float
    width: float
    depthwise: bool
    published_millions: float


ARCHITECTURES: Final[dict[Variant, Architecture]] = {
    "nano": Architecture(0.33, 0.25, True, 0.91),
    "tiny": Architecture(0.33, 0.375, False, 5.06),
    "s": Architecture(0.33, 0.50, False, 9.0),
    "m": Architecture(0.67, 0.75, False, 25.3),
    "l": Architecture(1.00, 1.00, False, 54.2),
    "x": Architecture(1.33, 1.25, False, 99.1),
}

#: What the authors change for their two small models: light networks learn less from heavy augmentation.
_SMALL: Final[dict[str, Any]] = {
    "input_size": (416, 416),
    "mixup_probability": 0.0,
    "mosaic_scale": (0.5, 1.5),
    "multiscale": (-3, 7),
}
_OF_VARIANT: Final[dict[str, dict[str, Any]]] = {"nano": {**_SMALL, "mosaic_probability": 0.5}, "tiny": _SMALL}
_PUBLISHED_WARMUP, _PUBLISHED_PLAIN = 5, 15


class YoloxSettings(BaseModel):
    """One YOLOX detector and how it is trained. Sizes are (height, width) in pixels.

    Defaults are the published recipe of the variant. In trainings too short for its 5 epochs of warm-up and 15 without mosaic,
    these become a sixth and a fifth of the epochs where they are not given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    variant: Variant = "s"
    input_size: tuple[int, int] = Field(default=(640, 640), description="height, width [px], multiples of 32")
    # schedule
    epochs: int = Field(default=300, ge=1, le=10_000)
    warmup_epochs: int = Field(default=_PUBLISHED_WARMUP, ge=0)
    plain_epochs: int = Field(default=_PUBLISHED_PLAIN, ge=0, description="last epochs without mosaic and MixUp, with L1 loss")
    batch_size: int = Field(default=64, ge=1, le=4096)
    learning_rate: float = Field(default=0.01, gt=0, le=10, description="of a batch of 64 images; scaled with the batch")
    minimum_rate: float = Field(default=0.05, ge=0, le=1, description="share of the learning rate that the cosine ends at")
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0, lt=1, description="of convolution weights only")
    ema_decay: float = Field(default=0.9998, ge=0, lt=1)
    # loss
    iou_loss: IouLoss = "iou"
    iou_weight: float = Field(default=5.0, gt=0)
    # augmentation
    mosaic_probability: float = Field(default=1.0, ge=0, le=1)
    mosaic_scale: tuple[float, float] = (0.1, 2.0)
    mixup_probability: float = Field(default=1.0, ge=0, le=1)
    mixup_scale: tuple[float, float] = (0.5, 1.5)
    hsv_probability: float = Field(default=1.0, ge=0, le=1)
    flip_probability: float = Field(default=0.5, ge=0, le=1)
    degrees: float = Field(default=10.0, ge=0, le=180, description="largest rotation either way")
    translate: float = Field(default=0.1, ge=0, le=1, description="largest shift, share of the side")
    shear: float = Field(default=2.0, ge=0, lt=45, description="largest shear either way [degrees]")
    affine_probability: float = Field(
        default=0.0, ge=0, le=1, description="how often an image outside of mosaics is turned, moved and sheared, too"
    )
    multiscale: tuple[int, int] = Field(default=(-5, 5), description="range added to the height, in steps of 32 px; (0, 0): off")
    multiscale_interval: int = Field(default=10, ge=1, description="steps between two sizes")
    # detection
    score_threshold: float = Field(default=0.01, ge=0, le=1)
    nms_threshold: float = Field(default=0.65, ge=0, le=1)
    detections: int = Field(default=100, ge=1, le=10_000, description="most detections of one image")
    # running
    seed: int = Field(default=0, ge=0, lt=2**63)
    device: Device = "auto"
    precision: Precision = Field(default="auto", description="auto: bf16 or fp16 on a GPU that has it, fp32 on a CPU")
    cpu_threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="threads of a calculation on a CPU, 0: one a core; the last digits depend on it",
    )
    loader_threads: int = Field(default=2, ge=0, le=128, description="threads that make batches ahead; 0: none")
    checkpoint_epochs: int = Field(default=1, ge=1, description="epochs between two checkpoints")
    checkpoint_seconds: float = Field(default=300.0, gt=0, description="within an epoch, seconds between two checkpoints")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_variant(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        values = {**_OF_VARIANT.get(str(given.get("variant", "s")), {}), **given}
        epochs = values.get("epochs", 300)
        if isinstance(epochs, int):
            given_plain = values.get("plain_epochs")
            room = epochs - given_plain if isinstance(given_plain, int) else epochs
            warmup = values.setdefault("warmup_epochs", max(0, min(_PUBLISHED_WARMUP, epochs // 6, room)))
            room = epochs - warmup if isinstance(warmup, int) else epochs
            values.setdefault("plain_epochs", max(0, min(_PUBLISHED_PLAIN, epochs // 5, room)))
        return values

    @field_validator("input_size")
    @classmethod
    def _sides(cls, size: tuple[int, int]) -> tuple[int, int]:
        if any(side % STRIDE or not SMALLEST_SIDE <= side <= LARGEST_SIDE for side in size):
            raise ValueError(f"height and width must be multiples of {STRIDE} from {SMALLEST_SIDE} to {LARGEST_SIDE}")
        return size

    @field_validator("mosaic_scale", "mixup_scale")
    @classmethod
    def _scales(cls, scales: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scales[0] <= scales[1] <= 10:
            raise ValueError("must be smallest, largest with 0 < smallest <= largest <= 10")
        return scales

    @field_validator("multiscale")
    @classmethod
    def _steps(cls, steps: tuple[int, int]) -> tuple[int, int]:
        if not -100 <= steps[0] <= 0 <= steps[1] <= 100:
            raise ValueError("must be lowest, highest with -100 <= lowest <= 0 <= highest <= 100")
        return steps

    @model_validator(mode="after")
    def _epochs_fit(self) -> Self:
        if self.warmup_epochs + self.plain_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs} and plain_epochs {self.plain_epochs} exceed epochs {self.epochs} together"
            )
        return self

    @classmethod
    def of(cls, given: Mapping[str, object]) -> YoloxSettings:
        """The settings that ``given`` asks for; what it does not name is the recipe of its variant.

        ``variant`` may be written as in the authors' names (``yolox-m``, ``YOLOX_Nano``); ``input_size`` may be one number.

        Raises:
            UserError: the first unknown name or value out of range, with what is allowed.
        """
        values = dict(given)
        if isinstance(name := values.get("variant"), str):
            values["variant"] = name.strip().lower().removeprefix("yolox").lstrip("-_ ")
        if isinstance(side := values.get("input_size"), int):
            values["input_size"] = (side, side)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _told(error, given) from None

    @property
    def architecture(self) -> Architecture:
        """Depth, width and kind of convolution of the variant."""
        return ARCHITECTURES[self.variant]

    @property
    def batch_rate(self) -> float:
        """Learning rate at the top of the schedule, of this batch size."""
        return self.learning_rate / 64 * self.batch_size


def _told(error: ValidationError, given: Mapping[str, object]) -> UserError:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    allowed: tuple[str, ...] = ()
    if first["type"] == "extra_forbidden":
        headline, allowed = "YOLOX has no such setting", tuple(YoloxSettings.model_fields)
    elif name == "variant":
        headline, allowed = "there is no such YOLOX variant", tuple(ARCHITECTURES)
    else:
        headline = f"a YOLOX setting does not fit: {first['msg'].removeprefix('Value error, ')}"
    description = YoloxSettings.model_fields[name].description if name in YoloxSettings.model_fields else None
    return UserError(
        headline,
        field=".".join(map(str, first["loc"])) or "epochs",
        given=given.get(name) if name else None,
        allowed=allowed,
        next_step=f"{name} is: {description}" if description else None,
    )
