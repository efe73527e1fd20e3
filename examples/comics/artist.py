"""Draws the panels of one page, the characters in them and what they say."""

from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.comics.backdrops import draw_backdrop
from examples.comics.brush import Brush, Point, Points, fixed
from examples.comics.bubbles import draw_bubble, draw_text, set_text, shape_bubble
from examples.comics.figures import Look, draw_figure, random_look
from examples.comics.layout import panel_polygons
from examples.comics.lettering import random_style
from examples.comics.palette import Palette
from examples.comics.room import Head, Room
from examples.comics.sounds import draw_sound


class PageArtist:
    """Draws one page and remembers the outlines of what it drew.

    Attributes:
        image: uint8 ``(h, w, 3)`` RGB.
        figures: uint8 ``(h, w)``, number of the character visible at each pixel, 0 for none.
        figure_is_crowd: for characters 1, 2, ...: is it a group annotated as one?
        panels: outline of each panel.
        bubbles: outlines of the parts of each bubble.
        texts: outline of each line of text and of each sound.
        palette: colours of the page.
    """

    def __init__(
        self,
        random: Random,
        width_px: int,
        height_px: int,
        scale: float,
        line_weight: float = 1.0,
    ) -> None:
        self._random = random
        self._scale = scale
        self._line_weight = line_weight
        self.palette = Palette(random)
        self.image: NDArray[Any] = np.full((height_px, width_px, 3), self.palette.paper, np.uint8)
        self.figures: NDArray[Any] = np.zeros((height_px, width_px), np.uint8)
        self.figure_is_crowd: list[bool] = []
        self.panels: list[Points] = []
        self.bubbles: list[list[Points]] = []
        self.texts: list[Points] = []
        self._looks = [random_look(random, self.palette) for _ in range(random.randint(2, 5))]
        self._style = random_style(random, round(random.uniform(8.5, 12) * scale))
        self._border_px = self._line_px(random.choice([1.0, 1.5, 2.2, 3.0]) * scale)
        self._brush = Brush(self.image, self.figures, self.palette.ink, self._line_px(1.3 * scale))
        self._room = Room(random, self.figures, scale)

    def draw(self) -> None:
        """Draw the whole page."""
        height, width = self.figures.shape
        self.panels = panel_polygons(self._random, width, height, self._scale)
        heads = [self._draw_panel(panel) for panel in self.panels]
        for panel, speakers in zip(self.panels, heads, strict=True):
            self._draw_talk(panel, speakers)

    def _draw_panel(self, panel: Points) -> list[Head]:
        """Draw one panel on its own sheet, then cut it out along the panel's outline."""
        random, scale = self._random, self._scale
        height, width = self.figures.shape
        low = np.maximum(np.floor(panel.min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(panel.max(axis=0)) + 1, (width, height)).astype(int)
        sheet = np.empty((high[1] - low[1], high[0] - low[0], 3), np.uint8)
        marks = np.zeros(sheet.shape[:2], np.uint8)
        brush = Brush(sheet, marks, self.palette.ink)
        stands_out = draw_backdrop(random, brush, self.palette, scale)
        heads = self._draw_figures(brush)
        cut = np.zeros(marks.shape, np.uint8)
        cv2.fillPoly(cut, [fixed(panel - low)], 255, cv2.LINE_8, 4)
        area = (slice(low[1], high[1]), slice(low[0], high[0]))
        cv2.copyTo(sheet, cut, self.image[area])
        cv2.copyTo(marks, cut, self.figures[area])
        if not (stands_out and random.random() < 0.4):
            ink = self.palette.ink if self.palette.paper[0] > 90 else (225, 225, 225)
            cv2.polylines(self.image, [fixed(panel)], True, ink, self._border_px, cv2.LINE_AA, 4)
        return [Head(head.x + low[0], head.y + low[1], head.radius) for head in heads]

    def _draw_figures(self, brush: Brush) -> list[Head]:
        """Draw the characters of one panel; return their heads."""
        random, scale = self._random, self._scale
        height, width = brush.figures.shape
        framing = random.choices(["full", "bust", "close", "empty", "crowd"], [10, 10, 4, 2, 0.4])[
            0
        ]
        if framing == "empty":
            return []
        if framing == "crowd":
            self._draw_crowd(brush)
            return []
        reach = {"full": (0.09, 0.14), "bust": (0.15, 0.23), "close": (0.27, 0.36)}[framing]
        radius = max(min(height * random.uniform(*reach), width * 0.3), 6.5 * scale)
        count = min(
            1 if framing == "close" else max(1, int(width / (radius * 3.4))),
            random.choices([1, 2, 3, 4], [5, 5, 2, 1])[0],
        )
        heads: list[Head] = []
        slots = list(range(count))
        random.shuffle(slots)
        for slot in slots:
            look = random.choice(self._looks)
            r = radius * random.uniform(0.85, 1.1)
            x = width * (slot + 0.5) / count + random.uniform(-0.3, 0.3) * width / (count + 1)
            y = height * random.uniform(0.52, 0.7)
            if framing == "full":
                tall = r * (1.12 + look.tall * 1.12)
                y = max(r * 1.3, height * random.uniform(0.9, 1.0) - tall)
            self._draw_one(brush, look, (x, y), r)
            self.figure_is_crowd.append(False)
            heads.append(Head(x, y, r))
        brush.figure = 0
        return heads

    def _draw_one(self, brush: Brush, look: Look, head: Point, r: float) -> None:
        """Draw a character under the next free number."""
        brush.figure = len(self.figure_is_crowd) + 1
        line = self._line_px(min(0.6 * self._scale + r * 0.04, 3 * self._scale))
        draw_figure(self._random, brush, look, head, r, line)

    def _line_px(self, width_px: float) -> int:
        """Whole pixels of a line that is so wide in a page of usual lines."""
        return max(1, round(width_px * self._line_weight))

    def _draw_crowd(self, brush: Brush) -> None:
        """Draw rows of small characters under one number."""
        random, scale = self._random, self._scale
        height, width = brush.figures.shape
        r = random.uniform(6.5, 9) * scale
        for row in (0.55, 0.68, 0.81):
            x = random.uniform(0, 2 * r)
            while x < width:
                look = random_look(random, self.palette)
                self._draw_one(brush, look, (x, height * row + random.uniform(-0.4, 0.4) * r), r)
                x += r * random.uniform(2.2, 3.2)
        self.figure_is_crowd.append(True)
        brush.figure = 0

    def _draw_talk(self, panel: Points, heads: list[Head]) -> None:
        """Draw the bubbles and sounds of one panel."""
        random, brush = self._random, self._brush
        size = panel.max(axis=0) - panel.min(axis=0)
        for _ in range(random.choices([0, 1, 2, 3], [1, 6, 5, 2])[0]):
            text = set_text(random, self._style, size[0] * 0.6, size[1] * 0.42)
            if text is None:
                continue
            bubble = shape_bubble(random, text, self._style)
            slack = 14 * self._scale if random.random() < 0.2 else 0.0
            half = (bubble.half_width_px, bubble.half_height_px)
            at = self._room.find(panel, half, heads, slack)
            if at is None:
                continue
            speaker = _nearest(heads, at[0])
            mouth = None if speaker is None else (speaker.x, speaker.y + speaker.radius * 0.3)
            parts = draw_bubble(random, brush, bubble, at, mouth, self.palette.bubble)
            self._cover(parts)
            self.bubbles.append(parts)
            pad = 1.5 * self._scale
            self.texts += draw_text(brush, text, at, self.palette.ink, pad)
        if random.random() < 0.3:
            sound = draw_sound(random, self.palette, float(size[0]), float(size[1]), self._scale)
            at = self._room.find(panel, (sound.shape[1] / 2, sound.shape[0] / 2), heads)
            if at is not None:
                hull = sound.place(self.image, at)
                self._cover([hull])
                self.texts.append(hull)

    def _cover(self, parts: list[Points]) -> None:
        """Take the pixels of something drawn on top away from the characters."""
        for part in parts:
            cv2.fillPoly(self.figures, [fixed(part)], 0, cv2.LINE_8, 4)


def _nearest(heads: list[Head], x: float) -> Head | None:
    """Return the head that is nearest from left to right."""
    return min(heads, key=lambda head: abs(head.x - x), default=None)
