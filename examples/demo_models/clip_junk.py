"""Masks as an automatic mask generator gets them: objects a bit off, and masks of nothing.

Nothing here decides what a mask is worth; that is measured against the page afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.comics import Page

Mask = NDArray[np.bool_]
Rng = np.random.Generator


def nearly(mask: Mask, page: Page, rng: Rng) -> Mask:
    """An object's mask with a loose outline, sometimes without what lies on the object."""
    changed: NDArray[Any] = mask.astype(np.uint8)
    if rng.random() < 0.3:
        for other in page.objects:
            on_top = other.mask & mask
            if other.mask is not mask and on_top.sum() > 0.8 * other.mask.sum():
                changed[on_top] = 0
    radius = int(rng.integers(0, max(2, int(0.03 * np.sqrt(mask.sum())) + 1)))
    if radius:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
        operation = rng.choice([cv2.MORPH_DILATE, cv2.MORPH_ERODE, cv2.MORPH_CLOSE, cv2.MORPH_OPEN])
        changed = cv2.morphologyEx(changed, int(operation), kernel)
    if rng.random() < 0.3:
        changed = cv2.medianBlur(changed, int(rng.choice([3, 5, 7])))
    return changed.astype(bool)


def flooded(page: Page, rng: Rng) -> Mask:
    """A region of one colour: hair, a wall, a sky, a gap between panels."""
    height, width = page.image.shape[:2]
    image = page.image.copy()
    if rng.random() < 0.7:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.7, 3))), np.uint8)
    filled = np.zeros((height + 2, width + 2), np.uint8)
    seed_xy = (int(rng.integers(width)), int(rng.integers(height)))
    tolerance = (float(rng.uniform(2, 30)),) * 3
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | (255 << 8)
    cv2.floodFill(image, filled, seed_xy, 0, tolerance, tolerance, flags)
    region: NDArray[Any] = filled[1:-1, 1:-1]
    if rng.random() < 0.7:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(rng.choice([3, 5, 9])),) * 2)
        region = cv2.morphologyEx(region, cv2.MORPH_CLOSE, kernel)
    return region.astype(bool)


def cut(page: Page, rng: Rng) -> Mask:
    """One side of an object."""
    mask = _any_object(page, rng)
    rows, columns = np.nonzero(mask)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * columns + np.sin(angle) * rows
    kept = along < np.quantile(along, rng.uniform(0.12, 0.6))
    part = np.zeros_like(mask)
    part[rows[kept], columns[kept]] = True
    return part


def patch(page: Page, rng: Rng) -> Mask:
    """A blob of an object: what falls into an ellipse around one of its points."""
    mask = _any_object(page, rng)
    rows, columns = np.nonzero(mask)
    at = int(rng.integers(len(rows)))
    size = np.sqrt(len(rows)) * rng.uniform(0.15, 0.6, 2)
    ellipse = np.zeros(mask.shape, np.uint8)
    axes = (max(int(size[0]), 2), max(int(size[1]), 2))
    center = (int(columns[at]), int(rows[at]))
    cv2.ellipse(ellipse, center, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    inside: Mask = mask & ellipse.astype(bool)
    return inside


def shifted(page: Page, rng: Rng) -> Mask:
    """An object's outline in the wrong place."""
    mask = _any_object(page, rng)
    rows, columns = np.nonzero(mask)
    size = np.array([np.ptp(columns) + 1, np.ptp(rows) + 1])
    dx, dy = rng.uniform(0.3, 0.9, 2) * rng.choice([-1, 1], 2) * size
    if rng.random() < 0.5:
        dx, dy = (dx, 0.0) if rng.random() < 0.5 else (0.0, dy)
    move = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    height, width = mask.shape
    return cv2.warpAffine(mask.astype(np.uint8), move, (width, height)).astype(bool)


def merged(page: Page, rng: Rng) -> Mask:
    """Two to four neighbours as one thing, as they are or with what lies between them."""
    first = _any_object(page, rng)
    apart = [o.mask for o in page.objects if (o.mask & first).sum() < 0.3 * o.mask.sum()]
    apart = [mask for mask in apart if (mask & first).sum() < 0.3 * first.sum()]
    center = _center_xy(first)
    apart.sort(key=lambda mask: float(np.linalg.norm(_center_xy(mask) - center)))
    chosen = rng.permutation(len(apart[:6]))[: int(rng.integers(1, 4))]
    union: Mask = np.logical_or.reduce([first, *(apart[int(index)] for index in chosen)])
    if rng.random() < 0.4:
        points = cv2.findNonZero(union.astype(np.uint8))
        hull = np.zeros(union.shape, np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
        union = hull.astype(bool)
    return union


def remainder(page: Page, rng: Rng) -> Mask:
    """What objects leave over: the gutters, or a panel without all that lies on it."""
    panels = [o.mask for o in page.objects if o.category == "panel"]
    if not panels or rng.random() < 0.3:
        rest: Mask = ~np.logical_or.reduce([o.mask for o in page.objects])
        return rest
    panel = panels[int(rng.integers(len(panels)))]
    others = [o.mask for o in page.objects if o.category != "panel"]
    rest = panel & ~np.logical_or.reduce([np.zeros_like(panel), *others])
    count, parts = cv2.connectedComponents(rest.astype(np.uint8))
    if count > 2 and rng.random() < 0.5:
        return np.asarray(parts == int(rng.integers(1, count)))
    return rest


def anywhere(page: Page, rng: Rng) -> Mask:
    """A rectangle or an ellipse of any size in any place."""
    height, width = page.image.shape[:2]
    drawn = np.zeros((height, width), np.uint8)
    x, y = int(rng.integers(width)), int(rng.integers(height))
    w, h = (np.exp(rng.uniform(np.log(6), np.log(0.5 * width), 2))).astype(int)
    if rng.random() < 0.6:
        cv2.rectangle(drawn, (x - w // 2, y - h // 2), (x + w // 2, y + h // 2), 1, -1)
    else:
        axes = (int(w) // 2 + 1, int(h) // 2 + 1)
        cv2.ellipse(drawn, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return drawn.astype(bool)


JUNK: tuple[tuple[Callable[[Page, Rng], Mask], float], ...] = (
    (flooded, 0.30),
    (cut, 0.15),
    (patch, 0.12),
    (shifted, 0.08),
    (merged, 0.13),
    (remainder, 0.08),
    (anywhere, 0.14),
)
"""Makers of masks that are mostly of nothing, and how often each is used."""


def junk(page: Page, rng: Rng) -> Mask:
    """A mask from one of the makers."""
    makers, shares = zip(*JUNK, strict=True)
    maker = makers[int(rng.choice(len(makers), p=np.array(shares) / sum(shares)))]
    mask: Mask = maker(page, rng)
    return mask


def _any_object(page: Page, rng: Rng) -> Mask:
    """An object of any category: lines of text would outnumber all others."""
    categories = sorted({o.category for o in page.objects})
    category = categories[int(rng.integers(len(categories)))]
    masks = [o.mask for o in page.objects if o.category == category]
    return masks[int(rng.integers(len(masks)))]


def _center_xy(mask: Mask) -> NDArray[np.float64]:
    """Middle of a mask's box."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return np.array([x + width / 2, y + height / 2])
