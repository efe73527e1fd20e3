"""Labelled crops of generated pages, cut exactly as the labeller cuts segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from examples.comics import Page, PageObject
from examples.demo_models.clip_junk import junk, nearly
from vision.clip import UNKNOWN
from vision.clip.crops import crop_mask
from vision.clip.label_set import CropStyle

MATCHED_IOU = 0.7
"""A mask that overlaps an object at least so much is that object."""

JUNK_IOU = 0.5
"""A mask that overlaps every object less than this is none of them."""

FOUND_JUNK_IOU = 0.6
"""The same for masks that a SAM found: half-found objects are most of what it gets wrong."""

MIN_AREA_PX = 30


def true_labels(
    masks: Sequence[NDArray[np.bool_]], page: Page, junk_iou: float = JUNK_IOU
) -> list[str | None]:
    """What each mask is, measured against the page's objects.

    Args:
        masks: bool, shape (h, w) each, of the page.
        page: The page with its objects.
        junk_iou: Masks that overlap every object less than this are `unknown`.

    Returns:
        The category of the object it matches, `unknown` for a mask of nothing, None where neither
        is clear (in between, too small, or mostly in a crowd).
    """
    if not masks:
        return []
    found = np.stack([mask.ravel() for mask in masks]).astype(np.float32)
    real = np.stack([o.mask.ravel() for o in page.objects]).astype(np.float32)
    shared = found @ real.T
    area = found.sum(axis=1)
    iou = shared / np.maximum(area[:, None] + real.sum(axis=1)[None] - shared, 1)
    labels: list[str | None] = []
    for index in range(len(masks)):
        best = int(iou[index].argmax())
        inside = shared[index] / max(area[index], 1)
        in_crowd = any(
            o.iscrowd and part > 0.5 for o, part in zip(page.objects, inside, strict=True)
        )
        is_crowd = page.objects[best].iscrowd and iou[index, best] >= junk_iou
        if area[index] < MIN_AREA_PX or in_crowd or is_crowd:
            labels.append(None)
        elif iou[index, best] >= MATCHED_IOU:
            labels.append(page.objects[best].category)
        else:
            labels.append(UNKNOWN if iou[index, best] < junk_iou else None)
    return labels


def page_masks(page: Page, rng: np.random.Generator, junk_count: int) -> list[NDArray[np.bool_]]:
    """Masks of a page: its objects exactly, its objects nearly, and junk."""
    objects: list[PageObject] = [o for o in page.objects if not o.iscrowd and o.mask.any()]
    if not objects:
        return []
    whole = replace(page, objects=objects)
    # Half of all objects are lines of text: a few of a page's are enough.
    seldom = {"text": 0.4}
    exact = [o.mask for o in objects if rng.random() < 0.4 * seldom.get(o.category, 1)]
    near = [nearly(o.mask, whole, rng) for o in objects if rng.random() < seldom.get(o.category, 1)]
    return exact + near + [junk(whole, rng) for _ in range(junk_count)]


def labelled_crops(
    page: Page,
    masks: Sequence[NDArray[np.bool_]],
    style: CropStyle,
    size_px: int,
    rng: np.random.Generator | None = None,
    junk_iou: float = JUNK_IOU,
) -> list[tuple[str, NDArray[np.uint8]]]:
    """Crops of the masks whose label is clear.

    Args:
        page: The page.
        masks: bool, shape (h, w) each.
        style: How segments are cut out.
        size_px: Side of a crop.
        rng: Varies the context a little, for training; None cuts exactly as the labeller does.
        junk_iou: Masks that overlap every object less than this are `unknown`.
    """
    crops: list[tuple[str, NDArray[np.uint8]]] = []
    for mask, label in zip(masks, true_labels(masks, page, junk_iou), strict=True):
        if label is None:
            continue
        cut = style
        if rng is not None:
            varied = max(1.0, style.context * float(rng.uniform(0.93, 1.08)))
            cut = style.model_copy(update={"context": varied})
        crops.append((label, crop_mask(page.image, mask, cut, size_px)))
    return crops
