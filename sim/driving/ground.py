"""The flat ground of the world: which strip of it a point lies on, what that looks like and how it returns laser light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Boundaries of the strips from right to left [m], and the strip right of each and left of the last.
_EDGES = np.array([-9.4, -5.7, -5.55, -4.0, -1.82, -1.72, 1.64, 1.76, 5.05, 5.15, 7.6, 9.3, 9.45, 12.9], dtype=np.float32)
_STRIPS = np.array([3, 2, 4, 5, 0, 1, 0, 6, 0, 1, 0, 5, 4, 2, 3], dtype=np.uint8)
ASPHALT, LINE, DASHED = 0, 1, 6
_ROAD = (-4.0, 7.6)
#: Asphalt, line, pavement, grass, kerb, cycle path, and the gaps and dashes of the middle line (drawn as 0 or 1).
GROUND_COLOURS = np.array(
    [(92, 92, 96), (214, 214, 208), (150, 146, 140), (84, 104, 60), (120, 118, 114), (140, 92, 84)], dtype=np.uint8
)
GROUND_REFLECTIVITY = np.array([0.18, 0.7, 0.32, 0.4, 0.3, 0.25])


def ground_kind(x: NDArray[np.float32], y: NDArray[np.float32], crossing: float | None) -> NDArray[np.uint8]:
    """Row of the tables above for points of the level frame at time 0; ``x`` and ``y`` of any one shape [m]."""
    kind = _STRIPS[np.searchsorted(_EDGES, y)]
    dashed = kind == DASHED
    kind[dashed] = np.where(np.mod(x[dashed], np.float32(9.0)) < 4.0, LINE, ASPHALT)
    if crossing is not None:
        striped = (np.abs(x - np.float32(crossing)) < 2.8) & (y > _ROAD[0]) & (y < _ROAD[1])
        kind[striped] = np.where(np.mod(y[striped], np.float32(1.0)) < 0.5, LINE, ASPHALT)
    return kind
