"""Of which blocks the things of the world are made: a car is a body and a cabin, a cyclist sits between two wheels.

The blocks of an object touch every side of its label box and never leave it. Where things stand is not here.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Paint = Literal["body", "glass", "rubber", "second", "skin"]
ClassName = Literal["Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Misc"]


class Block(NamedTuple):
    """A block in shares of the box: x 0 rear … 1 front, y 0 right … 1 left, z 0 bottom … 1 top."""

    x0: float
    x1: float
    y0: float
    y1: float
    z0: float
    z1: float
    paint: Paint = "body"


class Size(NamedTuple):
    """Mean length, width, height [m] of a class, and by which share single objects differ from it."""

    length: float
    width: float
    height: float
    spread: float


SIZES: Final[dict[ClassName, Size]] = {
    "Car": Size(3.9, 1.63, 1.53, 0.12),
    "Van": Size(5.1, 1.9, 2.2, 0.1),
    "Truck": Size(9.5, 2.5, 3.2, 0.12),
    "Pedestrian": Size(0.8, 0.64, 1.75, 0.12),
    "Person_sitting": Size(0.8, 0.6, 1.28, 0.06),
    "Cyclist": Size(1.76, 0.6, 1.74, 0.07),
    "Misc": Size(3.2, 1.6, 1.7, 0.2),
}

BLOCKS: Final[dict[ClassName, tuple[Block, ...]]] = {
    "Car": (Block(0, 1, 0, 1, 0.1, 0.6), Block(0.1, 0.68, 0.05, 0.95, 0.6, 0.95, "glass"),
            Block(0.14, 0.6, 0.07, 0.93, 0.95, 1), Block(0.1, 0.9, 0.03, 0.97, 0, 0.1, "rubber")),
    "Van": (Block(0, 0.8, 0, 1, 0.08, 1), Block(0.8, 1, 0.03, 0.97, 0.08, 0.5), Block(0.8, 0.88, 0.06, 0.94, 0.5, 0.85, "glass"),
            Block(0.1, 0.92, 0.03, 0.97, 0, 0.08, "rubber")),
    "Truck": (Block(0, 0.74, 0, 1, 0.3, 1), Block(0.78, 1, 0.04, 0.96, 0.1, 0.78, "second"),
              Block(0.05, 0.95, 0.1, 0.9, 0, 0.3, "glass")),
    # in mid-stride: feet apart, thighs together
    "Pedestrian": (Block(0.7, 1, 0.55, 0.85, 0, 0.26, "second"), Block(0.46, 0.8, 0.55, 0.85, 0.26, 0.46, "second"),
                   Block(0, 0.3, 0.15, 0.45, 0, 0.26, "second"), Block(0.2, 0.54, 0.15, 0.45, 0.26, 0.46, "second"),
                   Block(0.3, 0.7, 0, 1, 0.46, 0.84), Block(0.36, 0.66, 0.3, 0.7, 0.84, 1, "skin")),
    "Person_sitting": (Block(0.3, 1, 0.05, 0.95, 0.3, 0.5, "second"), Block(0.8, 1, 0.1, 0.9, 0, 0.3, "second"),
                       Block(0, 0.4, 0, 1, 0.3, 0.8), Block(0.05, 0.35, 0.3, 0.7, 0.8, 1, "skin")),
    # wheels, frame and handlebar; legs, one down, a back that leans forward, arms, head
    "Cyclist": (Block(0, 0.36, 0.44, 0.56, 0, 0.36, "rubber"), Block(0.64, 1, 0.44, 0.56, 0, 0.36, "rubber"),
                Block(0.3, 0.7, 0.46, 0.54, 0.3, 0.42, "rubber"), Block(0.7, 0.76, 0, 1, 0.55, 0.6, "rubber"),
                Block(0.42, 0.54, 0.2, 0.42, 0.08, 0.5, "second"), Block(0.38, 0.56, 0.58, 0.8, 0.2, 0.5, "second"),
                Block(0.22, 0.5, 0.12, 0.88, 0.48, 0.68), Block(0.34, 0.6, 0.1, 0.9, 0.68, 0.85),
                Block(0.6, 0.74, 0.1, 0.24, 0.6, 0.74), Block(0.6, 0.74, 0.76, 0.9, 0.6, 0.74),
                Block(0.48, 0.66, 0.3, 0.7, 0.85, 1, "skin")),
    "Misc": (Block(0, 0.8, 0, 1, 0.25, 1), Block(0.8, 1, 0.44, 0.56, 0.25, 0.35, "second"),
             Block(0.3, 0.5, 0.05, 0.95, 0, 0.25, "glass")),
}  # fmt: skip

#: Colours of the paints that are not drawn for each object, and how much of the laser's light each returns.
GLASS, SKIN, RUBBER = (42, 50, 58), (196, 150, 122), (28, 28, 30)
REFLECTIVITY: Final[dict[Paint, float]] = {"body": 0.45, "glass": 0.12, "rubber": 0.25, "second": 0.25, "skin": 0.4}
