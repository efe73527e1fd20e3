"""What is compared: the true objects of images, and the masks that a model found on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from vision.segmenter import Mask

Rank = Literal["mean", "predicted_iou"]


@dataclass(frozen=True)
class ImageObjects:
    """The true objects of an image.

    Attributes:
        image_id: Names the image.
        height_px: Height of the image and of all masks.
        width_px: Width of the image and of all masks.
        rles: Mask of each object, as compressed COCO counts (column-major).
        labels: Label of each object; empty where nothing is said of labels.
        is_crowd: Whether the mask covers a group that was not told apart; empty where none does.
        areas_px: Area of each object, as it decides whether the object is small, medium or large;
            empty for the pixels of the masks. COCO's own numbers take `area` of the annotations,
            which is that of the polygon.

    Raises:
        ValueError: If something is said of more or fewer objects than there are.
    """

    image_id: str
    height_px: int
    width_px: int
    rles: Sequence[bytes]
    labels: Sequence[str] = ()
    is_crowd: Sequence[bool] = ()
    areas_px: Sequence[float] = ()

    def __post_init__(self) -> None:
        for name in ("labels", "is_crowd", "areas_px"):
            _expect_as_many(self.image_id, name, len(getattr(self, name)) or len(self), len(self))

    def __len__(self) -> int:
        return len(self.rles)

    @property
    def crowd(self) -> NDArray[np.bool_]:
        """`is_crowd` of each object, shape (objects,)."""
        return np.array(self.is_crowd if len(self.is_crowd) else [False] * len(self), np.bool_)


@dataclass(frozen=True)
class ImageMasks:
    """What a model found on an image.

    Attributes:
        image_id: Names the image.
        height_px: Height of the image and of all masks.
        width_px: Width of the image and of all masks.
        rles: The masks, as compressed COCO counts (column-major), in any order.
        scores: How sure the model is of each mask; higher is surer, in any unit.
        labels: Label of each mask; empty where the masks have none.

    Raises:
        ValueError: If there are more or fewer scores or labels than masks, or a score is not
            finite.
    """

    image_id: str
    height_px: int
    width_px: int
    rles: Sequence[bytes]
    scores: Sequence[float]
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        _expect_as_many(self.image_id, "scores", len(self.scores), len(self))
        _expect_as_many(self.image_id, "labels", len(self.labels) or len(self), len(self))
        if not all(map(math.isfinite, self.scores)):
            raise ValueError(f"image {self.image_id!r}: a score is not finite")

    def __len__(self) -> int:
        return len(self.rles)

    @classmethod
    def from_masks(
        cls,
        image_id: str,
        masks: Sequence[Mask],
        height_px: int,
        width_px: int,
        labels: Sequence[str] = (),
        rank: Rank = "mean",
    ) -> Self:
        """Take over what a `Segmenter` found.

        Args:
            image_id: Names the image.
            masks: Its masks.
            height_px: Height of the image.
            width_px: Width of the image.
            labels: Label of each mask, if they have any.
            rank: What the score is: the mean of predicted IoU and stability, by which the SAM paper
                ranks masks as proposals, or the predicted IoU alone.
        """
        stable = [mask.stability_score for mask in masks]
        rated = [mask.predicted_iou for mask in masks]
        mean = [(one + other) / 2 for one, other in zip(rated, stable, strict=True)]
        scores = mean if rank == "mean" else rated
        return cls(image_id, height_px, width_px, [m.rle for m in masks], scores, labels)


Image = TypeVar("Image", ImageObjects, ImageMasks)


def pair_images(
    truth: Sequence[ImageObjects], predicted: Sequence[ImageMasks]
) -> list[tuple[ImageObjects, ImageMasks]]:
    """Put the masks of each image beside its objects, in the order of `truth`.

    Images of `truth` that `predicted` leaves out get no masks: nothing was found on them.

    Raises:
        ValueError: An image is there twice, is unknown, or has two sizes.
    """
    found, known = _by_id(predicted), _by_id(truth)
    if unknown := sorted(found.keys() - known.keys()):
        raise ValueError(
            f"masks of images that truth does not have: {', '.join(unknown[:3])}; give truth an "
            "entry for each image, without objects where it has none"
        )
    pairs = []
    for image_id, objects in known.items():
        nothing = ImageMasks(image_id, objects.height_px, objects.width_px, (), ())
        pairs.append((objects, found.get(image_id, nothing)))
    for one, other in pairs:
        _expect_one_size(one, other)
    return pairs


def pair_masks(
    first: Sequence[ImageMasks], second: Sequence[ImageMasks]
) -> list[tuple[ImageMasks, ImageMasks]]:
    """Put the masks of each image beside another model's, in the order of `first`.

    Raises:
        ValueError: An image is there twice or has two sizes, or only one of them has it.
    """
    ones, others = _by_id(first), _by_id(second)
    if differing := sorted(ones.keys() ^ others.keys()):
        raise ValueError(
            f"expected masks of the same images, but only one has {', '.join(differing[:3])}; "
            "an image without masks is an entry too"
        )
    pairs = [(masks, others[image_id]) for image_id, masks in ones.items()]
    for one, other in pairs:
        _expect_one_size(one, other)
    return pairs


def place_in(known: Sequence[Any], value: object, what: str) -> int:
    """Return where a value is.

    Raises:
        ValueError: It is not there; the message says what is.
    """
    if value not in known:
        raise ValueError(f"expected {what} among {list(known)}, but got {value!r}")
    return known.index(value)


def _by_id(images: Sequence[Image]) -> dict[str, Image]:
    known: dict[str, Image] = {}
    for image in images:
        if image.image_id in known:
            raise ValueError(f"expected each image once, but {image.image_id!r} is there twice")
        known[image.image_id] = image
    return known


def _expect_one_size(one: ImageObjects | ImageMasks, other: ImageMasks) -> None:
    sizes = [f"{image.width_px} x {image.height_px} px" for image in (one, other)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"image {one.image_id!r} is {sizes[0]}, but its masks are {sizes[1]}")


def _expect_as_many(image_id: str, name: str, found: int, expected: int) -> None:
    if found != expected:
        raise ValueError(f"image {image_id!r}: expected {expected} {name}, but got {found}")
