"""Whether a model's automatic masks look sound, which needs no truth.

A fine-tuned model may answer prompts better and yet find nothing by itself, because its ratings no
longer fit the thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.masks import expect_masks, rle_area, rle_iou, rle_union
from vision.metrics.objects import ImageMasks, pair_masks


@dataclass(frozen=True)
class MaskHealth:
    """How many automatic masks images have, and what they cover.

    Attributes:
        image_ids: The images.
        masks: Number of masks of each image, shape (images,).
        coverage: Share of each image that its masks cover together, 0 to 1; shape (images,).
    """

    image_ids: tuple[str, ...]
    masks: NDArray[np.int64]
    coverage: NDArray[np.float64]

    def metrics(self) -> dict[str, float]:
        """`masks_per_image`, `empty_share` of images without a mask, and `coverage`: means."""
        if not self.image_ids:
            return dict.fromkeys(("masks_per_image", "empty_share", "coverage"), float("nan"))
        return {
            "masks_per_image": float(self.masks.mean()),
            "empty_share": float((self.masks == 0).mean()),
            "coverage": float(self.coverage.mean()),
        }


def mask_health(images: Sequence[ImageMasks]) -> MaskHealth:
    """Count masks and what they cover.

    Args:
        images: The masks of every image, also of those without any.

    Raises:
        RleError: A mask is not of its image's size.
    """
    expect_masks(sum(map(len, images)))
    coverage = [
        rle_area(rle_union(image.rles, image.height_px, image.width_px))
        / (image.height_px * image.width_px)
        for image in images
    ]
    return MaskHealth(
        image_ids=tuple(image.image_id for image in images),
        masks=np.array([len(image) for image in images], np.int64),
        coverage=np.array(coverage, np.float64),
    )


@dataclass(frozen=True)
class MaskAgreement:
    """How alike the automatic masks of two models are.

    Attributes:
        first_iou: For each mask of the first model the best IoU with a mask of the second, 0 to 1.
        second_iou: For each mask of the second model the best IoU with a mask of the first.
        image_of_first: Place in `image_ids` of the image of each mask of the first model.
        image_of_second: The same of the second model.
        image_ids: The images.
    """

    first_iou: NDArray[np.float64]
    second_iou: NDArray[np.float64]
    image_of_first: NDArray[np.int64]
    image_of_second: NDArray[np.int64]
    image_ids: tuple[str, ...]

    def metrics(self) -> dict[str, float]:
        """The means `agreement.first` and `agreement.second`, NaN without masks; and of both."""
        first, second = (
            float(values.mean()) if values.size else float("nan")
            for values in (self.first_iou, self.second_iou)
        )
        return {
            "agreement": (first + second) / 2,
            "agreement.first": first,
            "agreement.second": second,
        }


def mask_agreement(first: Sequence[ImageMasks], second: Sequence[ImageMasks]) -> MaskAgreement:
    """Compare two models' masks of the same images; scores and labels do not matter.

    Args:
        first: The masks of every image.
        second: The masks of the same images, in any order.

    Raises:
        ValueError: The images are not the same.
        RleError: A mask is not of its image's size.
    """
    expect_masks(sum(map(len, (*first, *second))))
    rows, columns = [np.empty(0)], [np.empty(0)]
    pairs = pair_masks(first, second)
    for one, other in pairs:
        overlaps = rle_iou(one.rles, other.rles, one.height_px, one.width_px)
        rows.append(overlaps.max(axis=1, initial=0.0))
        columns.append(overlaps.max(axis=0, initial=0.0))
    places = np.arange(len(pairs))
    return MaskAgreement(
        first_iou=np.concatenate(rows),
        second_iou=np.concatenate(columns),
        image_of_first=np.repeat(places, [len(one) for one, _ in pairs]),
        image_of_second=np.repeat(places, [len(other) for _, other in pairs]),
        image_ids=tuple(image.image_id for image in first),
    )
