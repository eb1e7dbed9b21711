"""The scene at one moment as sensors and labellers need it: blocks in the level frame, label boxes in the camera frame.

Everything is relative to the car with the sensors at that moment. What rays meet is not worked out here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.driving.raycast import Upright
from sim.driving.rig import CAMERA_POSITION
from sim.driving.scene import Actor, Scene, Structure
from sim.driving.shapes import BLOCKS, GLASS, REFLECTIVITY, RUBBER, SKIN

#: Things farther behind or ahead of the sensors than this are left out [m].
_BEHIND, _AHEAD = -95.0, 110.0
#: See ``rig``: digits that all mathematical libraries share.
_DECIMALS = 9


@dataclass(frozen=True, eq=False)
class Placement:
    """One moment.

    Attributes:
        actors: those near enough to matter; a block's ``owner`` is a row of them, or ``len(actors)`` for what has no label.
        camera_boxes: ``(N, 7)`` x, y, z, height, width, length, rotation_y of the actors, exact in two decimals.
        blocks: upright blocks, those of one owner together.
        colours: ``(B, 3)`` uint8 of the blocks.
        reflectivity: ``(B,)`` share of laser light that a block returns, 0 … 1.
        travelled: metres that the sensors have gone since time 0.
    """

    actors: tuple[Actor, ...]
    camera_boxes: NDArray[np.float64]
    blocks: tuple[Upright, ...]
    colours: NDArray[np.uint8]
    reflectivity: NDArray[np.float64]
    travelled: float


def place(scene: Scene, time: float = 0.0) -> Placement:
    """The scene ``time`` seconds after its beginning."""
    travelled = scene.travelled(time)
    actors: list[Actor] = []
    boxes: list[tuple[float, ...]] = []
    blocks: list[Upright] = []
    looks: list[tuple[tuple[int, int, int], float]] = []
    for actor in scene.actors:
        x = round(actor.x + actor.velocity[0] * time - travelled, 2)
        y = round(actor.y + actor.velocity[1] * time, 2)
        if not _BEHIND < x < _AHEAD:
            continue
        _add_blocks(actor, x, y, len(actors), blocks, looks)
        actors.append(actor)
        location = (CAMERA_POSITION[1] - y, CAMERA_POSITION[2], x - CAMERA_POSITION[0])
        boxes.append((*(round(value, 2) for value in location), actor.height, actor.width, actor.length, actor.rotation_y))
    for structure in scene.structures:
        if _BEHIND < structure.x - travelled < _AHEAD:
            blocks.append(_upright(structure, travelled, owner=len(actors)))
            looks.append((structure.colour, structure.reflectivity))
    return Placement(
        actors=tuple(actors),
        camera_boxes=np.array(boxes, dtype=np.float64).reshape(-1, 7),
        blocks=tuple(blocks),
        colours=np.array([colour for colour, _ in looks], dtype=np.uint8).reshape(-1, 3),
        reflectivity=np.array([share for _, share in looks], dtype=np.float64),
        travelled=travelled,
    )


def _add_blocks(
    actor: Actor, x: float, y: float, owner: int, blocks: list[Upright], looks: list[tuple[tuple[int, int, int], float]]
) -> None:
    # yaw = -rotation_y - pi/2
    cos, sin = round(-math.sin(actor.rotation_y), _DECIMALS), round(-math.cos(actor.rotation_y), _DECIMALS)
    for block in BLOCKS[actor.name]:
        along = ((block.x0 + block.x1) / 2 - 0.5) * actor.length
        across = ((block.y0 + block.y1) / 2 - 0.5) * actor.width
        blocks.append(
            Upright(
                x + cos * along - sin * across, y + sin * along + cos * across, cos, sin,
                (block.x1 - block.x0) * actor.length, (block.y1 - block.y0) * actor.width,
                block.z0 * actor.height, block.z1 * actor.height, owner,
            )
        )  # fmt: skip
        paint = {"body": actor.body, "glass": GLASS, "rubber": RUBBER, "second": actor.second, "skin": SKIN}[block.paint]
        looks.append((paint, actor.reflectivity if block.paint == "body" else REFLECTIVITY[block.paint]))


def _upright(structure: Structure, travelled: float, owner: int) -> Upright:
    return Upright(
        structure.x - travelled, structure.y, 1.0, 0.0, structure.length, structure.width,
        structure.bottom, structure.bottom + structure.height, owner,
    )  # fmt: skip
