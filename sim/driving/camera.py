"""The colour camera of the generated car: hits become shaded pixels, and counts of what of each object is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.driving.config import WorldConfig
from sim.driving.ground import GROUND_COLOURS, ground_kind
from sim.driving.placement import Placement
from sim.driving.raycast import GROUND, SKY, Hits, cast
from sim.driving.rig import Rig

_SKY_LEVELS = 16
_SKY_TOP, _SKY_HORIZON = np.array([122.0, 162.0, 214.0]), np.array([208.0, 218.0, 228.0])
_HAZE = np.array([196.0, 204.0, 212.0])
_HAZE_LEVELS, _HAZE_DISTANCE, _THICKEST = 16, 260.0, 0.7
#: Ends, flanks and lids of blocks, lit from above.
_SHADES = np.array([0.84, 0.68, 1.0])


@dataclass(frozen=True, eq=False)
class Picture:
    """One image and what of the actors is in it.

    Attributes:
        pixels: ``(height, width, 3)`` uint8, RGB.
        visible: ``(N,)`` pixels in which each actor is seen.
        alone: ``(N,)`` pixels in which it would be seen if nothing stood before it.
        owners: ``(height, width)`` int64, row of the actor in a pixel, ``len(actors)`` for structures, negative for the rest.
    """

    pixels: NDArray[np.uint8]
    visible: NDArray[np.int64]
    alone: NDArray[np.int64]
    owners: NDArray[np.int64]


def photograph(
    rig: Rig, config: WorldConfig, placement: Placement, brightness: float, crossing: float | None, random: np.random.Generator
) -> Picture:
    """What the colour camera sees."""
    count = len(placement.actors)
    hits = cast(rig.camera, placement.blocks, count + 1, count_alone=True)
    owner_of = np.array([part.owner for part in placement.blocks] + [SKY, GROUND], dtype=np.int64)  # rows -2 and -1
    owners = owner_of[hits.block]
    visible = np.bincount(owners[owners >= 0], minlength=count + 1)[:count].astype(np.int64)
    pixels = _painted(rig, hits, placement, brightness * config.light, crossing)
    if config.pixel_noise:
        grain = random.integers(-config.pixel_noise, config.pixel_noise + 1, hits.block.shape, dtype=np.int16)
        pixels = np.clip(pixels + grain[:, :, None], 0, 255).astype(np.uint8)
    return Picture(pixels, visible, hits.alone[:count], owners)


def _painted(rig: Rig, hits: Hits, placement: Placement, light: float, crossing: float | None) -> NDArray[np.uint8]:
    """Every pixel by its row in one table of colours: strips of ground, levels of sky, three sides of each block."""
    grounds = len(GROUND_COLOURS)
    first_block = grounds + _SKY_LEVELS
    steps = np.linspace(0.0, 1.0, _SKY_LEVELS)[:, None]
    colours = np.concatenate(
        [
            GROUND_COLOURS.astype(np.float64),
            _SKY_TOP + (_SKY_HORIZON - _SKY_TOP) * steps,
            (placement.colours.astype(np.float64)[:, None, :] * _SHADES[None, :, None]).reshape(-1, 3),
        ]
    )
    rows, columns = hits.block.shape
    index = first_block + hits.block.astype(np.int32) * 3 + hits.side
    horizon = int(np.count_nonzero(rig.camera.rows >= 0))
    level = np.minimum(np.arange(rows) * _SKY_LEVELS // max(horizon, 1), _SKY_LEVELS - 1).astype(np.int32)
    np.copyto(index, (grounds + level)[:, None], where=hits.block == SKY)
    row, column = np.nonzero(hits.block == GROUND)
    t = hits.distance[row, column]
    x = t + np.float32(rig.camera.origin[0] + placement.travelled)
    y = t * rig.camera.columns_y.astype(np.float32)[column] + np.float32(rig.camera.origin[1])
    index[row, column] = ground_kind(x, y, crossing)
    hazes = np.linspace(0.0, _THICKEST, _HAZE_LEVELS)[None, :, None]
    table = np.clip((colours[:, None, :] * (1 - hazes) + _HAZE * hazes) * light, 0, 255).astype(np.uint8)
    share = np.minimum(hits.distance, np.float32(_HAZE_DISTANCE)) * np.float32((_HAZE_LEVELS - 1) / _HAZE_DISTANCE)
    share[hits.block == SKY] = 0
    index *= _HAZE_LEVELS
    index += share.astype(np.int32)
    painted: NDArray[np.uint8] = np.take(table.reshape(-1, 3), index, axis=0)
    return painted.reshape(rows, columns, 3)
