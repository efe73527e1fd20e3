"""Lettering from the fonts inside Pillow and OpenCV, and invented signs set in columns.

Pillow carries Aileron Regular (CC0); OpenCV carries its own stroke fonts (Apache-2.0).
Both come with pinned packages, so a page looks the same on every machine.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

Coverage = NDArray[np.uint8]

SENTENCES = Path(__file__).with_name("sentences.txt").read_text("utf-8").splitlines()
SOUNDS = Path(__file__).with_name("sounds.txt").read_text("utf-8").split()


@dataclass(frozen=True)
class Style:
    """One way of lettering.

    Attributes:
        face: "aileron", "stroke" (OpenCV's), or "signs" (invented ones, set in columns).
        size_px: height of capitals in pixels.
        bold: thicken the strokes.
        slant: shear to the right, pixels per pixel of height.
        stretch: width factor.
        capitals: set everything in capitals.
    """

    face: str
    size_px: int
    bold: bool = False
    slant: float = 0.0
    stretch: float = 1.0
    capitals: bool = True


def random_style(random: Random, size_px: int) -> Style:
    """Draw the lettering of one page."""
    face = random.choices(["aileron", "stroke", "signs"], [5, 2, 2])[0]
    slant = random.choice([0.0, 0.0, 0.0, 0.2])
    bold, stretch = random.random() < 0.4, random.choice([0.85, 1.0, 1.15])
    return Style(face, size_px, bold, slant, stretch, random.random() < 0.8)


def phrase(random: Random, capitals: bool = True) -> list[str]:
    """Draw something to say, as words."""
    said = random.choices(SENTENCES, k=2 if random.random() < 0.15 else 1)
    if not capitals:
        said = [sentence.capitalize().replace(" i ", " I ") for sentence in said]
    return " ".join(said).split()


@lru_cache(maxsize=256)
def _font(size_px: int) -> Any:
    # capitals of Aileron are 0.7 of its size
    return ImageFont.load_default(max(6.0, size_px / 0.7))


@lru_cache(maxsize=8192)
def word_coverage(word: str, style: Style) -> Coverage:
    """Render one word: uint8 ``(h, w)``, 255 is full ink; all words of a style share the height.

    The baseline is the same in every word; the array must not be changed (it is cached).
    """
    size = style.size_px
    height = round(size * 1.5)
    if style.face == "stroke":
        thick = max(1, round(size / (7 if style.bold else 10)))
        unit = size / 21.0  # capitals of the stroke font are 21 pixels high at scale 1
        face = cv2.FONT_HERSHEY_DUPLEX
        (width, _), _ = cv2.getTextSize(word, face, unit, thick)
        plane: NDArray[Any] = np.zeros((height, width + 2 * thick), np.uint8)
        cv2.putText(plane, word, (thick, round(size * 1.2)), face, unit, 255, thick, cv2.LINE_AA)
    else:
        font = _font(size)
        mask, (_, top) = font.getmask2(word, mode="L", anchor="ls")
        ink = np.array(mask, dtype=np.uint8).reshape(mask.size[::-1])
        plane = np.zeros((height, ink.shape[1] + 2), np.uint8)
        start = round(size * 1.2) + int(top)
        ink = ink[max(0, -start) : height - max(0, start)]
        start = max(0, start)
        plane[start : start + ink.shape[0], 1 : 1 + ink.shape[1]] = ink
        if style.bold:
            plane[:, 1:] = np.maximum(plane[:, 1:], plane[:, :-1])
            if size > 16:
                plane = cv2.dilate(plane, np.ones((1 + size // 12, 1 + size // 12), np.uint8))
    if style.slant or style.stretch != 1.0:
        width = round(plane.shape[1] * style.stretch + abs(style.slant) * height)
        matrix = np.array([[style.stretch, -style.slant, style.slant * height], [0.0, 1.0, 0.0]])
        plane = cv2.warpAffine(plane, matrix, (width, height), flags=cv2.INTER_LINEAR)
    plane.setflags(write=False)
    return plane


@lru_cache(maxsize=2048)
def _sign(number: int, size_px: int, bold: bool) -> Coverage:
    """Draw one invented sign of a few brush strokes in a square of ``size_px``."""
    random = Random(number)
    side = size_px * 4
    plane = np.zeros((side, side), np.uint8)
    thick = max(4, round(side * (0.14 if bold else 0.1)))
    left_of = random.random() < 0.4  # two parts side by side, else one above the other
    parts = random.choice([1, 1, 2])
    for part in range(parts):
        spans = [(0.12, 0.88), (0.12, 0.88)]
        if parts == 2:
            spans[0 if left_of else 1] = ((0.12, 0.42), (0.58, 0.88))[part]
        (x0, x1), (y0, y1) = ((round(a * side), round(b * side)) for a, b in spans)
        xs, ys = (x0, (x0 + x1) // 2, x1), (y0, (y0 + y1) // 2, y1)
        for _ in range(random.randint(2, 4)):
            kind = random.choice(["across", "down", "down", "fall", "hook", "box"])
            a, b = random.randrange(3), random.randrange(3)
            if kind == "across":
                cv2.line(plane, (x0, ys[a]), (x1, ys[a]), 255, thick, cv2.LINE_AA)
            elif kind == "down":
                cv2.line(plane, (xs[a], y0), (xs[a], y1), 255, thick, cv2.LINE_AA)
            elif kind == "fall":
                cv2.line(plane, (xs[a], ys[0]), (xs[b], ys[2]), 255, thick, cv2.LINE_AA)
            elif kind == "hook":
                axes = ((x1 - x0) // 2, (y1 - y0) // 3)
                cv2.ellipse(
                    plane,
                    (xs[1], ys[2] - axes[1]),
                    axes,
                    0,
                    a * 90,
                    a * 90 + 210,
                    255,
                    thick,
                    cv2.LINE_AA,
                )
            else:
                cv2.rectangle(plane, (x0, ys[0]), (x1, ys[1 + a // 2]), 255, thick, cv2.LINE_AA)
    small: Coverage = np.asarray(
        cv2.resize(plane, (size_px, size_px), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )
    small.setflags(write=False)
    return small


def line_coverage(words: list[str], style: Style) -> Coverage:
    """Render words side by side, cut to the ink: uint8 ``(h, w)``."""
    gap = round(style.size_px * 0.45)
    parts = [word_coverage(word, style) for word in words]
    width = sum(part.shape[1] for part in parts) + gap * (len(parts) - 1)
    line = np.zeros((parts[0].shape[0], width), np.uint8)
    x = 0
    for part in parts:
        line[:, x : x + part.shape[1]] = part
        x += part.shape[1] + gap
    return trim(line)


def column_coverage(random: Random, signs: int, style: Style) -> Coverage:
    """Render a column of invented signs, top to bottom: uint8 ``(h, w)``."""
    size = round(style.size_px * 1.3)
    gap = max(1, round(size * 0.12))
    column = np.zeros((signs * (size + gap) - gap, size), np.uint8)
    for index in range(signs):
        top = index * (size + gap)
        column[top : top + size] = _sign(random.randrange(400), size, style.bold)
    return column


def trim(coverage: Coverage) -> Coverage:
    """Cut empty rows and columns away; an empty picture comes back as one empty pixel."""
    x, y, width, height = cv2.boundingRect(coverage)
    if width == 0:
        return np.zeros((1, 1), np.uint8)
    return coverage[y : y + height, x : x + width]


def stamp(
    image: NDArray[Any], coverage: Coverage, x: int, y: int, color: tuple[int, int, int]
) -> None:
    """Lay ink of one colour on an RGB picture, clipped at its edges."""
    height, width = coverage.shape
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(image.shape[1], x + width), min(image.shape[0], y + height)
    if x0 >= x1 or y0 >= y1:
        return
    part = coverage[y0 - y : y1 - y, x0 - x : x1 - x].astype(np.uint16)[..., None]
    under = image[y0:y1, x0:x1]
    mixed = under * (255 - part) + np.array(color, np.uint16) * part
    image[y0:y1, x0:x1] = (mixed + 127) // 255
