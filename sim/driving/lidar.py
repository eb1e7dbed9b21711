"""The LiDAR of the generated car: hits become points with noise, loss and reflectance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.driving.config import WorldConfig
from sim.driving.ground import GROUND_REFLECTIVITY, ground_kind
from sim.driving.placement import Placement
from sim.driving.raycast import GROUND, SKY, cast
from sim.driving.rig import Rig

#: At this range [m] another quarter of the returns is lost, growing with the square of the range.
_FADING = 80.0


@dataclass(frozen=True, eq=False)
class Scan:
    """One turn of the LiDAR.

    Attributes:
        points: ``(P, 4)`` float32, LiDAR frame [m] in whole millimetres, reflectance 0 … 1; beam by beam, left to right.
        owners: ``(P,)`` row of the actor that returned the point, ``len(actors)`` for structures, ``GROUND`` for the ground.
    """

    points: NDArray[np.float32]
    owners: NDArray[np.int64]


def scan(rig: Rig, config: WorldConfig, placement: Placement, crossing: float | None, random: np.random.Generator) -> Scan:
    """What the LiDAR measures.

    A range is off by at most three times ``config.range_noise``, along its ray: with no noise every point lies on a surface.
    """
    rays = rig.lidar
    hits = cast(rays, placement.blocks, len(placement.actors) + 1)
    lost, error, glitter = random.random(hits.block.shape), random.random((3, *hits.block.shape)), random.random(hits.block.shape)
    slant = np.sqrt(1 + rays.rows * rays.rows)
    far = hits.distance * slant[:, None] / _FADING
    returned = (hits.block != SKY) & (lost >= config.dropout + 0.25 * far * far)
    row, column = np.nonzero(returned)
    # Three uniform numbers add up to nearly a normal one that never exceeds three deviations.
    noise = (error[0][returned] + error[1][returned] + error[2][returned] - 1.5) * 2 * config.range_noise
    t = hits.distance[returned] + noise / slant[row]
    level = np.stack(
        [
            rays.origin[0] + t * rays.columns_x[column],
            rays.origin[1] + t * rays.columns_y[column],
            rays.origin[2] + t * rays.rows[row],
        ],
        axis=1,
    )
    block = hits.block[returned].astype(np.int64)
    reflectivity = np.empty(len(block))
    ground = block == GROUND
    x, y = level[ground, 0] + placement.travelled, level[ground, 1]
    reflectivity[ground] = GROUND_REFLECTIVITY[ground_kind(x.astype(np.float32), y.astype(np.float32), crossing)]
    reflectivity[~ground] = placement.reflectivity[block[~ground]]
    reflectance = np.round(reflectivity * (0.7 + 0.3 * glitter[returned]), 2)
    points = np.empty((len(block), 4), dtype=np.float32)
    points[:, :3] = np.round(rig.level_to_lidar(level), 3)
    points[:, 3] = reflectance
    owner_of = np.array([part.owner for part in placement.blocks] + [GROUND], dtype=np.int64)  # the last row is block -1
    return Scan(points, owner_of[block])
