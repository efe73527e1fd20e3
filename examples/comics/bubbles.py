"""Speech bubbles, thought bubbles and captions with their lines of lettering."""

from dataclasses import dataclass
from random import Random

import numpy as np

from examples.comics.brush import Brush, Color, Point, Points, ellipse_points
from examples.comics.lettering import (
    Coverage,
    Style,
    column_coverage,
    line_coverage,
    phrase,
    stamp,
)


@dataclass(frozen=True)
class TextBlock:
    """Lines of lettering set as one block.

    Attributes:
        lines: coverage of each line and the offset of its top left corner in the block, pixels.
        width_px: width of the block.
        height_px: height of the block.
    """

    lines: list[tuple[Coverage, int, int]]
    width_px: int
    height_px: int


def set_text(random: Random, style: Style, widest_px: float, tallest_px: float) -> TextBlock | None:
    """Set some words in centred lines (or signs in columns), or None where nothing fits."""
    step = round(style.size_px * random.uniform(1.5, 1.8)) + 1
    if style.face == "signs":
        return _set_columns(random, style, widest_px, tallest_px)
    words = phrase(random, style.capitals)
    goal = min(widest_px, style.size_px * random.uniform(5, 11))
    lines: list[list[str]] = [[]]
    for word in words:
        longer = sum(len(w) + 1 for w in lines[-1]) + len(word)
        if lines[-1] and longer * style.size_px * 0.8 > goal:
            lines.append([])
        lines[-1].append(word)
    inks = [line_coverage(line, style) for line in lines]
    width = max(ink.shape[1] for ink in inks)
    height = step * (len(inks) - 1) + inks[-1].shape[0]
    if width > widest_px or height > tallest_px:
        return None
    placed = [(ink, (width - ink.shape[1]) // 2, step * i) for i, ink in enumerate(inks)]
    return TextBlock(placed, width, height)


def _set_columns(
    random: Random, style: Style, widest_px: float, tallest_px: float
) -> TextBlock | None:
    """Set columns from right to left, as Japanese is."""
    size = round(style.size_px * 1.3)
    step = round(size * random.uniform(1.4, 1.7)) + 1
    longest = int(min(7, tallest_px // (size * 1.12)))
    columns = min(random.randint(1, 4), int(widest_px // step))
    if longest < 2 or columns < 1:
        return None
    inks = [column_coverage(random, random.randint(2, longest), style) for _ in range(columns)]
    width = step * (columns - 1) + size
    placed = [(ink, width - size - step * i, 0) for i, ink in enumerate(inks)]
    return TextBlock(placed, width, max(ink.shape[0] for ink in inks))


@dataclass(frozen=True)
class Bubble:
    """A bubble without its place on the page.

    Attributes:
        kind: "speech", "shout", "thought", "wobbly", or "caption".
        outline: ``(n, 2)`` points around the origin, pixels.
        half_width_px: half the width of the outline.
        half_height_px: half the height of the outline.
        text: what is written in it.
    """

    kind: str
    outline: Points
    half_width_px: float
    half_height_px: float
    text: TextBlock


def shape_bubble(random: Random, text: TextBlock, style: Style) -> Bubble:
    """Draw a kind of bubble and fit it around a block of text."""
    kind = random.choices(["speech", "shout", "thought", "wobbly", "caption"], [6, 2, 2, 2, 2])[0]
    pad = style.size_px * random.uniform(0.5, 1.0)
    half_w, half_h = text.width_px / 2 + pad, text.height_px / 2 + pad
    if kind == "caption":
        outline = np.array(
            [(-half_w, -half_h), (half_w, -half_h), (half_w, half_h), (-half_w, half_h)]
        )
        return Bubble(kind, outline, half_w, half_h, text)
    squareness = random.uniform(2.0, 4.5)  # 2 is an ellipse, more is a rounded box
    # the corner of the text block must lie inside |x/a|^p + |y/b|^p = 1
    grow = 2 ** (1 / squareness) * 0.97
    half_w, half_h = half_w * grow, half_h * grow
    count = 72
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False)
    cos, sin = np.cos(turns), np.sin(turns)
    power = 2 / squareness
    points = np.stack(
        [
            np.sign(cos) * np.abs(cos) ** power * half_w,
            np.sign(sin) * np.abs(sin) ** power * half_h,
        ],
        axis=1,
    )
    if kind == "shout":
        spikes = random.randint(9, 14)
        wave = np.abs(((turns * spikes / np.pi) % 2) - 1)
        points *= (1.06 + random.uniform(0.22, 0.4) * wave)[:, None]
    elif kind == "thought":
        lobes = random.randint(7, 11)
        points *= (1.03 + 0.14 * np.abs(np.sin(turns * lobes / 2)))[:, None]
    elif kind == "wobbly":
        points *= (1.05 + 0.04 * np.sin(turns * random.randint(5, 9) + random.random()))[:, None]
    low, high = points.min(axis=0), points.max(axis=0)
    half = np.maximum(-low, high)
    return Bubble(kind, points, float(half[0]), float(half[1]), text)


def draw_bubble(
    random: Random, brush: Brush, bubble: Bubble, at: Point, speaker: Point | None, fill: Color
) -> list[Points]:
    """Draw a bubble and its tail; return the polygons that together cover it, in pixels."""
    center = np.asarray(at)
    outline = bubble.outline + center
    extra: list[Points] = []
    if speaker is not None and bubble.kind == "thought":
        toward = np.asarray(speaker) - center
        for share, size in ((0.75, 0.16), (0.95, 0.1)):
            radius = size * bubble.half_height_px + 2 * brush.line_px
            edge = toward / max(1.0, float(np.hypot(*toward)))
            spot = center + edge * (_reach(bubble, toward) + (share - 0.6) * radius * 12)
            extra.append(ellipse_points((spot[0], spot[1]), (radius * 1.2, radius), count=16))
    elif speaker is not None and bubble.kind != "caption":
        outline = _with_tail(random, bubble, center, np.asarray(speaker))
    for part in [outline, *extra]:
        brush.shape(part, fill)
    return [outline, *extra]


def _reach(bubble: Bubble, toward: Points) -> float:
    """Return how far the outline is from its centre in a direction, in pixels."""
    away = np.arctan2(bubble.outline[:, 1], bubble.outline[:, 0])
    wanted = np.arctan2(toward[1], toward[0])
    nearest = np.abs(np.angle(np.exp(1j * (away - wanted)))).argmin()
    return float(np.hypot(*bubble.outline[nearest]))


def _with_tail(random: Random, bubble: Bubble, center: Points, speaker: Points) -> Points:
    """Return the outline with a pointed tail toward the speaker, who is not reached."""
    toward = speaker - center
    distance = float(np.hypot(*toward))
    reach = _reach(bubble, toward)
    if distance < reach * 1.1:
        return bubble.outline + center
    small = min(bubble.half_width_px, bubble.half_height_px)
    length = min(distance * 0.8, reach + small * random.uniform(0.5, 1.1))
    tip = center + toward / distance * max(length, reach * 1.15)
    away = np.arctan2(bubble.outline[:, 1], bubble.outline[:, 0])
    wanted = np.arctan2(toward[1], toward[0])
    turn = np.angle(np.exp(1j * (away - wanted)))
    opening = min(0.5, 0.22 * small / max(reach, 1.0) + 0.06)
    keep = np.abs(turn) > opening
    order = np.argsort(np.where(turn[keep] > 0, turn[keep], turn[keep] + 2 * np.pi))
    return np.vstack([bubble.outline[keep][order] + center, tip])


def draw_text(
    brush: Brush, text: TextBlock, at: Point, color: Color, pad_px: float
) -> list[Points]:
    """Draw a block of text centred at a point; return one box per line, ``(4, 2)`` pixels."""
    left, top = round(at[0] - text.width_px / 2), round(at[1] - text.height_px / 2)
    boxes: list[Points] = []
    for ink, dx, dy in text.lines:
        x, y = left + dx, top + dy
        stamp(brush.image, ink, x, y, color)
        height, width = ink.shape
        x0, y0, x1, y1 = x - pad_px, y - pad_px, x + width + pad_px, y + height + pad_px
        boxes.append(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=np.float64))
    return boxes
