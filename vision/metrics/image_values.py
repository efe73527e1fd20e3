"""All that is measured of a model on one image: what its numbers are the means of, by their names.

The values of many images, one after the other, are what `MaskRecall`, `PromptScores` and
`MaskHealth` keep of all of them together; nothing else of an image stays in memory.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vision.masks import rle_iou, rle_to_mask
from vision.metrics.boundaries import boundary_f
from vision.metrics.health import mask_health
from vision.metrics.objects import ImageMasks, ImageObjects
from vision.metrics.prompts import CLICKS, PromptSample, evaluate_prompts
from vision.metrics.recall import AREAS, mask_recall
from vision.prompted import PromptedModel
from vision.segmenter import Segmenter

MAX_MASKS = (100, 1000)

Values = dict[str, tuple[float, ...]]
"""By the name of a number what one image adds to its mean: a value, or one for each object."""


def prompt_values(model: PromptedModel, sample: PromptSample, seed: int = 0) -> Values:
    """IoU of each object: `miou@1.centre`, `miou@1.centre.oracle` … `miou@5.random`, `miou.box`.

    Args:
        model: The model.
        sample: The image with at least one object.
        seed: Decides on the random clicks, not negative.

    Raises:
        ValueError: An object is empty.
        RleError: A mask is not of the image's size.
    """
    scores = evaluate_prompts(model, [sample], CLICKS, seed=seed)
    values: Values = {}
    for first in scores.click_iou:
        for clicks in CLICKS:
            name = f"miou@{clicks}.{first}"
            values[name] = _tuple(scores.iou(clicks, first))
            values[f"{name}.oracle"] = _tuple(scores.iou(clicks, first, oracle=True))
    if scores.box_iou is not None:
        values["miou.box"] = _tuple(scores.box_iou)
    return values


def automatic_values(model: Segmenter, sample: PromptSample) -> Values:
    """What the masks that a model finds by itself are worth.

    Args:
        model: The model.
        sample: The image with at least one object.

    Returns:
        Of each object its share of the thresholds at which it was found (`ar@100`, `ar@1000`; of
        those of a size `ar@100.small` …, which is not there without any) and the boundary F of the
        mask that overlaps it most (`boundary_f`, 0 where none does). Of the image
        `masks_per_image`, `empty_share` (1 without a mask, else 0) and `coverage`.

    Raises:
        RleError: A mask is not of the image's size.
        ValueError: A score is not finite.
    """
    height, width = sample.rgb.shape[:2]
    truth = ImageObjects(sample.image_id, height, width, sample.rles)
    found = ImageMasks.from_masks(sample.image_id, model.segment(sample.rgb), height, width)
    recall = mask_recall([truth], [found], MAX_MASKS)
    values: Values = {}
    for row, count in enumerate(MAX_MASKS):
        for column, area in enumerate(AREAS):
            of_objects = recall.object_recall[row, column]
            counting = of_objects[~np.isnan(of_objects)]
            if counting.size:
                name = f"ar@{count}" + ("" if area == "all" else f".{area}")
                values[name] = _tuple(counting)
    values["boundary_f"] = _best_boundaries(sample.rles, found.rles, height, width)
    health = mask_health([found])
    values["masks_per_image"] = (float(health.masks[0]),)
    values["empty_share"] = (float(health.masks[0] == 0),)
    values["coverage"] = (float(health.coverage[0]),)
    return values


def _best_boundaries(
    truth: Sequence[bytes], found: Sequence[bytes], height: int, width: int
) -> tuple[float, ...]:
    """Boundary F of each object and the mask that overlaps it most."""
    if not found:
        return (0.0,) * len(truth)
    overlaps = rle_iou(truth, found, height, width)
    values = []
    for rle, row in zip(truth, overlaps, strict=True):
        best = int(row.argmax())
        if row[best] == 0:
            values.append(0.0)
            continue
        true_mask, mask = (rle_to_mask(each, height, width) for each in (rle, found[best]))
        values.append(boundary_f(true_mask, mask))
    return tuple(values)


def _tuple(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(values.tolist())
