"""Colours of one page: shades of grey as in manga, or colour as in albums."""

import colorsys
from random import Random

from examples.comics.brush import Color


class Palette:
    """Draws colours that fit one page.

    Attributes:
        colored: False for a page in shades of grey.
        ink: colour of lines and lettering.
        paper: colour of the page between the panels.
        bubble: colour of the inside of bubbles.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.colored = random.random() < 0.45
        dark = random.randint(0, 40)
        self.ink: Color = (dark, dark, dark)
        light = random.randint(235, 255)
        self.paper: Color = (light, light, light)
        self.bubble: Color = (255, 255, 255)
        if self.colored:
            self.paper = (light, light - random.randint(0, 8), light - random.randint(0, 22))
            if random.random() < 0.3:
                self.bubble = self.color((0.1, 0.17), (0.05, 0.2), (0.95, 1.0))
        if random.random() < 0.06:
            self.paper = (dark, dark, dark)
        self._hue = random.random()

    def color(
        self,
        hue: tuple[float, float] = (0.0, 1.0),
        saturation: tuple[float, float] = (0.2, 0.8),
        value: tuple[float, float] = (0.3, 0.95),
    ) -> Color:
        """Draw a colour from ranges in 0..1; on a grey page only its value is used."""
        chosen = self._random.uniform(*value)
        if not self.colored:
            level = round(chosen * 255)
            return (level, level, level)
        red, green, blue = colorsys.hsv_to_rgb(
            self._random.uniform(*hue) % 1.0, self._random.uniform(*saturation), chosen
        )
        return (round(red * 255), round(green * 255), round(blue * 255))

    def skin(self) -> Color:
        """Draw a skin colour."""
        if not self.colored:
            return self.color(value=(0.9, 1.0) if self._random.random() < 0.75 else (0.55, 0.85))
        return self.color((0.04, 0.1), (0.12, 0.55), (0.5, 1.0))

    def hair(self) -> Color:
        """Draw a hair colour: often black, on coloured pages also the colours of cartoons."""
        if self._random.random() < 0.35:
            return (self.ink[0] + 12, self.ink[1] + 12, self.ink[2] + 12)
        return self.color(saturation=(0.3, 0.9), value=(0.2, 0.95))

    def cloth(self) -> Color:
        """Draw a colour for clothes."""
        return self.color(saturation=(0.1, 0.9), value=(0.2, 1.0))

    def backdrop(self) -> Color:
        """Draw a pale colour for walls and skies."""
        hue = (self._hue - 0.12, self._hue + 0.12)
        return self.color(hue, (0.08, 0.45), (0.72, 1.0))

    def scenery(self) -> Color:
        """Draw a middling colour for things in the background."""
        hue = (self._hue - 0.25, self._hue + 0.25)
        return self.color(hue, (0.1, 0.5), (0.5, 0.92))
