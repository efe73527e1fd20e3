"""Outlines of masks, as point lists and as SVG paths."""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

# OpenCV's contours run through pixel centres, so a line one pixel wide would enclose nothing.
# Tracing the mask at twice its size puts them a quarter of a pixel inside the real border.
_OVERSAMPLING = 2


class Box(NamedTuple):
    """An upright rectangle: left, top, width, height, in the caller's pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Width times height."""
        return self.width * self.height


def mask_box(mask: Mask) -> Box | None:
    """Smallest box around the set pixels of `mask` (h, w), or None when there are none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return Box(
        int(columns[0]),
        int(rows[0]),
        int(columns[-1] - columns[0] + 1),
        int(rows[-1] - rows[0] + 1),
    )


def mask_outlines(mask: Mask, tolerance_px: float = 0.6) -> list[Points]:
    """Trace the borders of a mask, holes included.

    Args:
        mask: bool (h, w).
        tolerance_px: how far a simplified outline may stray from the traced one.

    Returns:
        Closed outlines, float64 (n, 2) as (x, y) in pixels with the picture's corner at (0, 0).
        Fill them with the even-odd rule: a hole is an outline inside another.
    """
    box = mask_box(mask)
    if box is None:
        return []
    left, top = int(box.x), int(box.y)
    window = mask[top : top + int(box.height), left : left + int(box.width)].astype(np.uint8)
    window = window.repeat(_OVERSAMPLING, axis=0).repeat(_OVERSAMPLING, axis=1)
    contours, _ = cv2.findContours(window, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines = []
    for contour in contours:
        simple = cv2.approxPolyDP(contour, tolerance_px * _OVERSAMPLING, True)
        if len(simple) < 3:
            simple = contour
        points = (simple.reshape(-1, 2).astype(np.float64) + 0.5) / _OVERSAMPLING
        outlines.append(points + np.array([left, top]))
    return outlines


def svg_path(outlines: list[Points], scale: float = 1.0) -> str:
    """Write outlines as the `d` attribute of an SVG path, with one decimal.

    Args:
        outlines: as returned by `mask_outlines`.
        scale: SVG units per pixel.
    """
    parts = []
    for outline in outlines:
        points = " ".join(f"{_short(x * scale)},{_short(y * scale)}" for x, y in outline)
        parts.append(f"M{points}Z")
    return "".join(parts)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
