"""Anti-aliased drawing with sub-pixel points, on the picture and on a map of figures at once."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
Point = tuple[float, float]
Points = NDArray[np.float64]

_SHIFT = 4  # cv2 takes fixed-point coordinates: 4 binary places


def fixed(points: Points | Sequence[Point]) -> NDArray[np.int32]:
    """Turn ``(n, 2)`` pixel coordinates into the fixed-point integers that cv2 draws with."""
    scaled = np.asarray(points, dtype=np.float64) * (1 << _SHIFT)
    return np.rint(scaled).astype(np.int32)


def ellipse_points(
    center: Point, axes: Point, angle_deg: float = 0.0, arc: Point = (0.0, 360.0), count: int = 36
) -> Points:
    """Return ``(count, 2)`` points on an ellipse; axes are half lengths in pixels."""
    turns = np.deg2rad(np.linspace(arc[0], arc[1], count, endpoint=abs(arc[1] - arc[0]) < 360))
    local = np.stack([np.cos(turns) * axes[0], np.sin(turns) * axes[1]], axis=1)
    moved: Points = rotate(local, angle_deg) + np.asarray(center)
    return moved


def rotate(points: Points, angle_deg: float) -> Points:
    """Turn points about the origin, clockwise on the picture (y points down)."""
    cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    turned: Points = np.asarray(points) @ np.array([[cos, sin], [-sin, cos]])
    return turned


class Brush:
    """Draws on an RGB picture; while ``figure`` is set, also marks the figure map.

    Attributes:
        image: uint8 ``(h, w, 3)`` RGB, drawn in place.
        figures: uint8 ``(h, w)`` figure numbers, 0 is no figure, drawn in place.
        figure: the number that filled shapes write to ``figures``; 0 writes nothing.
        ink: the colour of outlines.
        line_px: width of outlines in pixels.
    """

    def __init__(
        self, image: NDArray[Any], figures: NDArray[Any], ink: Color, line_px: int = 1
    ) -> None:
        self.image = image
        self.figures = figures
        self.figure = 0
        self.ink = ink
        self.line_px = line_px

    def shape(
        self, points: Points | Sequence[Point], color: Color | None, outline: bool = True
    ) -> None:
        """Fill a closed polygon and draw its outline; it becomes part of the current figure."""
        exact = fixed(points)
        if color is not None:
            cv2.fillPoly(self.image, [exact], color, cv2.LINE_AA, _SHIFT)
        if outline:
            cv2.polylines(self.image, [exact], True, self.ink, self.line_px, cv2.LINE_AA, _SHIFT)
        if self.figure:
            cv2.fillPoly(self.figures, [exact], self.figure, cv2.LINE_8, _SHIFT)
            if outline and self.line_px > 1:
                cv2.polylines(
                    self.figures, [exact], True, self.figure, self.line_px, cv2.LINE_8, _SHIFT
                )

    def ellipse(
        self,
        center: Point,
        axes: Point,
        color: Color | None,
        angle_deg: float = 0.0,
        outline: bool = True,
    ) -> None:
        """Fill an ellipse; it becomes part of the current figure."""
        count = 16 if max(axes) < 12 else 32
        self.shape(ellipse_points(center, axes, angle_deg, count=count), color, outline)

    def limb(self, points: Points | Sequence[Point], width_px: float, color: Color) -> None:
        """Draw a thick open line with an outline, such as an arm or a leg."""
        exact = [fixed(points)]
        inner = max(1, round(width_px))
        outer = inner + 2 * self.line_px
        cv2.polylines(self.image, exact, False, self.ink, outer, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self.image, exact, False, color, inner, cv2.LINE_AA, _SHIFT)
        if self.figure:
            cv2.polylines(self.figures, exact, False, self.figure, outer, cv2.LINE_8, _SHIFT)

    def line(
        self,
        points: Points | Sequence[Point],
        color: Color | None = None,
        width_px: float | None = None,
    ) -> None:
        """Draw an open line on the picture only."""
        width = self.line_px if width_px is None else max(1, round(width_px))
        cv2.polylines(
            self.image, [fixed(points)], False, color or self.ink, width, cv2.LINE_AA, _SHIFT
        )
