"""What each ray of a sensor meets first: upright blocks on a flat ground.

Blocks are upright and rays form a grid, so the horizontal slabs of a block are met per column, its top and bottom per row,
and a whole rectangle of rays is decided with a handful of array operations. All of them are single correctly rounded
operations (no matrix products, no transcendental functions): the result is the same to the last bit on every machine.
What the hits look like is not here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.driving.rig import Rays

#: Owners of a ray that meets no block.
GROUND, SKY = -1, -2
#: Sides of a block.
END, FLANK, LID = 0, 1, 2
_NEAR = 0.3
_TINY = 1e-12


class Upright(NamedTuple):
    """A block in the level frame: centre x, y, cosine and sine of its yaw, length, width, bottom, top [m]; its owner's row."""

    x: float
    y: float
    cos: float
    sin: float
    length: float
    width: float
    bottom: float
    top: float
    owner: int


@dataclass(frozen=True, eq=False)
class Hits:
    """What the rays ``(rows, columns)`` of a sensor met.

    Attributes:
        distance: float32, the ray parameter t of the first hit [m], inf for the sky.
        block: int16, row of the block, ``GROUND`` or ``SKY``.
        side: uint8, ``END``, ``FLANK`` or ``LID`` of the block.
        alone: ``(owners,)`` int64, how many rays would meet each owner if nothing else stood in the way.
    """

    distance: NDArray[np.float32]
    block: NDArray[np.int16]
    side: NDArray[np.uint8]
    alone: NDArray[np.int64]


def cast(rays: Rays, blocks: Sequence[Upright], owners: int, *, count_alone: bool = False) -> Hits:
    """First hits of all rays; blocks of one owner follow one another. ``alone`` is counted only when asked for."""
    rows, columns = len(rays.rows), len(rays.columns_x)
    with np.errstate(divide="ignore"):
        ground = np.where(rays.rows < 0, -rays.origin[2] / rays.rows, np.inf).astype(np.float32)
    ground[ground > rays.reach] = np.inf
    distance = np.repeat(ground[:, None], columns, axis=1)
    block_of = np.repeat(np.where(np.isfinite(ground), GROUND, SKY).astype(np.int16)[:, None], columns, axis=1)
    side = np.full((rows, columns), LID, dtype=np.uint8)
    alone = np.zeros(owners, dtype=np.int64)
    seen = np.zeros((rows, columns) if count_alone else (0, 0), dtype=np.bool_)
    touched: tuple[int, int, int, int] | None = None
    for number, block in enumerate(blocks):
        met = _meet(rays, block)
        if met is not None:
            top, low, left, right, entry, leave, face = met
            inside = entry < leave
            if count_alone:
                seen[top:low, left:right] |= inside
                touched = _around(touched, (top, low, left, right))
            window = distance[top:low, left:right]
            first = inside & (entry < window)
            np.copyto(window, entry, where=first)
            np.copyto(block_of[top:low, left:right], np.int16(number), where=first)
            np.copyto(side[top:low, left:right], face, where=first)
        last = number + 1 == len(blocks) or blocks[number + 1].owner != block.owner
        if last and touched is not None:
            top, low, left, right = touched
            alone[block.owner] = np.count_nonzero(seen[top:low, left:right])
            seen[top:low, left:right] = False
            touched = None
    return Hits(distance, block_of, side, alone)


_Met = tuple[int, int, int, int, NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]


def _meet(rays: Rays, block: Upright) -> _Met | None:
    """Window of rays that can meet the block, with entry, exit and side for each of them."""
    columns = _columns(rays, block)
    if columns is None:
        return None
    left, right, entry, leave, face = columns
    nearest = float(entry[(entry < leave) & (leave > _NEAR)].min(initial=math.inf))
    if nearest > rays.reach:
        return None
    rows = _rows(rays, block, max(nearest, _NEAR), float(leave.max()))
    if rows is None:
        return None
    top, low, row_entry, row_leave = rows
    entries = np.maximum(entry[None, :], row_entry[:, None])
    # A sensor inside a block sees through it.
    leaves = np.where(entries < _NEAR, np.float32(-1), np.minimum(leave[None, :], row_leave[:, None]))
    faces = np.where(row_entry[:, None] > entry[None, :], np.uint8(LID), face[None, :])
    return top, low, left, right, entries, leaves, faces


def _columns(rays: Rays, block: Upright) -> tuple[int, int, NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]] | None:
    """Entry and exit of the block's vertical sides per column, for the columns between the outermost that meet them."""
    dx, dy = rays.origin[0] - block.x, rays.origin[1] - block.y
    along, across = block.cos * dx + block.sin * dy, block.cos * dy - block.sin * dx
    slope_x = block.cos * rays.columns_x + block.sin * rays.columns_y
    slope_y = block.cos * rays.columns_y - block.sin * rays.columns_x
    slope_x[slope_x == 0] = _TINY
    slope_y[slope_y == 0] = _TINY
    first_x, second_x = (-block.length / 2 - along) / slope_x, (block.length / 2 - along) / slope_x
    first_y, second_y = (-block.width / 2 - across) / slope_y, (block.width / 2 - across) / slope_y
    enter_x, enter_y = np.minimum(first_x, second_x), np.minimum(first_y, second_y)
    enter = np.maximum(enter_x, enter_y)
    leave = np.minimum(np.maximum(first_x, second_x), np.maximum(first_y, second_y))
    meeting = np.flatnonzero((enter < leave) & (leave > _NEAR))
    if not len(meeting):
        return None
    left, right = int(meeting[0]), int(meeting[-1]) + 1
    face = np.where(enter_x >= enter_y, np.uint8(END), np.uint8(FLANK))
    return (
        left, right, enter[left:right].astype(np.float32), leave[left:right].astype(np.float32), face[left:right],
    )  # fmt: skip


def _rows(
    rays: Rays, block: Upright, nearest: float, farthest: float
) -> tuple[int, int, NDArray[np.float32], NDArray[np.float32]] | None:
    """Entry and exit of the slab between bottom and top per row, for the rows that can meet it in this interval of t."""
    above, below = block.top - rays.origin[2], block.bottom - rays.origin[2]
    highest = above / (nearest if above > 0 else farthest)
    lowest = below / (farthest if below > 0 else nearest)
    top = int(np.searchsorted(-rays.rows, -highest - 1e-6, side="left"))
    low = int(np.searchsorted(-rays.rows, -lowest + 1e-6, side="right"))
    if top >= low:
        return None
    slope = np.where(rays.rows[top:low] == 0, _TINY, rays.rows[top:low])
    first, second = below / slope, above / slope
    return top, low, np.minimum(first, second).astype(np.float32), np.maximum(first, second).astype(np.float32)


def _around(first: tuple[int, int, int, int] | None, second: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    if first is None:
        return second
    return min(first[0], second[0]), max(first[1], second[1]), min(first[2], second[2]), max(first[3], second[3])
