"""Which mask finds which object: the rules of `pycocotools.cocoeval.COCOeval.evaluateImg`.

Masks choose in the order of their scores, each the object it overlaps most of those that are still
free. The results equal COCOeval's; its loops over every threshold, mask and object are replaced by
one over the masks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.masks import rle_area, rle_iou
from vision.metrics.objects import ImageMasks, ImageObjects

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""COCO's: .5 to .95 in steps of .05."""

AREA_RANGES_PX = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
"""COCO's, both ends included: an object of 32 x 32 pixels is small and medium."""

UNFOUND = np.iinfo(np.int64).max

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Matches:
    """What the masks of an image are matched to, for `a` ranges of area and `t` thresholds.

    Attributes:
        scores: Shape (masks,), highest first.
        mask_matched: Whether a mask has found an object; shape (a, t, masks).
        mask_ignored: Whether a mask is neither right nor wrong, as it has found an object that does
            not count, or none and is of another size; shape (a, t, masks).
        found_by: For each object, in the order given, the place of the mask that has found it by
            score, from 0, or UNFOUND; shape (a, t, objects).
        object_ignored: Whether an object does not count, as it is a crowd or of another size;
            shape (a, objects).
    """

    scores: NDArray[np.float64]
    mask_matched: Bools
    mask_ignored: Bools
    found_by: NDArray[np.int64]
    object_ignored: Bools


def match_image(
    objects: ImageObjects,
    masks: ImageMasks,
    max_masks: int,
    object_rows: Sequence[int] | None = None,
    mask_rows: Sequence[int] | None = None,
) -> Matches:
    """Match the masks of an image with its objects.

    Args:
        objects: The objects.
        masks: The masks; of equal scores the earlier one comes first.
        max_masks: Only so many masks, those of the highest scores, take part.
        object_rows: Take only these objects.
        mask_rows: Take only these masks.

    Raises:
        RleError: A mask is not of the image's size.
    """
    every_object = list(range(len(objects)) if object_rows is None else object_rows)
    every_mask = list(range(len(masks)) if mask_rows is None else mask_rows)
    scores = np.array([masks.scores[row] for row in every_mask], np.float64)
    order = np.argsort(-scores, kind="stable")[:max_masks]
    found = [masks.rles[every_mask[place]] for place in order]
    true = [objects.rles[row] for row in every_object]
    crowd = objects.crowd[every_object]
    overlaps = rle_iou(found, true, objects.height_px, objects.width_px, crowd.tolist())
    said = objects.areas_px
    areas = [said[row] if len(said) else rle_area(objects.rles[row]) for row in every_object]
    return match(
        overlaps,
        scores[order],
        np.array([rle_area(rle) for rle in found], np.float64),
        np.array(areas, np.float64),
        crowd,
    )


def match(
    overlaps: NDArray[np.float64],
    scores: NDArray[np.float64],
    mask_areas_px: NDArray[np.float64],
    object_areas_px: NDArray[np.float64],
    crowd: Bools,
) -> Matches:
    """Match masks with objects, given their overlaps.

    Args:
        overlaps: IoU of each mask with each object, shape (masks, objects), the masks by falling
            score; the share of the mask inside it for a crowd.
        scores: Shape (masks,).
        mask_areas_px: Shape (masks,).
        object_areas_px: Shape (objects,).
        crowd: Whether an object is a crowd, which any number of masks may find; shape (objects,).
    """
    ranges = np.array(list(AREA_RANGES_PX.values()))
    ignored = crowd | _outside(object_areas_px, ranges)
    shape = len(ranges), len(IOU_THRESHOLDS)
    matched = np.zeros((*shape, len(scores)), bool)
    mask_ignored = np.zeros_like(matched)
    found_by = np.full((*shape, len(object_areas_px)), UNFOUND)
    free = np.ones(found_by.shape, bool)
    counting = ~ignored[:, None]
    enough = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
    area, threshold = np.indices(shape)
    for place in np.flatnonzero((overlaps >= enough.min()).any(axis=1)):
        overlap = overlaps[place]
        possible = free & (overlap >= enough)
        better = possible & counting
        # Objects that do not count are taken only where no other is left.
        choice = np.where(better.any(axis=-1, keepdims=True), better, possible)
        # Of equal overlaps the last one is taken.
        chosen = len(overlap) - 1 - np.where(choice, overlap, -1)[..., ::-1].argmax(axis=-1)
        hit = choice[area, threshold, chosen]
        matched[..., place] = hit
        mask_ignored[..., place] = hit & ignored[area, chosen]
        hits = area[hit], threshold[hit], chosen[hit]
        found_by[hits] = np.minimum(found_by[hits], place)
        free[hits] = crowd[hits[2]]
    mask_ignored |= ~matched & _outside(mask_areas_px, ranges)[:, None]
    return Matches(scores, matched, mask_ignored, found_by, ignored)


def _outside(areas_px: NDArray[np.float64], ranges: NDArray[np.float64]) -> Bools:
    """Whether each area is outside each range: shape (ranges, areas)."""
    lowest, highest = ranges.T[..., None]
    outside: Bools = (areas_px < lowest) | (areas_px > highest)
    return outside
