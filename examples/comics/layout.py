"""Divides a page into panels by straight, often slanted, cuts."""

from random import Random

import cv2
import numpy as np

from examples.comics.brush import Points


def _half(polygon: Points, normal: Points, offset: float) -> Points:
    """Clip a convex polygon to the side where ``normal @ p <= offset`` (Sutherland-Hodgman)."""
    kept: list[Points] = []
    distances = polygon @ normal - offset
    for index in range(len(polygon)):
        following = (index + 1) % len(polygon)
        here, there = distances[index], distances[following]
        if here <= 0:
            kept.append(polygon[index])
        if (here < 0 < there) or (there < 0 < here):
            share = here / (here - there)
            kept.append(polygon[index] + share * (polygon[following] - polygon[index]))
    return np.array(kept).reshape(-1, 2)


def split(polygon: Points, at: Points, normal: Points, gutter_px: float) -> tuple[Points, Points]:
    """Cut a convex polygon through ``at``; the two parts lie ``gutter_px`` apart."""
    offset = float(at @ normal)
    return (
        _half(polygon, normal, offset - gutter_px / 2),
        _half(polygon, -normal, -offset - gutter_px / 2),
    )


def panel_polygons(random: Random, width_px: int, height_px: int, scale: float) -> list[Points]:
    """Return the panels of a page as convex polygons, ``(n, 2)`` pixel coordinates each.

    Args:
        random: source of the layout.
        width_px: width of the page.
        height_px: height of the page.
        scale: 1.0 for a page of 512 pixels; gutters and margins grow with it.
    """
    margins = [random.uniform(6, 20) * scale for _ in range(4)]
    if random.random() < 0.15:  # a page whose art bleeds over one edge
        margins[random.randrange(4)] = 0.0
    left, top = margins[0], margins[1]
    right, bottom = width_px - margins[2], height_px - margins[3]
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    panels = [np.array(corners, dtype=np.float64)]
    across_px, down_px = random.uniform(4, 9) * scale, random.uniform(5, 14) * scale
    slant = random.choice([0.0, 0.0, 4.0, 10.0])
    wanted = random.choices([1, 2, 3, 4, 5, 6, 7], [1, 2, 5, 7, 7, 5, 2])[0]
    for _ in range(24):
        if len(panels) >= wanted:
            break
        panels.sort(key=lambda p: -cv2.contourArea(p.astype(np.float32)))
        chosen = 0 if random.random() < 0.8 else random.randrange(len(panels))
        parts = _cut(random, panels[chosen], slant, (across_px, down_px), scale)
        if parts is not None:
            panels[chosen : chosen + 1] = parts
    return panels


def _cut(
    random: Random, panel: Points, slant_deg: float, gutters_px: tuple[float, float], scale: float
) -> list[Points] | None:
    """Cut one panel across its longer side, or return None if a part would be too small."""
    low, high = panel.min(axis=0), panel.max(axis=0)
    size = high - low
    rows = random.random() < (0.85 if size[1] > size[0] * 1.05 else 0.2)
    at = low + size * random.uniform(0.36, 0.64)
    turn = np.deg2rad(random.uniform(-slant_deg, slant_deg) + (90 if rows else 0))
    normal = np.array([np.cos(turn), np.sin(turn)])
    parts = split(panel, at, normal, gutters_px[1] if rows else gutters_px[0])
    for part in parts:
        if len(part) < 3:
            return None
        _, sides, _ = cv2.minAreaRect(part.astype(np.float32))
        if min(sides) < 88 * scale or cv2.contourArea(part.astype(np.float32)) < (95 * scale) ** 2:
            return None
    return list(parts)
