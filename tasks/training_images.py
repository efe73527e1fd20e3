"""The curated masks of a root as images to train on; their pixels are read when they are needed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.objects import open_store
from tasks.drop_images import NEAR_DUPLICATE_BITS
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


def training_images(
    root: str, data: TrainingData, max_px: int
) -> tuple[list[TrainingImage], dict[str, str]]:
    """List what is trained on: masks in memory, as RLE, and pixels in the store.

    Near-duplicates form a group; those of images that are held back are left out, as the model
    would be measured on what it has learnt. An image counts as much as its masks do in the mean.
    Nobody vouches for masks that rules accepted.

    Args:
        root: The data root.
        data: Curated masks of it.
        max_px: Largest width * height that is decoded.

    Returns:
        The images, and why others are left out, by their ids.
    """
    samples = [sample for sample in data.samples() if _weight(sample) > 0]
    alike = _looks_held_back(samples, data.held_back_looks())
    samples = [sample for sample in samples if sample.image_id not in alike]
    groups = near_duplicate_groups({item.image_id: item.perceptual_hash for item in samples})
    images = [
        TrainingImage(
            image_id=sample.image_id,
            pixels=StoredPixels(root, image_key(sample.image_id, sample.uri), max_px),
            height_px=sample.height_px,
            width_px=sample.width_px,
            rles=tuple(mask.rle for mask in sample.masks),
            labels=tuple(mask.label for mask in sample.masks),
            weight=_weight(sample),
            group=groups.get(sample.image_id),
            vouched=_vouched(sample),
        )
        for sample in samples
    ]
    return images, dict.fromkeys(sorted(alike), "looks like an image that is held back")


def _weight(sample: TrainingSample) -> float:
    return float(np.mean([mask.weight for mask in sample.masks]))


def _vouched(sample: TrainingSample) -> tuple[int, ...] | None:
    """Places of the masks that people made or confirmed; None if these are all."""
    places = [place for place, mask in enumerate(sample.masks) if mask.source != "rules"]
    return None if len(places) == len(sample.masks) else tuple(places)


def _looks_held_back(samples: Sequence[TrainingSample], held_back: Sequence[str]) -> set[str]:
    """Which images look like one that is held back."""
    values = np.array([int(looks, 16) for looks in held_back], np.uint64)
    found = set()
    for sample in samples:
        if len(values) and sample.perceptual_hash is not None:
            own = np.uint64(int(sample.perceptual_hash, 16))
            if np.bitwise_count(values ^ own).min() <= NEAR_DUPLICATE_BITS:
                found.add(sample.image_id)
    return found
