"""What is learnt from: images with exact masks, wherever they come from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vision.images import decode_image

Pixels = NDArray[np.uint8]


class UnusableImageError(ValueError):
    """An image that nothing can be learnt from; it is skipped and named in the report."""


@dataclass(frozen=True)
class TrainingImage:
    """An image and its masks. The pixels are read when they are needed, again and again.

    Attributes:
        image_id: Names it in reports.
        pixels: An image file, or a function that gives RGB of shape (height, width, 3), uint8; one
            that pickle knows, where other processes read images (`data.workers`).
        height_px: Height of the image and of its masks.
        width_px: Width of the image and of its masks.
        rles: A mask each, as compressed COCO counts.
        labels: Names of the masks; empty where they have none.
        weight: How often it is shown, compared with the others.
        group: Images of one group (near-duplicates, pages of a book, frames of a video) are never
            divided between training and validation; None for a group of its own.
        split: Where it belongs, if that has been decided.
        vouched: Places in `rles` of the masks that somebody vouches for; None for all of them. The
            others are learnt from, but validation looks at them only where no image has such a
            mask: a model agrees with what it cut out itself.
    """

    image_id: str
    pixels: Path | Callable[[], Pixels]
    height_px: int
    width_px: int
    rles: tuple[bytes | str, ...]
    labels: tuple[str, ...] = ()
    weight: float = 1.0
    group: str | None = None
    split: Literal["train", "val"] | None = None
    vouched: tuple[int, ...] | None = None


def read_pixels(image: TrainingImage) -> Pixels:
    """Read an image.

    Returns:
        RGB, uint8, shape (height_px, width_px, 3).

    Raises:
        UnusableImageError: It cannot be read, or has another size than its masks.
    """
    try:
        if isinstance(image.pixels, Path):
            rgb = decode_image(image.pixels.read_bytes()).rgb
        else:
            rgb = image.pixels()
    except MemoryError:
        raise
    except Exception as error:
        # Whatever a source raises, one image must not end a night's training.
        raise UnusableImageError(f"cannot be read: {error}") from error
    expected = (image.height_px, image.width_px, 3)
    if rgb.dtype != np.uint8 or rgb.shape != expected:
        raise UnusableImageError(
            f"its masks are for uint8 {expected}, but its pixels are {rgb.dtype} {rgb.shape}"
        )
    return rgb
