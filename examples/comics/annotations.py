"""COCO polygons of what was drawn, and their masks exactly as pycocotools draws them."""

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from examples.comics.brush import Points

_DECIMALS = 2


def inside(points: Points, width: int, height: int) -> list[float] | None:
    """Flatten a polygon with its corners moved onto the page, or None if it lies outside."""
    low, high = points.min(axis=0), points.max(axis=0)
    if high[0] <= 0 or high[1] <= 0 or low[0] >= width or low[1] >= height:
        return None
    on_page = np.clip(points, 0, (width, height))
    flat: list[float] = on_page.round(_DECIMALS).ravel().tolist()
    return flat


def polygons_to_mask(polygons: list[list[float]], height: int, width: int) -> NDArray[np.bool_]:
    """Draw COCO polygons by pycocotools: bool ``(height, width)``."""
    runs = coco_mask.frPyObjects(polygons, height, width)
    merged = coco_mask.merge(runs)
    # COCO masks are stored by columns; OpenCV's transpose is the fast way to rows
    columns = coco_mask.decode(merged).T
    return np.asarray(cv2.transpose(columns), dtype=np.uint8).view(np.bool_)


def figure_polygons(visible: NDArray[np.bool_]) -> list[list[float]] | None:
    """Return the polygons around a visible region, or None if it has holes worth keeping."""
    x0, y0, w, h = cv2.boundingRect(visible.view(np.uint8))
    part = cv2.copyMakeBorder(
        visible[y0 : y0 + h, x0 : x0 + w].view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT
    )
    # corners of pixels, not their middles: doubled, the outline runs a quarter pixel inside
    double = cv2.resize(part, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, tree = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    polygons: list[list[float]] = []
    for contour, (_, _, _, parent) in zip(contours, tree[0], strict=True):
        area = cv2.contourArea(contour) / 4
        if parent >= 0:
            if area >= 12:
                return None
            continue
        if area < 6:
            continue
        smooth = cv2.approxPolyDP(contour, 1.0, True)[:, 0]
        if len(smooth) < 3:
            continue
        points = (smooth + 0.5) / 2 - 1 + (x0, y0)
        polygons.append(points.round(_DECIMALS).ravel().tolist())
    return polygons or None
