"""Places behind the characters: city, room, hills, night, street, sea, forest."""

from random import Random

import cv2
import numpy as np

from examples.comics.brush import Brush, Color, Points, ellipse_points
from examples.comics.palette import Palette


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """Return the corners of an upright box."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def draw_city(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    """Draw houses with lit windows."""
    height, width = brush.image.shape[:2]
    x = -random.uniform(0, 20) * scale
    while x < width:
        wide, top = random.uniform(22, 55) * scale, height * random.uniform(0.1, 0.6)
        brush.shape(box(x, top, x + wide, height), palette.scenery())
        pane = palette.backdrop()
        step = random.uniform(9, 14) * scale
        for row in range(int((height - top) / step)):
            for column in range(int(wide / step)):
                left, up = x + (column + 0.3) * step, top + (row + 0.4) * step
                far = (int(left + step * 0.5), int(up + step * 0.5))
                cv2.rectangle(brush.image, (int(left), int(up)), far, pane, -1)
        x += wide + random.uniform(-4, 6) * scale


def draw_room(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    """Draw a wall, a floor and some furniture."""
    height, width = brush.image.shape[:2]
    floor = height * random.uniform(0.65, 0.85)
    brush.shape(box(-9, floor, width + 9, height + 9), palette.scenery())
    if random.random() < 0.6:
        left, top = width * random.uniform(0.05, 0.6), height * random.uniform(0.08, 0.25)
        right = left + width * random.uniform(0.2, 0.35)
        bottom = top + (floor - top) * random.uniform(0.4, 0.7)
        brush.shape(box(left, top, right, bottom), palette.backdrop())
        brush.line([((left + right) / 2, top), ((left + right) / 2, bottom)])
        brush.line([(left, (top + bottom) / 2), (right, (top + bottom) / 2)])
    if random.random() < 0.5:
        left, right = width * random.uniform(0.0, 0.6), width * random.uniform(0.7, 0.95)
        top = floor - height * random.uniform(0.1, 0.35)
        brush.shape(box(left, top, right, floor + 6 * scale), palette.scenery())
        for share in (0.33, 0.66):
            y = top + (floor - top) * share
            brush.line([(left, y), (right, y)])
    if random.random() < 0.4:
        x, drop = width * random.uniform(0.1, 0.9), height * random.uniform(0.08, 0.2)
        brush.line([(x, 0), (x, drop)])
        half = 9 * scale
        shade = [
            (x - half * 0.4, drop),
            (x + half * 0.4, drop),
            (x + half, drop + half),
            (x - half, drop + half),
        ]
        brush.shape(shade, palette.scenery())


def draw_hills(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    """Draw hills, trees, and maybe a sun and clouds."""
    height, width = brush.image.shape[:2]
    if random.random() < 0.5:
        radius = random.uniform(10, 24) * scale
        spot = (width * random.uniform(0.1, 0.9), height * random.uniform(0.1, 0.3))
        brush.ellipse(spot, (radius, radius), palette.bubble)
    for _ in range(random.choice([0, 0, 1, 2])):
        _cloud(random, brush, palette, scale)
    for share in (0.5, 0.7):
        phase, waves = random.uniform(0, 6), random.uniform(2, 6)
        x = np.linspace(-5, width + 5, 24)
        y = height * share + np.sin(x / width * waves + phase) * height * 0.08
        low = [(width + 5, height + 5), (-5, height + 5)]
        brush.shape(np.vstack([np.stack([x, y], axis=1), low]), palette.scenery())
    for _ in range(random.randint(0, 4)):
        x_tree, base = width * random.random(), height * random.uniform(0.6, 0.85)
        _tree(random, brush, palette, x_tree, base, random.uniform(9, 22) * scale)


def draw_forest(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    """Draw rows of trees."""
    height, width = brush.image.shape[:2]
    brush.shape(box(-9, height * 0.7, width + 9, height + 9), palette.scenery())
    for base in (0.74, 0.86):
        x = random.uniform(-10, 10) * scale
        while x < width:
            _tree(random, brush, palette, x, height * base, random.uniform(14, 34) * scale)
            x += random.uniform(18, 60) * scale


def draw_night(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    """Draw a dark sky with stars and maybe a moon."""
    height, width = brush.image.shape[:2]
    brush.image[:] = palette.color((0.6, 0.7), (0.4, 0.7), (0.1, 0.3))
    light: Color = (250, 250, 240)
    for _ in range(random.randint(10, 40)):
        size = random.uniform(0.5, 1.6) * scale
        spot = (width * random.random(), height * random.random())
        brush.ellipse(spot, (size, size), light, outline=False)
    if random.random() < 0.5:
        radius = random.uniform(9, 22) * scale
        spot = (width * random.uniform(0.1, 0.9), height * random.uniform(0.1, 0.35))
        brush.ellipse(spot, (radius, radius), light)


def draw_street(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    """Draw a road with a car, in front of houses or an open sky."""
    height, width = brush.image.shape[:2]
    if random.random() < 0.6:
        draw_city(random, brush, palette, scale)
    road = height * random.uniform(0.68, 0.8)
    brush.shape(box(-9, road, width + 9, height + 9), palette.scenery())
    dash = 16 * scale
    middle = (road + height) / 2
    for index in range(int(width / dash / 2) + 1):
        start = index * 2 * dash
        brush.line([(start, middle), (start + dash, middle)], palette.bubble, 2 * scale)
    long = min(width * 0.45, random.uniform(45, 80) * scale)
    x, y, high = width * random.uniform(0.0, 0.6), road + 4 * scale, long * 0.2
    paint = palette.cloth()
    brush.shape(
        [
            (x + long * 0.2, y - high),
            (x + long * 0.3, y - 2 * high),
            (x + long * 0.7, y - 2 * high),
            (x + long * 0.82, y - high),
        ],
        palette.bubble,
    )
    brush.shape(box(x, y - high, x + long, y), paint)
    for share in (0.22, 0.78):
        brush.ellipse((x + long * share, y), (high * 0.6, high * 0.6), brush.ink)
        brush.ellipse((x + long * share, y), (high * 0.25, high * 0.25), palette.bubble)


def draw_sea(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    """Draw waves up to a horizon, clouds above."""
    height, width = brush.image.shape[:2]
    horizon = height * random.uniform(0.4, 0.65)
    for _ in range(random.randint(0, 3)):
        _cloud(random, brush, palette, scale)
    brush.shape(box(-9, horizon, width + 9, height + 9), palette.scenery())
    for _ in range(random.randint(8, 20)):
        x, y = width * random.random(), random.uniform(horizon + 4, height)
        half = random.uniform(5, 14) * scale
        brush.line(ellipse_points((x, y), (half, half * 0.4), arc=(200, 340), count=7))


def _tree(
    random: Random, brush: Brush, palette: Palette, x: float, base: float, crown: float
) -> None:
    brush.limb([(x, base), (x, base - crown)], crown * 0.25, palette.scenery())
    leaves = palette.scenery()
    if random.random() < 0.5:
        brush.ellipse((x, base - crown * 1.6), (crown * 0.8, crown), leaves)
        return
    for step in range(3):
        low = base - crown * (0.6 + step * 0.6)
        half = crown * (0.9 - 0.2 * step)
        brush.shape([(x - half, low), (x, low - crown), (x + half, low)], leaves)


def _cloud(random: Random, brush: Brush, palette: Palette, scale: float) -> None:
    height, width = brush.image.shape[:2]
    x, y = width * random.random(), height * random.uniform(0.05, 0.35)
    half = random.uniform(14, 30) * scale
    turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    puff = 1 + 0.16 * np.abs(np.sin(turns * 3.5))
    outline = np.stack([x + np.cos(turns) * half * puff, y + np.sin(turns) * half * 0.4 * puff], 1)
    brush.shape(outline, palette.backdrop())
