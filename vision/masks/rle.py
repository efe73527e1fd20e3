"""COCO masks as arrays and as run-length encoding; see `vision.masks.runs` for the encoding.

Every function checks its input first: pycocotools hangs, crashes or returns uninitialised memory on
counts that do not fit the size. Its text writer is not used at all: it reserves six characters a
run and no room for the closing NUL, which runs of 2**24 pixels overflow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from vision.masks.runs import (
    MAX_MASK_PX,
    RleError,
    Runs,
    area_of_runs,
    box_of_runs,
    canonical_rle,
    canonical_runs,
    changes_to_runs,
    check_mask_size,
    decompress,
    intersection_of_runs,
    list_to_runs,
    rle_to_runs,
    runs_to_rle,
    union_of_runs,
)


def parse_rle(segmentation: Mapping[str, Any], height: int, width: int) -> bytes:
    """Check a COCO RLE object and return it compressed.

    Args:
        segmentation: `{"size": [h, w], "counts": ...}`; counts as a list of run lengths, or as the
            compressed string (str or bytes).
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

    Returns:
        Canonical compressed counts, ASCII.

    Raises:
        RleError: The size is not the image's, or the counts do not describe exactly h*w pixels.
    """
    return runs_to_rle(canonical_runs(parse_runs(segmentation, height, width)))


def parse_runs(segmentation: Mapping[str, Any], height: int, width: int) -> Runs:
    """Check a COCO RLE object and return its run lengths; see `parse_rle`.

    Returns:
        Run lengths in pixels, int64, as they were given: any of them may be zero.

    Raises:
        RleError: The size is not the image's, or the counts do not describe exactly h*w pixels.
    """
    check_mask_size(height, width)
    _check_size_field(segmentation.get("size"), height, width)
    counts = segmentation.get("counts")
    if isinstance(counts, str | bytes):
        return rle_to_runs(counts, height, width)
    if not isinstance(counts, list | tuple):
        raise RleError("rle.counts", type(counts).__name__)
    return list_to_runs(counts, height, width)


def rle_to_mask(counts: bytes | str, height: int, width: int) -> NDArray[np.bool_]:
    """Decode compressed counts into a mask.

    Returns:
        Boolean array of shape (height, width), C-contiguous.

    Raises:
        RleError: The counts do not describe exactly h*w pixels.
    """
    return runs_to_mask(rle_to_runs(counts, height, width), height, width)


def runs_to_mask(runs: Runs, height: int, width: int) -> NDArray[np.bool_]:
    """Draw run lengths that add up to h*w pixels; see `rle_to_mask`."""
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height)
    return np.ascontiguousarray(columns.T)


def rle_to_box_mask(
    counts: bytes | str, height: int, width: int
) -> tuple[NDArray[np.bool_], tuple[int, int, int, int]]:
    """Draw only the smallest box around a mask, which is quicker than the whole image.

    Args:
        counts: Compressed COCO counts.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.

    Returns:
        Boolean array of the box's shape, and the box (x, y, width, height) in whole pixels; both
        of size 0 for an empty mask.

    Raises:
        RleError: The counts do not describe exactly h*w pixels.
    """
    runs = canonical_runs(rle_to_runs(counts, height, width))
    x, y, box_width, box_height = box_of_runs(runs, height)
    ends = (np.cumsum(runs) - x * height).clip(0, box_width * height)
    inside = np.diff(ends, prepend=0)
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, inside).reshape(box_width, height)
    part = np.ascontiguousarray(columns[:, y : y + box_height].T)
    return part, (x, y, box_width, box_height)


def mask_to_rle(mask: NDArray[Any]) -> bytes:
    """Encode a mask.

    Args:
        mask: Array of shape (height, width), boolean or integer; any non-zero value is foreground.

    Returns:
        Canonical compressed counts, ASCII.

    Raises:
        RleError: `rle.mask_shape` unless the array has two dimensions, `rle.size` if one is 0.
    """
    return runs_to_rle(mask_to_runs(mask))


def mask_to_runs(mask: NDArray[Any], box_xywh: tuple[int, int, int, int] | None = None) -> Runs:
    """Run lengths of a mask; see `mask_to_rle`.

    Args:
        mask: Array of shape (height, width).
        box_xywh: A box with all of the foreground, if one is known; looking for it takes longer
            than all the rest.

    Returns:
        Run lengths in pixels, int64, none of them zero except perhaps the first.

    Raises:
        RleError: `rle.mask_shape` unless the array has two dimensions, `rle.size` if one is 0.
    """
    if mask.ndim != 2:
        raise RleError("rle.mask_shape", mask.shape)
    check_mask_size(*mask.shape)
    binary = (mask if mask.dtype == np.bool_ else mask != 0).view(np.uint8)
    height = len(binary)
    x, y, box_width, box_height = box_xywh or cv2.boundingRect(binary)
    if not box_width or not box_height:
        return np.array([mask.size])
    part = binary[y : y + box_height, x : x + box_width]
    # A row of zeros below ends each run with its column.
    part = cv2.copyMakeBorder(part, 0, 1, 0, 0, cv2.BORDER_CONSTANT)
    values = cv2.transpose(part).ravel()
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    if values[0]:
        changes = np.concatenate(([0], changes))
    column = changes // (box_height + 1)
    places = changes + column * (height - box_height - 1) + (x * height + y)
    if box_height == height:
        # Runs that go on in the next column were ended and begun at one place.
        return changes_to_runs(places, mask.size)
    runs: Runs = np.diff(places[places < mask.size], prepend=0, append=mask.size)
    return runs


def rle_area(counts: bytes | str) -> int:
    """Foreground area of compressed counts, in pixels.

    Raises:
        RleError: The counts cannot be decompressed.
    """
    return area_of_runs(decompress(counts, max_runs=MAX_MASK_PX + 1))


def rle_bbox(counts: bytes | str, height: int, width: int) -> tuple[int, int, int, int]:
    """Smallest box around the foreground.

    Returns:
        (x, y, width, height) in whole pixels; all 0 for an empty mask.

    Raises:
        RleError: The counts do not describe exactly h*w pixels.
    """
    return box_of_runs(canonical_runs(rle_to_runs(counts, height, width)), height)


def rle_iou(
    first: Sequence[bytes | str],
    second: Sequence[bytes | str],
    height: int,
    width: int,
    second_is_crowd: Sequence[bool] | None = None,
) -> NDArray[np.float64]:
    """Intersection over union of every pair of masks.

    Args:
        first: n compressed counts.
        second: m compressed counts.
        height: Height of all masks, in pixels.
        width: Width of all masks, in pixels.
        second_is_crowd: For each of `second`, whether the area of the first alone is the
            denominator, as COCO evaluates crowds.

    Returns:
        float64 array of shape (n, m), 0 to 1.

    Raises:
        RleError: Some counts do not describe exactly h*w pixels.
    """
    if not first or not second:
        return np.zeros((len(first), len(second)))
    crowd = [int(c) for c in second_is_crowd] if second_is_crowd else [0] * len(second)
    result = coco_mask.iou(
        _coco_objects(first, height, width), _coco_objects(second, height, width), crowd
    )
    return np.asarray(result, dtype=np.float64)


def rle_union(masks: Sequence[bytes | str], height: int, width: int) -> bytes:
    """Union of masks of one size, as compressed counts; the empty mask if there are none.

    Raises:
        RleError: Some counts do not describe exactly h*w pixels.
    """
    check_mask_size(height, width)
    runs = [rle_to_runs(mask, height, width) for mask in masks]
    return runs_to_rle(union_of_runs(runs, height * width))


def rle_intersection(masks: Sequence[bytes | str], height: int, width: int) -> bytes:
    """Intersection of masks of one size, as compressed counts; the full mask if there are none.

    Raises:
        RleError: Some counts do not describe exactly h*w pixels.
    """
    check_mask_size(height, width)
    runs = [rle_to_runs(mask, height, width) for mask in masks]
    return runs_to_rle(intersection_of_runs(runs, height * width))


def rle_containment(
    inner: Sequence[bytes | str], outer: Sequence[bytes | str], height: int, width: int
) -> NDArray[np.float64]:
    """How much of each mask lies inside each other mask.

    Args:
        inner: n compressed counts.
        outer: m compressed counts.
        height: Height of all masks, in pixels.
        width: Width of all masks, in pixels.

    Returns:
        float64 array of shape (n, m), 0 to 1: the share of the inner mask's area that the outer one
        covers; 0 for an empty inner mask.

    Raises:
        RleError: Some counts do not describe exactly h*w pixels.
    """
    return rle_iou(inner, outer, height, width, second_is_crowd=[True] * len(outer))


def _coco_objects(masks: Sequence[bytes | str], height: int, width: int) -> list[dict[str, Any]]:
    size = [int(height), int(width)]
    return [{"size": size, "counts": canonical_rle(mask, height, width)} for mask in masks]


def _check_size_field(size: object, height: int, width: int) -> None:
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise RleError("rle.size", size)
    rle_height, rle_width = size
    check_mask_size(rle_height, rle_width)
    if (rle_height, rle_width) == (height, width):
        return
    swapped = (rle_width, rle_height) == (height, width)
    raise RleError("rle.size_swapped" if swapped else "rle.size_mismatch", list(size))
