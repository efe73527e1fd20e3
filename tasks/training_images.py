"""The curated masks of a root as images to train on; their pixels are read when they are needed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.objects import open_store
from tasks.near_duplicates import near_duplicate_groups
from tasks.report.gather import image_key
from tasks.training_data import TrainingData, TrainingSample
from vision.finetune import TrainingImage
from vision.images import decode_image


@dataclass(frozen=True)
class StoredPixels:
    """Reads an image of a root, in whatever process it is called.

    Attributes:
        root: The data root.
        key: The image's key in it.
        max_px: Largest width * height that is decoded.
    """

    root: str
    key: str
    max_px: int

    def __call__(self) -> NDArray[np.uint8]:
        """RGB, uint8, shape (height, width, 3); raises as the store and `decode_image` do."""
        return decode_image(open_store(self.root).read(self.key), self.max_px).rgb


def training_images(root: str, data: TrainingData, max_px: int) -> list[TrainingImage]:
    """List what is trained on: masks in memory, as RLE, and pixels in the store.

    Near-duplicates form a group. An image counts as much as its masks do in the mean.

    Args:
        root: The data root.
        data: Curated masks of it.
        max_px: Largest width * height that is decoded.
    """
    samples = [sample for sample in data.samples() if _weight(sample) > 0]
    groups = near_duplicate_groups({item.image_id: item.perceptual_hash for item in samples})
    return [
        TrainingImage(
            image_id=sample.image_id,
            pixels=StoredPixels(root, image_key(sample.image_id, sample.uri), max_px),
            height_px=sample.height_px,
            width_px=sample.width_px,
            rles=tuple(mask.rle for mask in sample.masks),
            labels=tuple(mask.label for mask in sample.masks),
            weight=_weight(sample),
            group=groups.get(sample.image_id),
        )
        for sample in samples
    ]


def _weight(sample: TrainingSample) -> float:
    return float(np.mean([mask.weight for mask in sample.masks]))
