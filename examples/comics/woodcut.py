"""Pages as a woodcut prints them: one ink on tinted paper, shades as lines that swell."""

from collections.abc import Sequence
from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.comics.brush import Color, Points, fixed

LINE_WEIGHT = 1.7
"""How much thicker outlines are than in the other pages: a knife leaves no fine ones."""

_INKS: tuple[Color, ...] = ((28, 22, 18), (62, 30, 20), (24, 34, 62), (20, 48, 40))
_PAPERS: tuple[Color, ...] = ((236, 222, 190), (224, 204, 168), (240, 232, 212), (214, 208, 196))
_SOLID = 0.8
_BARE = 0.1


class Woodcut:
    """The block that one page is printed from.

    Attributes:
        paper: colour of what takes no ink.
    """

    def __init__(self, random: Random, scale: float) -> None:
        """Draw its colours and how it is cut.

        Args:
            random: source of all that varies.
            scale: 1.0 for a page of 512 pixels; lines grow with it.
        """
        self._ink: Color = random.choice(_INKS)
        self.paper: Color = random.choice(_PAPERS)
        if random.random() < 0.25:  # white on black, as wood engravings are
            self._ink, self.paper = self.paper, self._ink
        self._pitch_px = random.uniform(4.0, 7.0) * scale
        turns = random.uniform(0, np.pi)
        self._angles = [turns + np.pi * step / 5 for step in range(5)]
        random.shuffle(self._angles)
        self._waver_px = random.uniform(0.4, 1.4) * scale
        self._waver_length_px = random.uniform(40, 110) * scale

    def print(
        self, image: NDArray[Any], figures: NDArray[Any], panels: Sequence[Points]
    ) -> NDArray[np.uint8]:
        """Print a drawing; nothing moves, so its outlines stay exact.

        Args:
            image: uint8 ``(h, w, 3)`` RGB.
            figures: uint8 ``(h, w)``, number of the character at each pixel, 0 for none. Each
                panel and each character is cut in a direction of its own.
            panels: outline of each panel.

        Returns:
            uint8 ``(h, w, 3)`` RGB.
        """
        directions = np.zeros(figures.shape, np.uint8)
        for number, panel in enumerate(panels):
            cv2.fillPoly(directions, [fixed(panel)], number % 5, cv2.LINE_8, 4)
        directions = np.where(figures > 0, (directions + 1 + figures % 4) % 5, directions)
        darkness = 1 - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        share = np.clip((darkness - _BARE) / (_SOLID - _BARE), 0, 1)
        cut = self._lines(directions)
        # a line as wide as the share of the pitch that is inked, with edges a pixel soft
        ink = np.clip((share - cut) * self._pitch_px / 2 + 0.5, 0, 1)
        ink = np.where(share >= 1, 1, np.where(share <= 0, 0, ink))[..., None]
        printed = np.array(self.paper) * (1 - ink) + np.array(self._ink) * ink
        return np.rint(printed).astype(np.uint8)

    def _lines(self, directions: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Distance from the middle of the nearest line, 0..1, float32 ``(h, w)``."""
        height, width = directions.shape
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        distance = np.empty((height, width), np.float32)
        for number, angle in enumerate(self._angles):
            cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            along, across = x * cos + y * sin, y * cos - x * sin
            across += self._waver_px * np.sin(along * (2 * np.pi / self._waver_length_px))
            phase = (across / self._pitch_px) % 1
            chosen = directions == number
            distance[chosen] = np.abs(2 * phase - 1)[chosen]
        return distance
