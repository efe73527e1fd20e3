"""Rings to run lengths, with the crossings pycocotools finds but without its walk.

rleFrPoly of pycocotools walks along every edge in fifths of a pixel and keeps the steps that cross
the middle of a pixel column. Here each edge is asked for those steps alone, by the same floating
point expressions: https://github.com/ppwwyyxx/cocoapi/blob/master/common/maskApi.c
`vision.masks.kernels.rings` has the same algorithm compiled.
"""

import numpy as np
from numpy.typing import NDArray

from vision.masks.runs import Runs, changes_to_runs

_SCALE = 5  # the rasteriser's sub-pixels per pixel
_MIDDLE = 2  # the last sub-pixel left of a pixel's middle


def ring_to_runs(ring: NDArray[np.float64], height: int, width: int) -> Runs:
    """Fill a ring by the even-odd rule.

    Args:
        ring: Flat ring x, y, x, y, ... in pixels, as `check_polygons` returns it.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

    Returns:
        Run lengths in pixels, column by column.
    """
    corners = (_SCALE * ring.reshape(-1, 2) + 0.5).astype(np.int64)
    x0, y0 = corners.T
    x1, y1 = np.concatenate((corners[1:], corners[:1])).T
    left, right = np.minimum(x0, x1), np.maximum(x0, x1)
    first = np.maximum((left + _SCALE - 1 - _MIDDLE) // _SCALE, 0)
    last = np.minimum((right - 1 - _MIDDLE) // _SCALE, width - 1)
    columns = np.maximum(last - first + 1, 0)
    edge = np.repeat(np.arange(len(columns)), columns)
    column = np.arange(len(edge)) + (first - np.cumsum(columns) + columns)[edge]

    x0, y0, x1, y1 = x0[edge], y0[edge], x1[edge], y1[edge]
    flat = np.abs(x1 - x0) >= np.abs(y1 - y0)
    # Each edge is computed from its left or upper end, whatever its direction.
    flip = np.where(flat, x0 > x1, y0 > y1)
    x0, x1 = np.where(flip, x1, x0), np.where(flip, x0, x1)
    y0, y1 = np.where(flip, y1, y0), np.where(flip, y0, y1)
    upper = np.empty(len(edge), dtype=np.int64)
    steep = ~flat
    upper[flat] = _upper_on_flat_edges(column[flat], x0[flat], y0[flat], x1[flat], y1[flat])
    upper[steep] = _upper_on_steep_edges(column[steep], x0[steep], y0[steep], x1[steep], y1[steep])
    rows = np.clip((upper + _MIDDLE) // _SCALE, 0, height)
    return changes_to_runs(column * height + rows, height * width)


def _upper_on_flat_edges(column: Runs, x0: Runs, y0: Runs, x1: Runs, y1: Runs) -> Runs:
    """The upper of the two sub-pixels beside the middle of a column, on edges with dx >= dy."""
    slope = (y1 - y0) / (x1 - x0)
    step = _SCALE * column + _MIDDLE - x0
    before = (y0 + slope * step + 0.5).astype(np.int64)
    after = (y0 + slope * (step + 1) + 0.5).astype(np.int64)
    upper: Runs = np.minimum(before, after)
    return upper


def _upper_on_steep_edges(column: Runs, x0: Runs, y0: Runs, x1: Runs, y1: Runs) -> Runs:
    """The same on edges with dx < dy, whose sub-pixels are one row apart."""
    slope = (x1 - x0) / (y1 - y0)
    right = _SCALE * column + _MIDDLE + 1
    rises = slope > 0

    def crossed(step: Runs) -> NDArray[np.bool_]:
        beyond: NDArray[np.bool_] = (x0 + slope * step + 0.5 >= right) == rises
        return beyond

    step = np.ceil((right - 0.5 - x0) / slope).astype(np.int64)
    # The division may round to a neighbour of the first step across.
    while np.any(late := crossed(step - 1)):
        step -= late
    while np.any(early := ~crossed(step)):
        step += early
    return y0 + step - 1
