"""Candidates become masks: enlarged to the image, cleaned, measured and encoded."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn.functional import pad

from vision.masks.rle import mask_to_runs
from vision.masks.runs import Runs, area_of_runs, box_of_runs, changes_to_runs, runs_to_rle
from vision.sam2.candidates import Candidates, enlarge, masks_at_once
from vision.sam2.cleanup import remove_small_regions
from vision.sam2.crops import Crop
from vision.sam2.parameters import GeneratorParams
from vision.segmenter import Mask


def finish(
    candidates: Candidates, crop: Crop, height_px: int, width_px: int, params: GeneratorParams
) -> Iterator[tuple[Mask, bool]]:
    """Make masks of the candidates of a crop.

    Args:
        candidates: The candidates.
        crop: Where they were found.
        height_px: Height of the image.
        width_px: Width of the image.
        params: What is cleaned and what is kept.

    Yields:
        Each mask that is neither too small nor too large, and whether it was cleaned.
    """
    least_px, most_px = max(params.min_area_px, 1), params.max_area_fraction * height_px * width_px
    found = _runs(candidates, crop, height_px, width_px, params)
    for index, (runs, cleaned) in enumerate(found):
        area_px = area_of_runs(runs)
        if not least_px <= area_px <= most_px:
            continue
        x, y, width, height = box_of_runs(runs, height_px)
        point_x, point_y = candidates.points_xy[index].tolist()
        mask = Mask(
            rle=runs_to_rle(runs),
            area_px=area_px,
            bbox_xywh=(float(x), float(y), float(width), float(height)),
            predicted_iou=float(candidates.predicted_iou[index]),
            stability_score=float(candidates.stability[index]),
            point_xy=(point_x + crop.left, point_y + crop.top),
            crop_box_xywh=crop.box_xywh,
        )
        yield mask, cleaned


def _runs(
    candidates: Candidates, crop: Crop, height_px: int, width_px: int, params: GeneratorParams
) -> Iterator[tuple[Runs, bool]]:
    """Run lengths of each mask at the size of the image, and whether it was cleaned."""
    around = (crop.left, width_px - crop.right, crop.top, height_px - crop.bottom)
    at_once = masks_at_once(height_px, width_px)
    for part in range(0, len(candidates), at_once):
        logits = candidates.logits[part : part + at_once]
        inside = enlarge(logits, crop.height_px, crop.width_px) > params.mask_threshold
        whole = pad(inside, around)
        if whole.device.type != "cpu" and params.min_mask_region_area <= 1:
            yield from ((runs, False) for runs in runs_of_tensor(whole))
            continue
        boxes = candidates.boxes_xyxy[part : part + at_once].int().tolist()
        for mask, (left, top, right, bottom) in zip(whole.cpu().numpy(), boxes, strict=True):
            box_xywh = (crop.left + left, crop.top + top, right - left + 1, bottom - top + 1)
            cleaned = remove_small_regions(mask, params.min_mask_region_area, box_xywh)
            # Holes between a mask and the edge of the image lie outside its box.
            yield mask_to_runs(mask, None if cleaned else box_xywh), cleaned


def runs_of_tensor(masks: torch.Tensor) -> list[Runs]:
    """Run lengths of masks, found where the masks are; the host gets the places of changes only.

    Args:
        masks: Shape (n, height, width), boolean, on any device.

    Returns:
        For each mask its run lengths in pixels, column by column, as `mask_to_runs` returns them.
    """
    columns = masks.mT.flatten(1)
    changed = torch.cat([columns[:, :1], columns[:, 1:] != columns[:, :-1]], dim=1)
    rows, places = (found.cpu().numpy() for found in torch.nonzero(changed, as_tuple=True))
    starts = np.searchsorted(rows, np.arange(1, len(masks)))
    return [changes_to_runs(part, columns.shape[1]) for part in np.split(places, starts)]
