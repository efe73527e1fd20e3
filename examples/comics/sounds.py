"""Sound effects: large drawn lettering outside of bubbles."""

from dataclasses import dataclass
from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.comics.brush import Color, Point, Points
from examples.comics.lettering import (
    SOUNDS,
    Coverage,
    Style,
    column_coverage,
    line_coverage,
    stamp,
)
from examples.comics.palette import Palette


@dataclass(frozen=True)
class Sound:
    """A sound ready to be placed: lettering and a border around it, both uint8 ``(h, w)``."""

    ink: Coverage
    border: Coverage
    color: Color
    border_color: Color

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.border.shape[0], self.border.shape[1]

    def place(self, image: NDArray[Any], at: Point) -> Points:
        """Draw it centred at a point; return the hull of the lettering, ``(n, 2)`` pixels."""
        left, top = round(at[0] - self.shape[1] / 2), round(at[1] - self.shape[0] / 2)
        stamp(image, self.border, left, top, self.border_color)
        stamp(image, self.ink, left, top, self.color)
        hull = cv2.convexHull(cv2.findNonZero((self.border > 100).astype(np.uint8)))[:, 0]
        return np.asarray(hull + np.array([left, top]), dtype=np.float64)


def draw_sound(
    random: Random, palette: Palette, panel_w: float, panel_h: float, scale: float
) -> Sound:
    """Letter a random sound, turned and bordered, to fit in a panel of the given size."""
    if random.random() < 0.3:
        size = round(min(panel_h / 7, random.uniform(16, 34) * scale))
        flat = column_coverage(random, random.randint(2, 3), Style("signs", size, True))
    else:
        word = random.choice(SOUNDS)
        size = round(min(panel_w * 0.75 / len(word), random.uniform(16, 36) * scale))
        slant = random.choice([0.0, 0.25, -0.2])
        style = Style(random.choice(["aileron", "stroke"]), max(8, size), True, abs(slant))
        flat = line_coverage([word], style)
    rim = max(1, round(size * 0.1))
    turn = random.uniform(-24, 24)
    height, width = flat.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    wide = int(height * sin + width * cos) + 2 * rim + 4
    tall = int(height * cos + width * sin) + 2 * rim + 4
    matrix[:, 2] += (wide / 2 - width / 2, tall / 2 - height / 2)
    ink = np.asarray(cv2.warpAffine(flat, matrix, (wide, tall), flags=cv2.INTER_LINEAR), np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    border = np.asarray(cv2.dilate(ink, disc), np.uint8)
    color, border_color = palette.ink, (255, 255, 255)
    if random.random() < 0.4:
        color = palette.color(saturation=(0.6, 1.0), value=(0.7, 1.0))
        border_color = palette.ink
    return Sound(ink, border, color, border_color)
