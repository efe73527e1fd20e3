"""Average recall of masks as proposals, whatever their labels: COCO's AR at 100 and 1000 masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.masks import expect_masks
from vision.metrics.matching import AREA_RANGES_PX, match_image
from vision.metrics.objects import ImageMasks, ImageObjects, pair_images, place_in

AREAS = tuple(AREA_RANGES_PX)


@dataclass(frozen=True)
class MaskRecall:
    """How many objects have a mask that fits them.

    Attributes:
        max_masks: How many masks an image may have, for each row of the numbers.
        object_recall: For each object the share, 0 to 1, of the thresholds at which a mask has
            found it; NaN where it does not count, as it is of another size. Shape (max_masks, 4
            ranges of area, objects). Crowds are no objects.
        image_of_object: Place in `image_ids` of the image each object is on, shape (objects,).
        image_ids: The images.
    """

    max_masks: tuple[int, ...]
    object_recall: NDArray[np.float64]
    image_of_object: NDArray[np.int64]
    image_ids: tuple[str, ...]

    def at(self, max_masks: int, area: str = "all") -> float:
        """AR, 0 to 1: mean of `object_recall` over the objects of a size; NaN if there are none.

        Args:
            max_masks: One of `self.max_masks`.
            area: `all`, `small`, `medium` or `large`.

        Raises:
            ValueError: There is no such number or area.
        """
        values = self.object_recall[
            place_in(self.max_masks, max_masks, "max_masks"), place_in(AREAS, area, "area")
        ]
        counting = values[~np.isnan(values)]
        return float(counting.mean()) if counting.size else float("nan")

    def metrics(self) -> dict[str, float]:
        """All numbers by name, such as `ar@1000` and `ar@1000.small`."""
        return {
            f"ar@{count}" + ("" if area == "all" else f".{area}"): self.at(count, area)
            for count in self.max_masks
            for area in AREAS
        }


def mask_recall(
    truth: Sequence[ImageObjects],
    predicted: Sequence[ImageMasks],
    max_masks: Sequence[int] = (100, 1000),
) -> MaskRecall:
    """Average recall over the IoU thresholds .5 to .95, equal to COCOeval's with `useCats=0`.

    Args:
        truth: The objects of every image, also of those without any.
        predicted: The masks of the images; none were found on images that are left out.
        max_masks: How many masks of an image take part, those of the highest scores.

    Raises:
        ValueError: Images do not fit together, see `pair_images`, or `max_masks` is not positive.
        RleError: A mask is not of its image's size.
    """
    if not max_masks or min(max_masks) < 1:
        raise ValueError(f"max_masks must be positive, but got {tuple(max_masks)}")
    pairs = pair_images(truth, predicted)
    expect_masks(sum(len(objects) + len(masks) for objects, masks in pairs))
    limits = np.array(max_masks)[:, None, None, None]
    recalls, places = [np.empty((len(max_masks), len(AREAS), 0))], [np.empty(0, np.int64)]
    for place, (objects, masks) in enumerate(pairs):
        matches = match_image(objects, masks, max(max_masks))
        recall = (matches.found_by < limits).mean(axis=2)
        recall[:, matches.object_ignored] = np.nan
        single = ~objects.crowd
        recalls.append(recall[..., single])
        places.append(np.full(int(single.sum()), place))
    return MaskRecall(
        max_masks=tuple(max_masks),
        object_recall=np.concatenate(recalls, axis=-1),
        image_of_object=np.concatenate(places),
        image_ids=tuple(objects.image_id for objects in truth),
    )
