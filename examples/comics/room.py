"""Finds room for bubbles and sounds in a panel."""

from dataclasses import dataclass
from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.comics.brush import Point, Points

_TRIES = 14


@dataclass(frozen=True)
class Head:
    """Where the head of a character is: centre and half height in pixels of the page."""

    x: float
    y: float
    radius: float


class Room:
    """Remembers which boxes of a page already hold lettering."""

    def __init__(self, random: Random, figures: NDArray[Any], scale: float) -> None:
        self._random = random
        self._figures = figures
        self._pad = 3 * scale
        self._taken: list[tuple[float, float, float, float]] = []

    def find(
        self, panel: Points, half: Point, heads: list[Head], slack_px: float = 0.0
    ) -> Point | None:
        """Take a place that hides few figures, hardly a face and no other lettering.

        Args:
            panel: outline of the panel.
            half: half width and half height of what needs the place, pixels.
            heads: heads of the characters in the panel.
            slack_px: how far the place may reach over the edge of the panel.

        Returns:
            The centre of the place, or None if there is none.
        """
        height, width = self._figures.shape
        outline = panel.astype(np.float32).reshape(-1, 1, 2)
        low = np.maximum(panel.min(axis=0) - slack_px, 0) + self._pad + half
        high = np.minimum(panel.max(axis=0) + slack_px, (width, height)) - self._pad - half
        if low[0] > high[0] or low[1] > high[1]:
            return None
        best: tuple[float, Point] | None = None
        for _ in range(_TRIES):
            x = self._random.uniform(low[0], high[0])
            # lettering is read from the top, so most of it stands there
            y = low[1] + (high[1] - low[1]) * self._random.random() ** 1.7
            hidden = self._hidden(outline, (x, y), half, heads, slack_px)
            if hidden is not None and (best is None or hidden < best[0]):
                best = (hidden, (x, y))
        if best is None or best[0] > 0.7:
            return None
        self._taken.append(self._box(best[1], half))
        return best[1]

    def _box(self, at: Point, half: Point) -> tuple[float, float, float, float]:
        wide, tall = half[0] + self._pad, half[1] + self._pad
        return (at[0] - wide, at[1] - tall, at[0] + wide, at[1] + tall)

    def _hidden(
        self, outline: NDArray[Any], at: Point, half: Point, heads: list[Head], slack_px: float
    ) -> float | None:
        """Return how much a place hides (0 is nothing), or None where it is not allowed."""
        x0, y0, x1, y1 = self._box(at, half)
        if any(x0 < t[2] and t[0] < x1 and y0 < t[3] and t[1] < y1 for t in self._taken):
            return None
        for side_x in (-0.9, 0.9):
            for side_y in (-0.9, 0.9):
                corner = (at[0] + side_x * half[0], at[1] + side_y * half[1])
                if cv2.pointPolygonTest(outline, corner, True) < -slack_px:
                    return None
        region = self._figures[max(0, int(y0)) : int(y1), max(0, int(x0)) : int(x1)]
        hidden = cv2.countNonZero(region) / max(1, region.size)
        for head in heads:
            wide = min(x1, head.x + head.radius) - max(x0, head.x - head.radius)
            tall = min(y1, head.y + head.radius) - max(y0, head.y - head.radius)
            if wide > 0 and tall > 0:
                hidden += 1.2 * wide * tall / (4 * head.radius**2)
        return hidden
