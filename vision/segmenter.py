"""What cuts an image into masks: the protocol every segmenter follows, and its result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Mask:
    """One segment of an image.

    Attributes:
        rle: Compressed COCO counts (column-major) at the size of the image.
        area_px: Number of pixels that are set.
        bbox_xywh: The tight box (x, y, width, height) in pixels, as COCO counts it.
        predicted_iou: The model's own estimate of the mask's quality, usually in [0, 1].
        stability_score: IoU in [0, 1] of the mask cut at a higher and at a lower threshold.
        point_xy: The point the mask was asked for at, in pixels of the image.
        crop_box_xywh: The part of the image the model looked at, in pixels.
        parent: Place in the list of masks of the smallest larger one that this one lies inside.
    """

    rle: bytes
    area_px: int
    bbox_xywh: tuple[float, float, float, float]
    predicted_iou: float
    stability_score: float
    point_xy: tuple[float, float]
    crop_box_xywh: tuple[float, float, float, float]
    parent: int | None = None


class Segmenter(Protocol):
    """Cuts images into masks, without being told what to look for.

    Attributes:
        points_per_batch: Points decoded at once, as the memory of the machine allowed so far.
        images_per_batch: Images encoded at once, likewise.
    """

    points_per_batch: int
    images_per_batch: int

    @property
    def device_name(self) -> str:
        """What computes: `cpu`, or the name of the accelerator."""
        ...

    def segment(self, rgb: npt.NDArray[np.uint8]) -> list[Mask]:
        """Return the masks of an image, best first.

        Args:
            rgb: Shape (height, width, 3), RGB, 0 to 255.
        """
        ...

    def segment_many(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[list[Mask]]:
        """Return the masks of several images, in order; faster than one by one on accelerators.

        Args:
            images: Each as `segment` takes it; they need not be of one size.
        """
        ...
