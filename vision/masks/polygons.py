"""COCO polygons to run-length encoding, with pycocotools' rasterisation.

Corners lie between pixels: the square 10,10-20,20 covers pixels 10 to 19, that is 100 of them.
Each ring is filled by the even-odd rule; the rings of one annotation are united.
"""

import math
import reprlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.masks.rle import union_of_runs
from vision.masks.runs import Runs, changes_to_runs, check_mask_size

MAX_PARTS = 5_000
MAX_VERTICES = 200_000
MAX_OUTLINE_PX = 500_000
"""Longest outline of one annotation; the rasteriser's memory grows with it."""

_SCALE = 5  # the rasteriser's sub-pixels per pixel
_MAX_EXACT_CROSSING_TEST = 2_000
_FLOATS = (float, np.floating)
_NUMBERS = (int, np.integer, *_FLOATS)


Ring = NDArray[np.float64]
"""A closed ring: x, y, x, y, ... in pixels."""


class PolygonError(ValueError):
    """Polygons that cannot be rasterised safely.

    Attributes:
        rule: The broken rule, such as `polygon.odd`.
        value: The offending part of the input.
        pointer: Where in the list of polygons, as a JSON pointer such as `/0/3`.
    """

    def __init__(self, rule: str, value: object, pointer: str = "") -> None:
        self.rule = rule
        self.value = value
        self.pointer = pointer
        super().__init__(f"{rule} at {pointer or '/'}: {reprlib.repr(value)}")


def polygons_to_rle(polygons: Sequence[Sequence[float]], height: int, width: int) -> bytes:
    """Rasterise the union of polygons exactly as pycocotools does.

    Args:
        polygons: Rings `[x0, y0, x1, y1, ...]` in pixels; parts outside the image are clipped.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

    Returns:
        Canonical compressed COCO counts, ASCII; of an empty mask if no pixel is covered.

    Raises:
        PolygonError: A ring has an odd number of values, fewer than three points, a value that is
            not a finite number or lies further out than four times the image, or there are too
            many parts or points.
        RleError: The image size is not one a mask can have.
    """
    return rings_to_rle(check_polygons(polygons, height, width), height, width)


def rings_to_rle(rings: Sequence[Ring], height: int, width: int) -> bytes:
    """Rasterise the union of rings that `check_polygons` returned for this image size."""
    return union_of_runs([_ring_to_runs(ring, height, width) for ring in rings], height * width)


def check_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> list[Ring]:
    """Check polygons and return each ring as a flat float64 array of x, y, x, y, ...

    Raises:
        PolygonError: See `polygons_to_rle`.
    """
    check_mask_size(height, width)
    if not isinstance(polygons, list | tuple):
        raise PolygonError("polygon.type", type(polygons).__name__)
    if not polygons:
        raise PolygonError("polygon.empty", [])
    if len(polygons) > MAX_PARTS:
        raise PolygonError("polygon.too_many_parts", len(polygons))
    reach = 4.0 * max(height, width)
    rings = [_check_ring(ring, f"/{i}", reach) for i, ring in enumerate(polygons)]
    vertices = sum(len(ring) for ring in rings) // 2
    if vertices > MAX_VERTICES:
        raise PolygonError("polygon.too_many_vertices", vertices)
    outline = sum(_outline_px(ring) for ring in rings)
    if outline > MAX_OUTLINE_PX:
        raise PolygonError("polygon.outline_too_long", round(outline))
    return rings


def ring_area(ring: Ring) -> float:
    """Area by the shoelace formula of a flat ring, in square pixels, never negative."""
    x, y = ring[0::2], ring[1::2]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def crosses_itself(ring: Ring) -> bool:
    """Whether two edges of a flat ring properly cross each other.

    Rings of more than 2,000 points are not examined and count as simple.
    """
    points = ring.reshape(-1, 2)
    points = points[np.any(points != np.roll(points, -1, axis=0), axis=1)]
    if not 4 <= len(points) <= _MAX_EXACT_CROSSING_TEST:
        return False
    start, end = points, np.roll(points, -1, axis=0)
    for i, (a, b) in enumerate(pairwise([*points, points[0]])):
        c, d = start[i + 1 :], end[i + 1 :]
        apart = _side(a, b, c) * _side(a, b, d) < 0
        if np.any(apart & (_side(c, d, a) * _side(c, d, b) < 0)):
            return True
    return False


def _side(a: Ring, b: Ring, point: Ring) -> Ring:
    """Sign of the side of the line a-b on which a point lies."""
    ab, ap = b - a, point - a
    return np.sign(ab[..., 0] * ap[..., 1] - ab[..., 1] * ap[..., 0])


def _ring_to_runs(ring: Ring, height: int, width: int) -> Runs:
    """Rasterise one ring: rleFrPoly of pycocotools, step by step, without its raw buffers.

    https://github.com/ppwwyyxx/cocoapi/blob/master/common/maskApi.c
    """
    corners = (_SCALE * ring.reshape(-1, 2) + 0.5).astype(np.int64)
    u, v = _trace(corners)
    crossed = np.flatnonzero(u[1:] != u[:-1]) + 1
    # A crossing of the middle of a pixel column, at the upper of its two sub-pixels.
    x = (np.minimum(u[crossed], u[crossed - 1]) + 0.5) / _SCALE - 0.5
    y = (np.minimum(v[crossed], v[crossed - 1]) + 0.5) / _SCALE - 0.5
    inside = (np.floor(x) == x) & (x >= 0) & (x <= width - 1)
    rows = np.ceil(np.clip(y[inside], 0, height)).astype(np.int64)
    return changes_to_runs(x[inside].astype(np.int64) * height + rows, height * width)


def _trace(corners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sub-pixels x and y of all edges of a closed ring, each edge with both of its ends."""
    start, end = corners, np.roll(corners, -1, axis=0)
    dx, dy = np.abs(end - start).T
    flat = dx >= dy
    length = np.where(flat, dx, dy)
    # Each edge is computed from its left or upper end, whatever its direction.
    flip = np.where(flat, start[:, 0] > end[:, 0], start[:, 1] > end[:, 1])
    first = np.where(flip[:, None], end, start)
    last = np.where(flip[:, None], start, end)
    rise = np.where(flat, (last - first)[:, 1], (last - first)[:, 0])
    slope = rise / np.maximum(length, 1)

    edge = np.repeat(np.arange(len(corners)), length + 1)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(length + 1) - (length + 1), length + 1)
    step = np.where(flip[edge], length[edge] - step, step)
    along = step + np.where(flat, first[:, 0], first[:, 1])[edge]
    across = np.where(flat, first[:, 1], first[:, 0])[edge] + slope[edge] * step + 0.5
    across = across.astype(np.int64)
    is_flat = flat[edge]
    return np.where(is_flat, along, across), np.where(is_flat, across, along)


def _outline_px(ring: Ring) -> float:
    points = ring.reshape(-1, 2)
    return float(np.abs(points - np.roll(points, -1, axis=0)).max(axis=1).sum())


def _check_ring(ring: Any, pointer: str, reach: float) -> Ring:
    if isinstance(ring, np.ndarray):
        ring = ring.ravel().tolist()
    if not isinstance(ring, list | tuple):
        raise PolygonError("polygon.type", type(ring).__name__, pointer)
    if len(ring) > 2 * MAX_VERTICES:
        raise PolygonError("polygon.too_many_vertices", len(ring) // 2, pointer)
    if set(map(type, ring)) <= {int, float} and all(-reach <= value <= reach for value in ring):
        return _check_length(ring, pointer)
    for i, value in enumerate(ring):
        at = f"{pointer}/{i}"
        if isinstance(value, bool) or not isinstance(value, _NUMBERS):
            raise PolygonError("polygon.value_type", value, at)
        if isinstance(value, _FLOATS) and not math.isfinite(value):
            raise PolygonError("polygon.not_finite", value, at)
        if not -reach <= value <= reach:
            raise PolygonError("polygon.too_far", value, at)
    return _check_length(ring, pointer)


def _check_length(ring: Sequence[float], pointer: str) -> Ring:
    if len(ring) % 2:
        raise PolygonError("polygon.odd", f"{len(ring)} values", pointer)
    if len(ring) < 6:
        raise PolygonError("polygon.too_short", f"{len(ring)} values", pointer)
    return np.array(ring, dtype=np.float64)
