"""Which masks of an image are the same thing twice, and which lies inside which."""

from collections.abc import Sequence

import numpy as np
import torch
from torchvision.ops import nms

from vision.masks import rle_containment, rle_iou
from vision.segmenter import Mask

INSIDE_SHARE = 0.95
"""A mask lies inside another if so much of it does; edges of masks are seldom exact."""


def without_overlapping_boxes(
    masks: Sequence[Mask], cleaned: Sequence[bool], max_iou: float
) -> list[Mask]:
    """Drop masks whose boxes overlap by more than `max_iou`, as SAM 1 does after cleaning.

    Masks that needed no cleaning go before those that did, then those the model rates higher.
    """
    if not any(cleaned):
        return list(masks)
    boxes = torch.tensor([mask.bbox_xywh for mask in masks])
    boxes[:, 2:] += boxes[:, :2] - 1
    order = sorted(range(len(masks)), key=lambda i: (cleaned[i], -masks[i].predicted_iou, i))
    rank = torch.empty(len(masks))
    rank[order] = torch.arange(len(masks), 0, -1, dtype=rank.dtype)
    kept = nms(boxes, rank, max_iou)
    return [masks[index] for index in sorted(kept.tolist())]


def without_duplicates(
    masks: Sequence[Mask], max_iou: float, height_px: int, width_px: int
) -> list[Mask]:
    """Drop masks that overlap an earlier one by more than `max_iou`; boxes alone cannot tell."""
    if max_iou >= 1 or len(masks) < 2:
        return list(masks)
    counts = [mask.rle for mask in masks]
    overlaps = rle_iou(counts, counts, height_px, width_px)
    kept: list[int] = []
    for index in range(len(masks)):
        if not (overlaps[index, kept] > max_iou).any():
            kept.append(index)
    return [masks[index] for index in kept]


def parents(masks: Sequence[Mask], height_px: int, width_px: int) -> list[int | None]:
    """Return for each mask the index of the smallest larger mask that it lies inside, if any."""
    if len(masks) < 2:
        return [None] * len(masks)
    counts = [mask.rle for mask in masks]
    areas = np.array([mask.area_px for mask in masks])
    inside = rle_containment(counts, counts, height_px, width_px) >= INSIDE_SHARE
    inside &= areas[:, None] < areas
    sizes = np.where(inside, areas, np.iinfo(np.int64).max)
    nearest = sizes.argmin(axis=1)
    return [int(j) if inside[i, j] else None for i, j in enumerate(nearest)]
