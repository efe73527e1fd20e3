"""Polygons of masks whose rasterisation is the mask again, pixel for pixel.

A polygon runs along the borders between pixels, so every corner is a whole number. COCO unites
the rings of an annotation and has no holes: a mask with a hole cannot be written this way.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.masks import PolygonError, polygons_to_rle, rle_bbox, rle_to_mask

Ring = list[float]


@dataclass(frozen=True)
class Outlines:
    """The borders of a mask, as flat rings `[x0, y0, x1, y1, ...]` in pixels.

    Attributes:
        outer: rings around foreground; neighbours that share only a corner are apart.
        holes: rings around background inside one of those.
    """

    outer: list[Ring]
    holes: list[Ring]


def mask_outlines(mask: NDArray[np.bool_], left: int = 0, top: int = 0) -> Outlines:
    """Trace the borders of a mask.

    Args:
        mask: bool array of shape (height, width).
        left: Added to every x, in pixels.
        top: Added to every y, in pixels.
    """
    padded = np.pad(mask, 1)
    northwest, northeast = padded[:-1, :-1], padded[:-1, 1:]
    southwest, southeast = padded[1:, :-1], padded[1:, 1:]
    is_corner = northwest ^ northeast ^ southwest ^ southeast
    is_saddle = (northwest == southeast) & (northeast == southwest) & (northwest != northeast)

    y, x = np.nonzero(is_corner | is_saddle)
    # Two rings, or two bends of one, meet at a saddle: it counts twice. The first of the two has
    # the edge to the north, and the edge on the side where the foreground is.
    twice = np.where(is_saddle[y, x], 2, 1)
    y, x = np.repeat(y, twice), np.repeat(x, twice)
    second = np.zeros(len(y), dtype=np.int64)
    second[1:] = (y[1:] == y[:-1]) & (x[1:] == x[:-1])
    # Of the two at a saddle, the one whose edge goes east comes later in its row.
    goes_east = np.where(northwest[y, x], second, 1 - second)

    # Corners in one row are joined in pairs, and so are those in one column.
    row_order = np.lexsort((goes_east, x, y))
    column_order = np.lexsort((second, y, x))
    across, along = np.empty_like(row_order), np.empty_like(row_order)
    across[row_order[0::2]], across[row_order[1::2]] = row_order[1::2], row_order[0::2]
    along[column_order[0::2]], along[column_order[1::2]] = column_order[1::2], column_order[0::2]

    outlines = Outlines([], [])
    foreground_after = southeast[y, x]
    xs, ys = (x + left).tolist(), (y + top).tolist()
    next_across, next_along = across.tolist(), along.tolist()
    seen = bytearray(len(xs))
    for start in range(len(xs)):
        if seen[start]:
            continue
        ring: Ring = []
        corner = start
        while not seen[corner]:
            turn = next_across[corner]
            seen[corner] = seen[turn] = 1
            ring += (float(xs[corner]), float(ys[corner]), float(xs[turn]), float(ys[turn]))
            corner = next_along[turn]
        # The first corner of a ring is its top left one: what lies below it tells the kind.
        (outlines.outer if foreground_after[start] else outlines.holes).append(ring)
    return outlines


def rle_outlines(rle: bytes, height: int, width: int) -> Outlines:
    """Trace the borders of a mask given as compressed COCO counts; see `mask_outlines`.

    Raises:
        RleError: The counts do not describe exactly h*w pixels.
    """
    left, top, box_width, box_height = rle_bbox(rle, height, width)
    mask = rle_to_mask(rle, height, width)[top : top + box_height, left : left + box_width]
    return mask_outlines(mask, left, top)


def exact_polygons(rle: bytes, height: int, width: int) -> list[Ring] | None:
    """Polygons that COCO readers rasterise to exactly this mask.

    Args:
        rle: The mask as canonical compressed COCO counts.
        height: Its height in pixels.
        width: Its width in pixels.

    Returns:
        Rings in pixels, or None if there are none: the mask is empty, has holes, or has more
        parts or corners than a reader takes.

    Raises:
        RleError: The counts do not describe exactly h*w pixels.
    """
    outlines = rle_outlines(rle, height, width)
    if outlines.holes or not outlines.outer:
        return None
    try:
        same = polygons_to_rle(outlines.outer, height, width) == rle
    except PolygonError:
        return None
    return outlines.outer if same else None


def one_ring(rle: bytes, height: int, width: int) -> tuple[Ring, Outlines]:
    """A single ring around a mask, for forms that have nothing else; its holes are filled.

    Parts are joined by lines that are walked there and back, which enclose nothing.

    Args:
        rle: The mask as compressed COCO counts, of at least one foreground pixel.
        height: Its height in pixels.
        width: Its width in pixels.

    Returns:
        The ring, which covers the filled mask by the even-odd rule, and the outlines of the mask
        as it is.

    Raises:
        RleError: The counts do not describe exactly h*w pixels.
    """
    outlines = rle_outlines(rle, height, width)
    rings = outlines.outer
    if outlines.holes:
        # What lies in a hole, and has a ring of its own, goes with it.
        outside = np.pad(~rle_to_mask(rle, height, width), 1, constant_values=True)
        _, areas = cv2.connectedComponents(outside.astype(np.uint8), connectivity=8)
        rings = mask_outlines(areas[1:-1, 1:-1] != areas[0, 0]).outer
    first, *others = rings
    ring = list(first)
    for other in others:
        ring += [*first[:2], *other, *other[:2]]
    return ring, outlines
