"""Square crops of segments for CLIP.

CLIP's usual preprocessing (shorter side, then centre crop) cuts the ends off long segments, so
every crop is squared by padding instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.clip.label_set import CropStyle


def crop_mask(
    rgb: NDArray[np.uint8], mask: NDArray[np.bool_], style: CropStyle, size_px: int
) -> NDArray[np.uint8]:
    """Cut out a mask of the whole image, bool, shape (h, w); see `crop_segment`."""
    x, y, width, height = box = cv2.boundingRect(mask.view(np.uint8))
    return crop_segment(rgb, mask[y : y + height, x : x + width], box, style, size_px)


def crop_segment(
    rgb: NDArray[np.uint8],
    inside: NDArray[np.bool_],
    box_xywh: Sequence[int],
    style: CropStyle,
    size_px: int,
) -> NDArray[np.uint8]:
    """Cut one segment out as a square.

    Args:
        rgb: uint8, shape (h, w, 3), the whole image.
        inside: bool, the mask in its box.
        box_xywh: The box in whole pixels.
        style: How much lies around the mask and how it is shown.
        size_px: Side of the result.

    Returns:
        uint8, shape (size_px, size_px, 3). A mask without a pixel gives a plain square.
    """
    plain = np.full((size_px, size_px, 3), style.outside_rgb, np.uint8)
    left, top, box_width, box_height = box_xywh
    if not box_width:
        return plain
    height, width = rgb.shape[:2]
    side = max(box_height, box_width) * style.context
    x0 = round((2 * left + box_width - side) / 2)
    y0 = round((2 * top + box_height - side) / 2)
    side_px = max(round(side), 1)
    x1, y1 = min(x0 + side_px, width), min(y0 + side_px, height)
    ix, iy = max(x0, 0), max(y0, 0)

    window = rgb[iy:y1, ix:x1]
    if style.mode != "box":
        shown = np.zeros(window.shape[:2], np.bool_)
        shown[top - iy : top - iy + box_height, left - ix : left - ix + box_width] = inside
        window = _outside_changed(window, shown, style)
    scale = size_px / side_px
    shown_w = max(round((x1 - ix) * scale), 1)
    shown_h = max(round((y1 - iy) * scale), 1)
    # Averaging keeps thin lines when shrinking; it would give blocks when enlarging.
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(window, (shown_w, shown_h), interpolation=interpolation)
    at_x = min(max(round((ix - x0) * scale), 0), size_px - 1)
    at_y = min(max(round((iy - y0) * scale), 0), size_px - 1)
    room_w, room_h = min(shown_w, size_px - at_x), min(shown_h, size_px - at_y)
    plain[at_y : at_y + room_h, at_x : at_x + room_w] = resized[:room_h, :room_w]
    return plain


def _outside_changed(
    window: NDArray[np.uint8], inside: NDArray[np.bool_], style: CropStyle
) -> NDArray[np.uint8]:
    """Mix the outside colour into everything around the mask (all of it for `masked`)."""
    changed: NDArray[np.uint8] = cv2.LUT(window, _dimming(style))  # type: ignore[assignment]
    cv2.copyTo(window, inside.view(np.uint8), changed)
    return changed


@cache
def _dimming(style: CropStyle) -> NDArray[np.uint8]:
    """What each value of each channel becomes, shape (256, 1, 3)."""
    share = 1.0 if style.mode == "masked" else style.dim
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 1, 3)
    color = np.full_like(values, style.outside_rgb)
    return np.asarray(cv2.addWeighted(values, 1 - share, color, share, 0), np.uint8)
