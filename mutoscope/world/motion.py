"""Where a thing is at any time: laws of motion as functions of continuous time."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mutoscope.world.factors import (
    ASPECT,
    BOUNCE_PATH,
    CLIP_SECONDS,
    DIAMETER,
    GROWTH,
    HEADING,
    ORBIT_ANGLE,
    ORBIT_RADIUS,
    SPIN_ANGLE,
    TRAVEL,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """How a thing moves, without where it starts.

    Attributes:
        motion: One of `MOTIONS`.
        speed: One of `SPEEDS`; of no effect when the motion is "still".
        size: One of `SIZES`. The diameter throughout; of a growing thing the diameter at the
            start of the reference clip, of a shrinking one the diameter at its end.
        heading: Radians, 0 to the right and pi/2 down. For "bounce" the way it sets out; for
            "orbit" where on the circle it starts. Of no effect otherwise.
        turn: 1 clockwise, -1 anticlockwise, for "orbit" and "spin".
    """

    motion: str
    speed: str
    size: str
    heading: float = 0.0
    turn: int = 1

    def diameter(self, times: Array) -> Array:
        """Diameter in frame heights at `times` in seconds; growth is geometric in time."""
        small = DIAMETER[self.size]
        if self.motion not in ("grow", "shrink"):
            return np.full(np.shape(times), small)
        share = np.asarray(times) / CLIP_SECONDS
        if self.motion == "shrink":
            share = 1.0 - share
        return np.asarray(small * (1.0 + GROWTH[self.speed] / small) ** share)

    def angle(self, times: Array) -> Array:
        """Clockwise rotation in radians at `times` in seconds."""
        if self.motion != "spin":
            return np.zeros(np.shape(times))
        rate = self.turn * SPIN_ANGLE[self.speed] / CLIP_SECONDS
        return np.asarray(times * rate)

    def position(self, x: Array | float, y: Array | float, times: Array) -> tuple[Array, Array]:
        """Centre at `times`, for a thing that is at (`x`, `y`) at time 0; shapes broadcast."""
        share = np.asarray(times) / CLIP_SECONDS
        dx = dy = 0.0 * share
        if self.motion in HEADING:
            along = TRAVEL[self.speed] * share
            dx, dy = HEADING[self.motion][0] * along, HEADING[self.motion][1] * along
        elif self.motion == "orbit":
            phase = self.heading + self.turn * ORBIT_ANGLE[self.speed] * share
            dx = ORBIT_RADIUS * (np.cos(phase) - math.cos(self.heading))
            dy = ORBIT_RADIUS * (np.sin(phase) - math.sin(self.heading))
        elif self.motion == "bounce":
            path = np.asarray(BOUNCE_PATH[self.speed] * share)
            if self.bounces_sideways:
                return self._between_edges(x, path, ASPECT), np.asarray(y + 0.0 * share)
            return np.asarray(x + 0.0 * share), self._between_edges(y, path, 1.0)
        return np.asarray(x + dx), np.asarray(y + dy)

    @property
    def bounces_sideways(self) -> bool:
        """Whether a bounce goes between the left and right edges (else top and bottom)."""
        return abs(math.cos(self.heading)) > 0.5

    @property
    def bounce_sign(self) -> float:
        """1 when a bounce sets out right or down, -1 when left or up."""
        return math.copysign(1.0, math.cos(self.heading) + math.sin(self.heading))

    def orbit_centre(self, x: float, y: float) -> tuple[float, float]:
        """Centre of the circle on which an orbiting thing at (`x`, `y`) at time 0 moves."""
        return (
            x - ORBIT_RADIUS * math.cos(self.heading),
            y - ORBIT_RADIUS * math.sin(self.heading),
        )

    def _between_edges(self, start: Array | float, path: Array, length: float) -> Array:
        """A triangle wave between the edges, `start` at path 0, along the heading."""
        low = DIAMETER[self.size] / 2
        span = length - 2 * low
        ahead = self.bounce_sign > 0
        unfolded = np.mod((start - low if ahead else 2 * span - (start - low)) + path, 2 * span)
        return np.asarray(low + np.minimum(unfolded, 2 * span - unfolded))
