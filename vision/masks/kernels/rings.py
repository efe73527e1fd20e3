"""Rings to run lengths; `vision.masks.rasterise` is the same algorithm in numpy."""

import math

import numpy as np
from numpy.typing import NDArray

from vision.masks.kernels.compiled import compiled

_SCALE = 5
_MIDDLE = 2
_MAX_RINGS = 64
_MAX_VALUES = 400_000
_MAX_CROSSINGS_OF_COLUMN = 64  # of one ring: they are sorted by insertion
_SMALLEST = 256

Integers = NDArray[np.int64]


@compiled
def _crossings(ring: NDArray[np.float64], height: int, width: int) -> tuple[Integers, Integers]:
    """Columns whose middle the outline crosses, and the rows below the crossings."""
    found = np.empty((2, _SMALLEST), dtype=np.int64)
    count = 0
    corners = ring.size // 2
    start_x = int(_SCALE * ring[0] + 0.5)
    start_y = int(_SCALE * ring[1] + 0.5)
    for corner in range(1, corners + 1):
        at = 0 if corner == corners else 2 * corner
        end_x = int(_SCALE * ring[at] + 0.5)
        end_y = int(_SCALE * ring[at + 1] + 0.5)
        x0, y0, x1, y1 = start_x, start_y, end_x, end_y
        start_x, start_y = end_x, end_y
        first = max((min(x0, x1) + _SCALE - 1 - _MIDDLE) // _SCALE, 0)
        last = min((max(x0, x1) - 1 - _MIDDLE) // _SCALE, width - 1)
        if first > last:
            continue
        if count + last - first + 1 > found.shape[1]:
            larger = np.empty((2, 2 * (count + last - first + 1)), dtype=np.int64)
            larger[:, :count] = found[:, :count]
            found = larger
        flat = abs(x1 - x0) >= abs(y1 - y0)
        if (flat and x0 > x1) or (not flat and y0 > y1):
            x0, y0, x1, y1 = x1, y1, x0, y0
        slope = (y1 - y0) / (x1 - x0) if flat else (x1 - x0) / (y1 - y0)
        for column in range(first, last + 1):
            left = _SCALE * column + _MIDDLE
            if flat:
                step = left - x0
                before = int(y0 + slope * step + 0.5)
                after = int(y0 + slope * (step + 1) + 0.5)
                upper = min(before, after)
            else:
                right = left + 1
                step = math.ceil((right - 0.5 - x0) / slope)
                if slope > 0:
                    while x0 + slope * (step - 1) + 0.5 >= right:
                        step -= 1
                    while x0 + slope * step + 0.5 < right:
                        step += 1
                else:
                    while x0 + slope * (step - 1) + 0.5 < right:
                        step -= 1
                    while x0 + slope * step + 0.5 >= right:
                        step += 1
                upper = y0 + step - 1
            found[0, count] = column
            found[1, count] = min(max((upper + _MIDDLE) // _SCALE, 0), height)
            count += 1
    return found[0, :count], found[1, :count]


@compiled
def _sorted_places(columns: Integers, rows: Integers, height: int) -> Integers:
    """Crossings as column * height + row; empty for more in a column than are sorted quickly."""
    out = np.empty(columns.size, dtype=np.int64)
    low = columns.min()
    starts = np.zeros(columns.max() - low + 2, dtype=np.int64)
    for column in columns:
        starts[column - low + 1] += 1
    for i in range(1, starts.size):
        if starts[i] > _MAX_CROSSINGS_OF_COLUMN:
            return out[:0]
        starts[i] += starts[i - 1]
    for i in range(columns.size):
        out[starts[columns[i] - low]] = columns[i] * height + rows[i]
        starts[columns[i] - low] += 1
    for i in range(1, out.size):
        place = out[i]
        at = i
        while at > 0 and out[at - 1] > place:
            out[at] = out[at - 1]
            at -= 1
        out[at] = place
    return out


@compiled
def _without_pairs(places: Integers, total: int) -> Integers:
    """Drop places that occur an even number of times, and those past the last pixel."""
    kept = 0
    i = 0
    while i < places.size:
        run = 1
        while i + run < places.size and places[i + run] == places[i]:
            run += 1
        if run % 2 and places[i] < total:
            places[kept] = places[i]
            kept += 1
        i += run
    return places[:kept]


@compiled
def _union(first: Integers, second: Integers) -> Integers:
    """Where the union of two masks flips, given where each of them does."""
    out = np.empty(first.size + second.size, dtype=np.int64)
    count = i = j = 0
    was_inside = False
    while i < first.size or j < second.size:
        if j == second.size or (i < first.size and first[i] <= second[j]):
            place = first[i]
        else:
            place = second[j]
        if i < first.size and first[i] == place:
            i += 1
        if j < second.size and second[j] == place:
            j += 1
        inside = i % 2 == 1 or j % 2 == 1
        if inside != was_inside:
            out[count] = place
            count += 1
            was_inside = inside
    return out[:count]


@compiled
def fill_rings(
    points: NDArray[np.float64], ends: Integers, height: int, width: int, max_outline_px: float
) -> Integers:
    """Rasterise the union of rings.

    Args:
        points: The rings x, y, x, y, ... one after the other, in pixels.
        ends: For each ring the number of values up to its end.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        max_outline_px: How long all outlines together may be.

    Returns:
        Run lengths in pixels; empty where the numpy code must do it, and for rings that
        `check_polygons` refuses.
    """
    total = height * width
    nothing = np.empty(0, dtype=np.int64)
    if not 0 < ends.size <= _MAX_RINGS or points.size > _MAX_VALUES or ends[-1] != points.size:
        return nothing
    reach = 4.0 * max(height, width)
    for value in points:
        if not -reach <= value <= reach:
            return nothing
    outline_px = 0.0
    flips = nothing
    begin = 0
    for end in ends:
        if end > points.size or end - begin < 6 or (end - begin) % 2:
            return nothing
        for i in range(begin, end, 2):
            before = end - 2 if i == begin else i - 2
            across = abs(points[i] - points[before])
            outline_px += max(across, abs(points[i + 1] - points[before + 1]))
        if outline_px > max_outline_px:
            return nothing
        columns, rows = _crossings(points[begin:end], height, width)
        begin = end
        if columns.size == 0:
            continue
        ordered = _sorted_places(columns, rows, height)
        if ordered.size == 0:
            return nothing
        places = _without_pairs(ordered, total)
        flips = places if flips.size == 0 else _union(flips, places)
    runs = np.empty(flips.size + 1, dtype=np.int64)
    place = 0
    for i in range(flips.size):
        runs[i] = flips[i] - place
        place = flips[i]
    runs[flips.size] = total - place
    return runs
