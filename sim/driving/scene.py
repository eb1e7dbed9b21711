"""A street drawn from a seed: lanes, parked cars, pavements, side lots, walls and poles, and how everything moves.

Positions are in the level frame at time 0 (x along the road, y left, z up, metres, in whole centimetres); the car with the
sensors is at x = 0 on the lane y = 0. Lanes are far enough apart, and everything on one moves alike, so that nothing ever meets.
What sensors see of it is not here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.driving.shapes import SIZES, ClassName

Colour = tuple[int, int, int]

#: Metres of road ahead that are furnished.
VIEW = 78.0
_OWN, _ONCOMING, _PARKED_RIGHT, _PARKED_LEFT = 0.0, 3.4, -2.9, 6.5
_CYCLE_RIGHT, _CYCLE_LEFT = -4.7, 8.3
_WALKS_RIGHT, _WALKS_LEFT = (-6.2, -7.0, -7.8), (9.9, 10.7, 11.5)
_POLES_RIGHT, _POLES_LEFT = -5.45, 9.1
_WALLS_RIGHT, _WALLS_LEFT = -9.6, 13.2
#: Share of a lane's traffic that cycles, and how far right of its middle [m]; share of those on a crossing that do. On the cycle
#: paths parked cars hide nearly all of a bicycle.
_CYCLING, _KEEPING_RIGHT, _CYCLING_ACROSS = 0.25, 0.8, 0.25
_CAR_COLOURS: tuple[Colour, ...] = (
    (200, 202, 205), (34, 36, 40), (120, 124, 130), (150, 30, 34), (28, 58, 120), (232, 232, 228), (60, 84, 66), (190, 160, 90),
)  # fmt: skip
_CLOTHES: tuple[Colour, ...] = (
    (40, 52, 90), (130, 40, 44), (70, 70, 74), (196, 188, 170), (44, 92, 60), (210, 140, 40), (24, 24, 28), (110, 80, 140),
)  # fmt: skip
_WALLS: tuple[Colour, ...] = ((168, 152, 132), (140, 96, 78), (176, 176, 170), (120, 124, 112), (200, 186, 158))


@dataclass(frozen=True)
class Actor:
    """A thing with a label; ``track`` is its number in a sequence."""

    track: int
    name: ClassName
    length: float
    width: float
    height: float
    x: float
    y: float
    rotation_y: float
    velocity: tuple[float, float]
    body: Colour
    second: Colour
    reflectivity: float


@dataclass(frozen=True)
class Structure:
    """A thing without a label: a wall, a hedge, a pole. Its box stands on the ground or from ``bottom`` up."""

    x: float
    y: float
    length: float
    width: float
    bottom: float
    height: float
    colour: Colour
    reflectivity: float


@dataclass(frozen=True)
class Scene:
    """What stands and moves in one street.

    Attributes:
        speed: of the car with the sensors [m/s].
        brightness: of this street's light, about 1.
        crossing: x of the zebra crossing at which all traffic waits, if there is one.
    """

    actors: tuple[Actor, ...]
    structures: tuple[Structure, ...]
    speed: float
    brightness: float
    crossing: float | None

    def travelled(self, time: float) -> float:
        """Metres that the car with the sensors has gone at ``time`` [s]."""
        return round(self.speed * time, 2)


def draw_scene(seed: int, number: int, *, duration: float = 0.0) -> Scene:
    """Street ``number`` of this seed, furnished for ``duration`` seconds of driving; the same on every machine."""
    return _Street(np.random.Generator(np.random.PCG64([seed, number])), duration).drawn()


class _Street:
    def __init__(self, random: np.random.Generator, duration: float) -> None:
        self._random = random
        self._duration = duration
        self._actors: list[Actor] = []
        self._structures: list[Structure] = []
        # At a crossing all traffic waits while people cross.
        self._crossing = self._between(9.0, 24.0) if random.random() < 0.45 else None
        self._speed = 0.0 if self._crossing is not None else round(self._between(5.0, 11.0), 1)
        self._end = VIEW + self._speed * duration

    def drawn(self) -> Scene:
        brightness = round(self._between(0.75, 1.15), 2)
        self._traffic()
        self._people()
        for side, walls, poles in ((-1, _WALLS_RIGHT, _POLES_RIGHT), (1, _WALLS_LEFT, _POLES_LEFT)):
            self._roadside(side, walls, poles)
        return Scene(tuple(self._actors), tuple(self._structures), self._speed, brightness, self._crossing)

    def _between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._random.random())

    def _one_of(self, choices: Sequence[Colour]) -> Colour:
        return choices[int(self._random.random() * len(choices))]

    def _traffic(self) -> None:
        waiting = self._crossing is not None
        oncoming = 0.0 if waiting else -round(self._between(6.0, 11.0), 1)
        beyond = self._end - oncoming * self._duration
        self._lane(_OWN, self._between(7.0, 22.0), self._end, 0.0, self._speed, (5.0, 30.0), cycling=_CYCLING)
        self._lane(_ONCOMING, -8.0, beyond, math.pi, oncoming, (4.0, 30.0), cycling=_CYCLING)
        for y, heading in ((_PARKED_RIGHT, 0.0), (_PARKED_LEFT, math.pi)):
            density = self._between(1.0, 16.0)
            self._lane(y, self._between(-6.0, 6.0), self._end, heading, 0.0, (0.8, density))

    def _lane(
        self, y: float, start: float, end: float, heading: float, speed: float, gaps: tuple[float, float], *, cycling: float = 0.0
    ) -> None:
        """What follows one another from ``start`` to ``end``; ``cycling`` is the share of cyclists, who keep right."""
        right = y - _KEEPING_RIGHT if heading == 0 else y + _KEEPING_RIGHT
        x = start
        while x < end:
            cyclist = cycling > 0 and self._random.random() < cycling
            name: ClassName = "Cyclist" if cyclist else self._vehicle()
            length = self._add(name, x, right if cyclist else y, heading + self._between(-0.03, 0.03), (speed, 0.0), at_rear=True)
            x += length + self._between(*gaps)

    def _vehicle(self) -> ClassName:
        draw = self._random.random()
        return "Car" if draw < 0.8 else "Van" if draw < 0.92 else "Truck" if draw < 0.97 else "Misc"

    def _people(self) -> None:
        waiting = self._crossing is not None
        for y, heading in ((_CYCLE_RIGHT, 0.0), (_CYCLE_LEFT, math.pi)):
            speed = 0.0 if waiting else round(self._between(2.5, 5.0), 1) * (1 if heading == 0 else -1)
            x = self._between(3.0, 25.0)
            while x < self._end + 30:
                self._add("Cyclist", x, y + self._between(-0.15, 0.15), heading + self._between(-0.08, 0.08), (speed, 0.0))
                x += self._between(6.0, 45.0)
        for y in (*_WALKS_RIGHT, *_WALKS_LEFT):
            forward = self._random.random() < 0.5
            speed = round(self._between(0.8, 1.6), 1) * (1 if forward else -1)
            x = self._between(2.0, 30.0)
            while x < self._end + 10:
                turn = (0.0 if forward else math.pi) + self._between(-0.3, 0.3)
                self._add("Pedestrian", x, y, turn, (speed, 0.0))
                x += self._between(2.0, 45.0)
        if self._random.random() < 0.3:
            self._add("Person_sitting", self._between(6.0, 25.0), -8.7, math.pi / 2 + self._between(-0.2, 0.2), (0.0, 0.0))
        if self._crossing is not None:
            for number in range(1 + int(self._random.random() * 4)):
                left = self._random.random() < 0.5
                velocity = (0.0, round(self._between(0.9, 1.4), 1) * (1 if left else -1))
                y = self._between(-3.8, 1.0) if left else self._between(3.0, 7.4)
                name: ClassName = "Cyclist" if self._random.random() < _CYCLING_ACROSS else "Pedestrian"
                self._add(name, self._crossing - 2.4 + 1.2 * number, y, math.pi / 2 * (1 if left else -1), velocity)

    def _add(
        self, name: ClassName, x: float, y: float, yaw: float, velocity: tuple[float, float], *, at_rear: bool = False
    ) -> float:
        """Add one actor with its centre (or rear end) at x, unless it would stand on the crossing; its length."""
        size = SIZES[name]
        length, width, height = (
            round(mean * (1 + size.spread * self._between(-1, 1)), 2) for mean in (size.length, size.width, size.height)
        )
        centre = x + length / 2 if at_rear else x
        body = self._one_of(_CLOTHES if name in ("Pedestrian", "Person_sitting", "Cyclist") else _CAR_COLOURS)
        second = self._one_of(_CLOTHES)
        reflectivity = self._between(0.15, 0.8)
        on_crossing = self._crossing is not None and abs(centre - self._crossing) < length / 2 + 3.2
        if not (on_crossing and -5.0 < y < 8.6 and velocity[1] == 0):
            rotation_y = math.remainder(-yaw - math.pi / 2, 2 * math.pi)
            self._actors.append(
                Actor(len(self._actors), name, length, width, height, round(centre, 2), round(y, 2), round(rotation_y, 2),
                      velocity, body, second, reflectivity)
            )  # fmt: skip
        return length

    def _roadside(self, side: int, walls: float, poles: float) -> None:
        x = self._between(-4.0, 10.0)
        while x < self._end + 10:
            self._structures.append(
                Structure(x, poles, 0.16, 0.16, 0.0, self._between(3.0, 7.0), (96, 98, 100), self._between(0.2, 0.6))
            )
            x += self._between(9.0, 28.0)
        x = -12.0
        while x < self._end + 30:
            length = self._between(8.0, 22.0)
            draw = self._random.random()
            if draw < 0.35:
                self._lot(side, x, length, walls)
            else:
                height = self._between(0.9, 1.6) if draw < 0.5 else self._between(2.5, 9.0)
                colour = (52, 84, 44) if draw < 0.5 else self._one_of(_WALLS)
                deep = self._between(0.6, 1.2) if draw < 0.5 else self._between(4.0, 8.0)
                y = walls + side * (deep / 2 + self._between(0.0, 1.5))
                self._structures.append(Structure(x + length / 2, y, length, deep, 0.0, height, colour, self._between(0.2, 0.6)))
            x += length

    def _lot(self, side: int, x: float, length: float, walls: float) -> None:
        """Vehicles at any angle on a place beside the road, and its back wall."""
        placed: list[tuple[float, float, float]] = []
        for _ in range(int(self._between(1.0, 5.0))):
            name = self._vehicle()
            radius = math.hypot(SIZES[name].length, SIZES[name].width) / 2 * (1 + SIZES[name].spread)
            centre = (x + self._between(radius, max(radius, length - radius)), walls + side * (radius + self._between(0.0, 8.0)))
            yaw = self._between(-math.pi, math.pi)
            fits = 2 * radius <= length and all(math.dist(centre, other[:2]) > radius + other[2] for other in placed)
            if fits:
                placed.append((*centre, radius))
                self._add(name, centre[0], centre[1], yaw, (0.0, 0.0))
        height, colour = self._between(2.0, 6.0), self._one_of(_WALLS)
        self._structures.append(Structure(x + length / 2, walls + side * 22.0, length, 1.0, 0.0, height, colour, 0.4))
