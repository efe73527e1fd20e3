"""What fills a panel behind the characters: flat colours, tones, lines or a place."""

from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.comics import scenery
from examples.comics.brush import Brush, Color
from examples.comics.palette import Palette

Draw = Callable[[Random, Brush, Palette, float], None]

_SHEET_PX = 1024


@lru_cache(maxsize=64)
def _screentone(pitch: int, level: int) -> NDArray[np.uint8]:
    """Return a sheet of dots on a turned grid, 255 is ink; dots grow with ``level``."""
    y, x = np.mgrid[0:_SHEET_PX, 0:_SHEET_PX].astype(np.float32)
    wave = np.cos((x + y) * (np.pi / pitch)) + np.cos((x - y) * (np.pi / pitch))
    ink = np.clip((wave - (2.0 - 0.34 * level)) * 220 + 128, 0, 255)
    sheet: NDArray[np.uint8] = ink.astype(np.uint8)
    sheet.setflags(write=False)
    return sheet


def lay_tone(
    random: Random, image: NDArray[Any], ink: Color, strength: float, scale: float
) -> None:
    """Lay a screentone of dots over a picture, in place; ``strength`` is 0..1."""
    height, width = image.shape[:2]
    pitch = max(3, round(random.uniform(2.6, 6) * max(1.0, scale)))
    sheet = _screentone(pitch, random.randint(2, 4))
    if max(height, width) > _SHEET_PX:
        sheet = np.tile(sheet, (height // _SHEET_PX + 1, width // _SHEET_PX + 1))
    cover = cv2.convertScaleAbs(sheet[:height, :width], alpha=strength)
    colored = np.empty_like(image)
    colored[:] = ink
    weight = cv2.cvtColor(cover, cv2.COLOR_GRAY2RGB)
    kept = cv2.multiply(image, cv2.bitwise_not(weight), scale=1 / 255)
    image[:] = cv2.add(kept, cv2.multiply(colored, weight, scale=1 / 255))


def draw_backdrop(random: Random, brush: Brush, palette: Palette, scale: float) -> bool:
    """Fill the brush's picture with the background of one panel.

    Returns:
        True if it stands out from the paper all over, so that the panel needs no border.
    """
    pale = random.random() < 0.3
    brush.image[:] = palette.bubble if pale else palette.backdrop()
    brush.line_px = max(1, round(scale))
    kinds = list(_KINDS)
    kind = random.choices(kinds, [_KINDS[name][0] for name in kinds])[0]
    _KINDS[kind][1](random, brush, palette, scale)
    return kind in ("gradient", "night", "forest", "shadow") and palette.paper[0] > 90


def _plain(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    """Leave the flat colour."""


def _tone(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    lay_tone(random, brush.image, palette.scenery(), random.uniform(0.4, 0.9), scale)


def _gradient(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    height = brush.image.shape[0]
    top, bottom = np.array(palette.backdrop()), np.array(palette.scenery())
    if random.random() < 0.5:
        top, bottom = bottom, top
    share = np.linspace(0, 1, height)[:, None]
    brush.image[:] = (top * (1 - share) + bottom * share).astype(np.uint8)[:, None, :]


def _shadow(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    brush.image[:] = palette.color(value=(0.02, 0.3))


def _speed_lines(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    height, width = brush.image.shape[:2]
    slope = random.uniform(-0.3, 0.3)
    for _ in range(random.randint(12, 40)):
        y, start = random.uniform(-0.2, 1.2) * height, random.uniform(-0.3, 0.7) * width
        length = random.uniform(0.3, 0.9) * width
        brush.line([(start, y), (start + length, y + slope * length)])


def _burst(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    height, width = brush.image.shape[:2]
    x, y = width * random.uniform(0.3, 0.7), height * random.uniform(0.3, 0.7)
    reach = float(np.hypot(width, height))
    inner = min(width, height) * random.uniform(0.3, 0.48)
    for _ in range(random.randint(24, 50)):
        turn, half = random.uniform(0, 2 * np.pi), random.uniform(0.004, 0.018)
        near = inner * random.uniform(0.9, 1.4)
        angles = np.array([turn, turn - half, turn + half])
        radii = np.array([near, reach, reach])
        ray = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)
        brush.shape(ray, brush.ink, outline=False)


def _stripes(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    height, width = brush.image.shape[:2]
    color, step = palette.backdrop(), random.uniform(8, 22) * scale
    lean = random.choice([0.0, height * 0.5])
    for index in range(int((width + lean) / step / 2) + 1):
        left = index * 2 * step - lean
        brush.shape(
            [(left + lean, 0), (left + lean + step, 0), (left + step, height), (left, height)],
            color,
            outline=False,
        )


def _sparkles(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    height, width = brush.image.shape[:2]
    color = palette.scenery()
    for _ in range(random.randint(8, 22)):
        x, y = width * random.random(), height * random.random()
        size = random.uniform(3, 11) * scale
        if random.random() < 0.5:
            brush.ellipse((x, y), (size * 0.7, size * 0.7), color, outline=False)
            continue
        turns = np.arange(8) * np.pi / 4
        radii = np.where(np.arange(8) % 2, size * 0.25, size)
        star = np.stack([x + radii * np.cos(turns), y + radii * np.sin(turns)], axis=1)
        brush.shape(star, color, outline=False)


_KINDS: dict[str, tuple[int, Draw]] = {
    "plain": (4, _plain),
    "gradient": (2, _gradient),
    "tone": (3, _tone),
    "shadow": (1, _shadow),
    "speed": (2, _speed_lines),
    "burst": (2, _burst),
    "stripes": (1, _stripes),
    "sparkles": (1, _sparkles),
    "city": (2, scenery.draw_city),
    "room": (3, scenery.draw_room),
    "hills": (2, scenery.draw_hills),
    "forest": (2, scenery.draw_forest),
    "night": (1, scenery.draw_night),
    "street": (2, scenery.draw_street),
    "sea": (1, scenery.draw_sea),
}
