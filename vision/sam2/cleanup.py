"""Small holes and islands of masks."""

import cv2
import numpy as np
import numpy.typing as npt


def remove_small_regions(
    mask: npt.NDArray[np.bool_],
    min_area_px: int,
    box_xywh: tuple[int, int, int, int] | None = None,
) -> bool:
    """Fill small holes of a mask, then remove its small islands.

    Gives what SAM 1's `remove_small_regions` gives for holes and then for islands, but works on
    the mask's box only. Regions hang together over edges and corners. If all islands are small,
    the largest stays.

    Args:
        mask: Shape (height, width); it is cleaned in place.
        min_area_px: Regions of fewer pixels are small.
        box_xywh: The box around the mask, if it is known.

    Returns:
        Whether there was anything to do.
    """
    if min_area_px <= 1:
        return False
    x, y, width, height = box_xywh or cv2.boundingRect(mask.view(np.uint8))
    if width == 0:
        return False
    # Where the image goes on behind a margin this wide, the margin alone is no small hole.
    above = -(-min_area_px // width)
    beside = -(-min_area_px // height)
    rows = slice(max(y - above, 0), y + height + above)
    columns = slice(max(x - beside, 0), x + width + beside)
    part = mask[rows, columns]
    had_holes = _fill_holes(part, min_area_px)
    regions, areas = _regions(part)
    keep = areas >= min_area_px
    keep[0] = False
    if keep[1:].all():
        return had_holes
    if keep.any():
        part[:] = keep.take(regions)
        return True
    # Of equally large islands the first one stays, and OpenCV numbers them otherwise in a part.
    regions, areas = _regions(mask)
    mask[:] = regions == int(np.argmax(areas[1:])) + 1
    return True


def _fill_holes(part: npt.NDArray[np.bool_], min_area_px: int) -> bool:
    regions, areas = _regions(~part)
    small = areas < min_area_px
    small[0] = False
    if small.any():
        part |= small.take(regions)
        return True
    return False


def _regions(
    part: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the region of each pixel, 0 where there is none, and the area of each region."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(part).view(np.uint8), connectivity=8
    )
    return np.asarray(regions, np.int32), stats[:, cv2.CC_STAT_AREA].astype(np.int64)
