"""COCO polygons to run-length encoding, with pycocotools' rasterisation.

Corners lie between pixels: the square 10,10-20,20 covers pixels 10 to 19, that is 100 of them.
Each ring is filled by the even-odd rule; the rings of one annotation are united.
"""

import math
import reprlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from vision.masks.choice import count_mask, kernels_fit
from vision.masks.rasterise import ring_to_runs
from vision.masks.runs import Runs, check_mask_size, rle_to_runs, runs_to_rle, union_of_runs

MAX_PARTS = 5_000
MAX_VERTICES = 200_000
MAX_OUTLINE_PX = 500_000
"""Longest outline of one annotation; what the rasteriser finds grows with it."""

_MAX_EXACT_CROSSING_TEST = 2_000
_PAIRS_AT_ONCE = 2**18
# From runs of 2**24 pixels on, the text writer of pycocotools may write past its buffer.
_MAX_PYCOCOTOOLS_PX = 2**24 - 1
_FLOATS = (float, np.floating)
_NUMBERS = (int, np.integer, *_FLOATS)
_PLAIN_NUMBERS = frozenset({int, float})


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
    return runs_to_rle(polygons_to_runs(polygons, height, width))


def polygons_to_runs(polygons: Sequence[Sequence[float]], height: int, width: int) -> Runs:
    """Run lengths of the union of polygons; see `polygons_to_rle`.

    Returns:
        Run lengths in pixels, int64, none of them zero except perhaps the first.

    Raises:
        PolygonError: See `polygons_to_rle`.
        RleError: The image size is not one a mask can have.
    """
    # The kernel checks as much as `check_polygons` does, but cannot say what is wrong.
    if isinstance(polygons, list) and 0 < len(polygons) <= MAX_PARTS:
        check_mask_size(height, width)
        if kernels_fit(height, width):
            rings = [ring for values in polygons if (ring := _plain_ring(values)) is not None]
            if len(rings) == len(polygons):
                runs = _fill_rings_by_kernel(rings, height, width)
                if runs.size:
                    return runs
    return rings_to_runs(check_polygons(polygons, height, width), height, width)


def rings_to_runs(rings: Sequence[Ring], height: int, width: int) -> Runs:
    """Run lengths of the union of rings that `check_polygons` returned for this image size.

    Returns:
        Run lengths in pixels, int64, none of them zero except perhaps the first.
    """
    if count_mask(height, width) or height * width > _MAX_PYCOCOTOOLS_PX:
        return _fill_rings(rings, height, width)
    return rle_to_runs(_pycocotools_rle(rings, height, width), height, width)


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
    rings = []
    vertices, longest_px = 0, 0.0
    for i, values in enumerate(polygons):
        ring = _plain_ring(values)
        low, high = (ring.min(), ring.max()) if ring is not None else (math.nan, math.nan)
        if ring is None or not (-reach <= low and high <= reach):
            ring = _check_ring(values, f"/{i}", reach)
            low, high = ring.min(), ring.max()
        rings.append(ring)
        vertices += len(ring) // 2
        longest_px += len(ring) // 2 * (high - low)
    if vertices > MAX_VERTICES:
        raise PolygonError("polygon.too_many_vertices", vertices)
    # Hardly any annotation could be too long: then its edges need not be measured one by one.
    if longest_px > MAX_OUTLINE_PX:
        outline = sum(_outline_px(ring) for ring in rings)
        if outline > MAX_OUTLINE_PX:
            raise PolygonError("polygon.outline_too_long", round(outline))
    return rings


def ring_area(ring: Ring) -> float:
    """Area by the shoelace formula of a flat ring, in square pixels, never negative."""
    x, y = ring[0::2], ring[1::2]
    twice = np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:]) + x[-1] * y[0] - y[-1] * x[0]
    return abs(float(twice)) / 2


def crosses_itself(ring: Ring) -> bool:
    """Whether two edges of a flat ring properly cross each other.

    Rings of more than 2,000 points are not examined and count as simple.
    """
    points = ring.reshape(-1, 2)
    points = points[np.any(points != np.roll(points, -1, axis=0), axis=1)]
    count = len(points)
    if not 4 <= count <= _MAX_EXACT_CROSSING_TEST:
        return False
    x, y = points.T
    along_x, along_y = np.roll(x, -1) - x, np.roll(y, -1) - y
    parted = np.empty((count, count), dtype=np.bool_)
    rows = max(1, _PAIRS_AT_ONCE // count)
    for first in range(0, count, rows):
        part = slice(first, first + rows)
        # On which side of each edge's line each point lies.
        side = along_x[part, None] * (y - y[part, None]) - along_y[part, None] * (x - x[part, None])
        sign = np.sign(side).astype(np.int8)
        # Whether the line of an edge parts the ends of another edge.
        parted[part] = sign * np.roll(sign, -1, axis=1) < 0
    return bool((parted & parted.T).any())


def _outline_px(ring: Ring) -> float:
    points = ring.reshape(-1, 2)
    return float(np.abs(points - np.roll(points, -1, axis=0)).max(axis=1).sum())


def _fill_rings(rings: Sequence[Ring], height: int, width: int) -> Runs:
    if kernels_fit(height, width):
        runs = _fill_rings_by_kernel(rings, height, width)
        if runs.size:
            return runs
    return union_of_runs([ring_to_runs(ring, height, width) for ring in rings], height * width)


def _fill_rings_by_kernel(rings: Sequence[Ring], height: int, width: int) -> Runs:
    from vision.masks.kernels import fill_rings

    points = rings[0] if len(rings) == 1 else np.concatenate(rings)
    ends = np.array(list(accumulate(map(len, rings))))
    return fill_rings(points, ends, height, width, MAX_OUTLINE_PX)


def _pycocotools_rle(rings: Sequence[Ring], height: int, width: int) -> bytes:
    merged = coco_mask.merge(coco_mask.frPyObjects(list(rings), height, width))
    return bytes(merged["counts"])


def _plain_ring(values: Any) -> Ring | None:
    """Convert what nearly every ring is, a list of Python numbers; anything else is None."""
    if not isinstance(values, list) or len(values) % 2 or not 6 <= len(values) <= 2 * MAX_VERTICES:
        return None
    if not _PLAIN_NUMBERS.issuperset(map(type, values)):
        return None
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:  # an integer of hundreds of digits
        return None


def _check_ring(ring: Any, pointer: str, reach: float) -> Ring:
    if isinstance(ring, np.ndarray):
        ring = ring.ravel().tolist()
    if not isinstance(ring, list | tuple):
        raise PolygonError("polygon.type", type(ring).__name__, pointer)
    if len(ring) > 2 * MAX_VERTICES:
        raise PolygonError("polygon.too_many_vertices", len(ring) // 2, pointer)
    for i, value in enumerate(ring):
        at = f"{pointer}/{i}"
        if isinstance(value, bool) or not isinstance(value, _NUMBERS):
            raise PolygonError("polygon.value_type", value, at)
        if isinstance(value, _FLOATS) and not math.isfinite(value):
            raise PolygonError("polygon.not_finite", value, at)
        if not -reach <= value <= reach:
            raise PolygonError("polygon.too_far", value, at)
    if len(ring) % 2:
        raise PolygonError("polygon.odd", f"{len(ring)} values", pointer)
    if len(ring) < 6:
        raise PolygonError("polygon.too_short", f"{len(ring)} values", pointer)
    return np.array(ring, dtype=np.float64)
