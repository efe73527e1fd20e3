"""Small holes and islands of masks."""

import cv2
import numpy as np
import numpy.typing as npt


def remove_small_regions(mask: npt.NDArray[np.bool_], min_area_px: int) -> npt.NDArray[np.bool_]:
    """Fill small holes of a mask, then remove its small islands.

    Gives what SAM 1's `remove_small_regions` gives for holes and then for islands, but works on
    the mask's box only. Regions hang together over edges and corners. If all islands are small,
    the largest stays.

    Args:
        mask: Shape (height, width). It is not changed.
        min_area_px: Regions of fewer pixels are small.

    Returns:
        The cleaned mask, of the same shape; `mask` itself if there was nothing to do.
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width == 0 or min_area_px <= 1:
        return mask
    # Where the image goes on behind a margin this wide, the margin alone is no small hole.
    above = -(-min_area_px // width)
    beside = -(-min_area_px // height)
    rows = slice(max(y - above, 0), y + height + above)
    columns = slice(max(x - beside, 0), x + width + beside)
    part = mask[rows, columns]
    filled = _fill_holes(part, min_area_px)
    regions, areas = _regions(filled)
    keep = areas >= min_area_px
    keep[0] = False
    if filled is part and keep[1:].all():
        return mask
    whole = mask.copy()
    whole[rows, columns] = filled
    if keep.any():
        whole[rows, columns] = keep[regions]
        return whole
    # Of equally large islands the first one stays, and OpenCV numbers them otherwise in a part.
    regions, areas = _regions(whole)
    return np.asarray(regions == int(np.argmax(areas[1:])) + 1)


def _fill_holes(part: npt.NDArray[np.bool_], min_area_px: int) -> npt.NDArray[np.bool_]:
    regions, areas = _regions(~part)
    small = areas < min_area_px
    small[0] = False
    return part | small[regions] if small.any() else part


def _regions(
    part: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the region of each pixel, 0 where there is none, and the area of each region."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(part).view(np.uint8), connectivity=8
    )
    return np.asarray(regions, np.int32), stats[:, cv2.CC_STAT_AREA].astype(np.int64)
