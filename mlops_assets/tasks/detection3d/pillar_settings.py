"""Everything that can be chosen about PointPillars: grid, anchors, network, training, decoding; the same object in all of them.

Ready-made choices are ``STANDARD`` (the KITTI setting of the paper), ``COARSE`` (the same network on 0.32 m) and ``SLIM`` (a
thirtieth of the arithmetic, for a CPU). Nothing is computed here beyond sizes that follow from the numbers.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection3d.voxels import VoxelGrid

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Channels = Annotated[int, Field(ge=1, le=1024)]
Device = Literal["auto", "cpu", "cuda"]

#: Anchors of every class at every place: along x and along y [rad]. Target assignment relies on just these two.
YAWS = (0.0, math.pi / 2)
#: Numbers of a point as the pillar network sees it, see ``pillar_samples.decorate``.
POINT_FEATURES = 10
BOX_NUMBERS = 7
#: One convolution more than the layers of a block: the first one, which strides.
BLOCKS = 3
CELLS_LIMIT = 4096 * 4096
#: What may differ between a checkpoint and the run that continues it.
_NOT_TRAINING = frozenset(
    {"score_threshold", "suppression_overlap", "candidates", "max_detections", "device", "workers", "checkpoint_seconds"}
)


class AnchorClass(BaseModel):
    """A class that is detected, and its anchor: a box of mean size, centred at ``z`` [m] in the LiDAR frame.

    Attributes:
        name: as the labels write it.
        length, width, height: of the anchor [m].
        z: height of the anchor's centre in the LiDAR frame [m].
        matched: an anchor that overlaps a box of the class by this or more shall find it.
        unmatched: an anchor that overlaps every box of the class by less is background; in between it is left out.
        alike: classes that are neither this one nor background: anchors on them are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    length: Positive
    width: Positive
    height: Positive
    z: Finite
    matched: Share
    unmatched: Share
    alike: tuple[str, ...] = ()

    def model_post_init(self, _: object) -> None:
        """Refuse thresholds in the wrong order."""
        if self.unmatched > self.matched:
            raise UserError(
                f"anchors of {self.name}: the unmatched threshold is above the matched one",
                field="classes.unmatched",
                given=self.unmatched,
                allowed=(f"up to {self.matched}",),
            )


#: Source: Lang et al., "PointPillars", CVPR 2019, section 3.1 (sizes, heights, thresholds of the KITTI setting).
KITTI_ANCHORS = (
    AnchorClass(name="Car", length=3.9, width=1.6, height=1.56, z=-1.0, matched=0.6, unmatched=0.45, alike=("Van",)),
    AnchorClass(
        name="Pedestrian", length=0.8, width=0.6, height=1.73, z=-0.6, matched=0.5, unmatched=0.35, alike=("Person_sitting",)
    ),
    AnchorClass(name="Cyclist", length=1.76, width=0.6, height=1.73, z=-0.6, matched=0.5, unmatched=0.35),
)


class PillarSettings(BaseModel):
    """The settings of one PointPillars detector; lengths in metres, LiDAR frame (x forward, y left, z up).

    Raises:
        ValidationError: a value is out of its range or a name is unknown; ``pillar_settings`` says so in a ``UserError``.
        UserError: values that do not fit together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # grid
    range_min: tuple[Finite, Finite, Finite] = (0.0, -39.68, -3.0)
    range_max: tuple[Finite, Finite, Finite] = (69.12, 39.68, 1.0)
    pillar_size: Positive = Field(default=0.16, description="edge of a pillar along x and y [m]; it has the full height")
    max_points: int = Field(default=32, ge=2, le=512, description="points kept in a pillar, the first ones")
    max_pillars: int = Field(default=40_000, ge=1, le=200_000)
    # anchors
    classes: tuple[AnchorClass, ...] = KITTI_ANCHORS
    # network
    pillar_channels: Channels = 64
    block_layers: tuple[int, int, int] = Field(default=(3, 5, 5), description="convolutions of a block after its first")
    block_strides: tuple[int, int, int] = (2, 2, 2)
    block_channels: tuple[Channels, Channels, Channels] = (64, 128, 256)
    upsample_channels: tuple[Channels, Channels, Channels] = (128, 128, 128)
    # training
    epochs: int = Field(default=80, ge=1, le=10_000)
    batch_size: int = Field(default=4, ge=1, le=256)
    learning_rate: Positive = Field(default=0.003, le=1, description="the highest of the one cycle")
    weight_decay: NotNegative = 0.01
    rising_share: float = Field(default=0.4, gt=0, lt=1, description="share of the steps in which the learning rate rises")
    gradient_norm: Positive = Field(default=10.0, description="longer gradients are shortened to this")
    class_weight: NotNegative = 1.0
    box_weight: NotNegative = 2.0
    direction_weight: NotNegative = 0.2
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Device = Field(default="auto", description="auto: a CUDA device where there is one")
    mixed_precision: bool = Field(default=True, description="on a CUDA device; a CPU always trains in float32")
    workers: int = Field(default=2, ge=1, le=64, description="threads that make samples ahead of the network")
    checkpoint_seconds: NotNegative = Field(default=120.0, description="between two checkpoints; 0: after every step")
    # decoding
    score_threshold: float = Field(default=0.1, gt=0, lt=1)
    suppression_overlap: float = Field(default=0.01, ge=0, le=1, description="seen from above; the surer box stays")
    candidates: int = Field(default=1000, ge=1, le=100_000, description="the surest boxes that suppression looks at")
    max_detections: int = Field(default=100, ge=1, le=10_000)

    def model_post_init(self, _: object) -> None:
        """Refuse values that are each allowed but do not fit together."""
        names = [name for kind in self.classes for name in (kind.name, *kind.alike)]
        if not self.classes or len(set(names)) != len(names):
            raise UserError(
                "classes must be at least one, and no name may occur twice",
                field="classes",
                given=", ".join(names) or "none",
                next_step="name each class once; a class that is detected cannot be alike another",
            )
        if any(not 0 <= layers <= 32 for layers in self.block_layers) or any(s not in (1, 2, 4) for s in self.block_strides):
            raise UserError(
                "a block of the backbone cannot be so",
                field="block_layers, block_strides",
                given=f"{self.block_layers}, {self.block_strides}",
                allowed=("0 … 32 layers", "strides 1, 2 or 4"),
            )
        length, width = (high - low for low, high in zip(self.range_min[:2], self.range_max[:2], strict=True))
        if length * width / self.pillar_size**2 > CELLS_LIMIT:
            raise UserError(
                f"the grid has {length * width / self.pillar_size**2:.3g} pillars",
                field="pillar_size",
                given=self.pillar_size,
                allowed=(f"at most {CELLS_LIMIT:,} pillars",),
                next_step="make the pillars larger or the range smaller",
            )
        whole = math.prod(self.block_strides)
        for axis, cells in zip("xy", self.grid.cells[:2], strict=True):
            if cells % whole:
                raise UserError(
                    f"the grid has {cells} pillars along {axis}, which the strides of the backbone do not divide",
                    field="range_max",
                    given=f"{self.range_min} … {self.range_max} in pillars of {self.pillar_size} m",
                    allowed=(f"a multiple of {whole} pillars along x and y",),
                    next_step=f"{cells // whole * whole} or {(cells // whole + 1) * whole} pillars along {axis} would do: "
                    f"{cells // whole * whole * self.pillar_size:g} or {(cells // whole + 1) * whole * self.pillar_size:g} m",
                )

    @property
    def grid(self) -> VoxelGrid:
        """The pillars as voxels of full height."""
        height = self.range_max[2] - self.range_min[2]
        return VoxelGrid(
            range_min=self.range_min,
            range_max=self.range_max,
            voxel_size=(self.pillar_size, self.pillar_size, height),
            max_points=self.max_points,
            max_voxels=self.max_pillars,
        )

    @property
    def canvas(self) -> tuple[int, int]:
        """Rows (y) and columns (x) of the image of pillars."""
        columns, rows, _ = self.grid.cells
        return rows, columns

    @property
    def head_cells(self) -> tuple[int, int]:
        """Rows (y) and columns (x) of the detection head."""
        rows, columns = self.canvas
        return rows // self.block_strides[0], columns // self.block_strides[0]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the network's outputs."""
        return tuple(kind.name for kind in self.classes)

    @property
    def anchors_per_cell(self) -> int:
        """Anchors at each place of the head: of each class one along x and one along y."""
        return len(self.classes) * len(YAWS)

    def training_digest(self) -> str:
        """SHA-256 over what determines the trained weights; two runs may continue each other where it is equal."""
        return hashlib.sha256(self.model_dump_json(exclude=set(_NOT_TRAINING)).encode()).hexdigest()


STANDARD = PillarSettings()
COARSE = PillarSettings(pillar_size=0.32, max_pillars=20_000)
SLIM = PillarSettings(
    pillar_size=0.32,
    max_pillars=20_000,
    pillar_channels=32,
    block_layers=(1, 3, 3),
    block_channels=(32, 48, 96),
    upsample_channels=(32, 32, 32),
)
PRESETS: Mapping[str, PillarSettings] = {"standard": STANDARD, "coarse": COARSE, "slim": SLIM}


def pillar_settings(values: Mapping[str, JsonValue], *, preset: str = "standard") -> PillarSettings:
    """A preset with some of its values replaced.

    Raises:
        UserError: an unknown preset or name, or a value out of its range; it says what is allowed.
    """
    if preset not in PRESETS:
        raise UserError("no such PointPillars preset", field="preset", given=preset, allowed=tuple(PRESETS))
    try:
        return PillarSettings.model_validate({**PRESETS[preset].model_dump(), **values})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _refusal(first["loc"], first["type"], first["msg"], first["input"]) from None


def _refusal(place: tuple[int | str, ...], kind: str, message: str, given: Any) -> UserError:
    name = ".".join(str(part) for part in place)
    if kind != "extra_forbidden":
        return UserError(f"PointPillars: {message}", field=name, given=str(given)[:80], allowed=(message,))
    known = tuple(AnchorClass.model_fields if len(place) > 1 else PillarSettings.model_fields)
    near = difflib.get_close_matches(str(place[-1]), known, n=1)
    return UserError(
        "PointPillars has no such setting",
        field=name,
        given=str(given)[:80],
        allowed=known,
        next_step=f"did you mean {near[0]}?" if near else "choose one of the names above, or leave it out",
    )
