"""Boundary F: how much of two outlines lies near the other one, as DAVIS measures it.

https://github.com/davisvideochallenge/davis2017-evaluation, `davis2017/metrics.py`
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.metrics.regions import BoolMask, as_masks

TOLERANCE = 0.008
"""How far apart outlines may be, as a share of the image's diagonal."""


def boundary_f(truth: NDArray[Any], predicted: NDArray[Any], tolerance: float = TOLERANCE) -> float:
    """F measure of the outlines of two masks.

    Precision is the share of the predicted outline within the tolerance of the true one, recall the
    share of the true outline within the tolerance of the predicted one, F their harmonic mean.

    Args:
        truth: Shape (height, width), boolean; of other types any non-zero value is foreground.
        predicted: In the shape of `truth`.
        tolerance: How far apart outlines may be: as a share of the image's diagonal, rounded up to
            whole pixels.

    Returns:
        0 to 1; 1 where neither mask has an outline, 0 where one of them has none.

    Raises:
        ValueError: The masks are not two-dimensional or differ in size, or the tolerance is not
            from 0 to 1.
    """
    if not 0 <= tolerance <= 1:
        raise ValueError(f"tolerance is a share of the diagonal, from 0 to 1, but got {tolerance}")
    truth, predicted = as_masks(truth, predicted)
    outlines = np.stack([outline(truth), outline(predicted)])
    true_px, predicted_px = (int(np.count_nonzero(line)) for line in outlines)
    if not true_px or not predicted_px:
        return float(true_px == predicted_px)
    radius_px = int(np.ceil(tolerance * np.hypot(*truth.shape)))
    # Nothing beyond the outlines matters.
    x, y, width, height = cv2.boundingRect((outlines[0] | outlines[1]).view(np.uint8))
    true_line, predicted_line = outlines[:, y : y + height, x : x + width]
    precision = _share_near(predicted_line, true_line, radius_px)
    recall = _share_near(true_line, predicted_line, radius_px)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: BoolMask) -> BoolMask:
    """Pixels that differ from the one to the right, below, or right below.

    This is half a pixel up and left of the true outline, and there is none along the edge of the
    image: a mask that fills the image has no outline.

    Args:
        mask: Shape (height, width).
    """
    line = np.zeros_like(mask)
    line[:-1, :-1] = mask[:-1, :-1] ^ mask[1:, 1:]
    line[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    line[:-1] |= mask[:-1] ^ mask[1:]
    return line


def _share_near(line: BoolMask, other: BoolMask, radius_px: int) -> float:
    """Share of the pixels of a line with a pixel of another line within a disk of this radius."""
    # Distances give the same as dilating with the disk, whose cost grows with its area.
    distance = cv2.distanceTransform((~other).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    squared = np.rint(distance[line].astype(np.float64) ** 2)
    return float(np.count_nonzero(squared <= radius_px**2) / len(squared))
