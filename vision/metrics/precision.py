"""Average precision of each label: COCO's AP of masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.masks import expect_masks
from vision.metrics.matching import AREA_RANGES_PX, IOU_THRESHOLDS, Matches, match_image
from vision.metrics.objects import ImageMasks, ImageObjects, pair_images, place_in

AREAS = tuple(AREA_RANGES_PX)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LabelPrecision:
    """How well the masks of each label fit its objects.

    Attributes:
        labels: The labels that some object has, in order.
        precision: For each label, range of area and IoU threshold the area under the curve of
            precision over recall, 0 to 1; NaN where no object counts. Shape (labels, 4, 10).
        objects: Number of objects of each label, without crowds, shape (labels,).
    """

    labels: tuple[str, ...]
    precision: Floats
    objects: NDArray[np.int64]

    def ap(self, label: str | None = None, area: str = "all", iou: float | None = None) -> float:
        """AP of a label, or the mean over labels that have objects; NaN where there are none.

        Args:
            label: The label, or None for all.
            area: `all`, `small`, `medium` or `large`.
            iou: One of COCO's thresholds, or None for their mean: .5 to .95.

        Raises:
            ValueError: There is no such label, area or threshold.
        """
        values = self.precision[:, place_in(AREAS, area, "area")]
        if label is not None:
            values = values[[place_in(self.labels, label, "label")]]
        if iou is not None:
            values = values[:, place_in(IOU_THRESHOLDS.round(2).tolist(), iou, "iou")]
        counting = values[~np.isnan(values)]
        return float(counting.mean()) if counting.size else float("nan")

    def metrics(self) -> dict[str, float]:
        """All numbers by name: `ap`, `ap50`, `ap75`, `ap.small` ... and `ap.label.NAME`."""
        named = {"ap": self.ap(), "ap50": self.ap(iou=0.5), "ap75": self.ap(iou=0.75)}
        named |= {f"ap.{area}": self.ap(area=area) for area in AREAS[1:]}
        return named | {f"ap.label.{label}": self.ap(label) for label in self.labels}


def label_precision(
    truth: Sequence[ImageObjects], predicted: Sequence[ImageMasks], max_masks: int = 100
) -> LabelPrecision:
    """Average precision per label, equal to COCOeval's.

    Masks with a label that no object has, such as `unknown`, do not count.

    Args:
        truth: The objects of every image, also of those without any, with labels. Among masks of
            equal scores those of earlier images go first.
        predicted: The masks of the images, with labels.
        max_masks: How many masks of a label an image may have, those of the highest scores.

    Raises:
        ValueError: Images do not fit together, see `pair_images`; or labels are missing.
        RleError: A mask is not of its image's size.
    """
    images: list[ImageObjects | ImageMasks] = [*truth, *predicted]
    for image in images:
        if len(image.labels) != len(image):
            raise ValueError(f"image {image.image_id!r} has no labels, but precision needs them")
    pairs = pair_images(truth, predicted)
    expect_masks(sum(len(objects) + len(masks) for objects, masks in pairs))
    labels = sorted({label for objects in truth for label in objects.labels})
    precision = np.full((len(labels), len(AREAS), len(IOU_THRESHOLDS)), np.nan)
    counts = np.zeros(len(labels), np.int64)
    for row, label in enumerate(labels):
        matches = []
        for objects, masks in pairs:
            own = [i for i, name in enumerate(objects.labels) if name == label]
            found = [i for i, name in enumerate(masks.labels) if name == label]
            if own or found:
                matches.append(match_image(objects, masks, max_masks, own, found))
            counts[row] += np.count_nonzero(~objects.crowd[own])
        precision[row] = _precision(matches)
    return LabelPrecision(tuple(labels), precision, counts)


def _precision(images: list[Matches]) -> Floats:
    """Mean interpolated precision, shape (areas, thresholds); see `COCOeval.accumulate`."""
    order = np.argsort(-np.concatenate([image.scores for image in images]), kind="stable")
    matched = np.concatenate([image.mask_matched for image in images], axis=-1)[..., order]
    ignored = np.concatenate([image.mask_ignored for image in images], axis=-1)[..., order]
    objects = sum(np.count_nonzero(~image.object_ignored, axis=-1) for image in images)
    right = np.cumsum(matched & ~ignored, axis=-1, dtype=np.float64)
    wrong = np.cumsum(~matched & ~ignored, axis=-1, dtype=np.float64)
    result = np.full(right.shape[:2], np.nan)
    for area, threshold in np.ndindex(*result.shape):
        if not objects[area]:
            continue
        hits = right[area, threshold]
        precision = hits / (wrong[area, threshold] + hits + np.spacing(1))
        # Precision at a recall is the best at that recall or a higher one.
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(hits / objects[area], RECALL_THRESHOLDS, side="left")
        reached = np.zeros(len(at))
        reached[at < len(envelope)] = envelope[at[at < len(envelope)]]
        result[area, threshold] = reached.mean()
    return result
