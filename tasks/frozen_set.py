"""What models are measured on: held-back images with masks that somebody vouches for.

It is frozen: the same tables or files give the same images, masks and groups in the same order, and
its hash says whether two measurements are of the same ones.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.objects import ObjectStore, open_store
from storage.queries import named_query
from storage.session import connect
from tasks.near_duplicates import near_duplicate_groups
from tasks.report.gather import image_key
from tasks.training_data import NoTrainingDataError, TrainingData, TrainingSample
from vision.images import DEFAULT_MAX_PX, ImageError, decode_image
from vision.masks import rle_area, rle_iou

HELD_OUT_SPLITS = ("test", "val")
"""Where images are held back, the one that is preferred first."""

# What overlaps an object so much is the same object, drawn twice.
_SAME_OBJECT_IOU = 0.9
# Decides which images are chosen where not all are taken, and in which order.
_ORDER_SEED = 0

_LOOKS = """
SELECT image_id, min(perceptual_hash) FROM images WHERE dataset = $dataset GROUP BY image_id
"""
_DATASETS = "SELECT DISTINCT dataset FROM images ORDER BY dataset LIMIT 10"

Pixels = NDArray[np.uint8]


class NoFrozenSetError(ValueError):
    """There is nothing to measure a model on."""


@dataclass(frozen=True)
class FrozenImage:
    """An image with its true masks.

    Attributes:
        image_id: Hash of its bytes, sha256.
        key: Where it is in its store.
        file_name: Its name in its drop.
        width_px: Width after the EXIF orientation is applied.
        height_px: Height, likewise.
        rles: Mask of each object, at least one, as compressed COCO counts; none is empty.
    """

    image_id: str
    key: str
    file_name: str
    width_px: int
    height_px: int
    rles: tuple[bytes, ...]


@dataclass(frozen=True)
class FrozenSet:
    """Images to measure models on.

    Attributes:
        dataset: Where they are from.
        split: Which of its images they are.
        digest: Hash of the images and their masks.
        names: File name by image id, in the order in which they are measured.
        objects: How many masks they have.
        groups: By image id the group of images that look alike; of those that look like another.
        store: The objects.
        images: Reads them anew, one after the other.
    """

    dataset: str
    split: str
    digest: str
    names: Mapping[str, str]
    objects: int
    groups: Mapping[str, str]
    store: ObjectStore
    images: Callable[[], Iterator[FrozenImage]]


@contextmanager
def frozen_split(
    root: str, dataset: str, split: str, max_images: int | None = None
) -> Iterator[FrozenSet]:
    """The held-back images of a split: annotations that came with drops, and what people accepted.

    What rules accepted is left out, for it is what some model found by itself.

    Args:
        root: The data root.
        dataset: The dataset.
        split: `test`, `val` or another one but `train`.
        max_images: At most so many, chosen by a hash of their ids: fewer are some of more.

    Raises:
        NoFrozenSetError: If there is no such image, or the split is trained on.
        StorageError: As `TrainingData`.
    """
    if split.lower().startswith("train"):
        raise NoFrozenSetError(
            f"images of the split {split!r} are trained on, so a model does better on them than on "
            f"others; measure it on one of {', '.join(HELD_OUT_SPLITS)}"
        )
    lake = Lake.open(root)
    try:
        data = TrainingData(lake, dataset=dataset, split=split)
    except NoTrainingDataError:
        raise _nothing_in(lake, dataset, split) from None
    with data:
        found = _freeze(
            dataset,
            split,
            lambda: _frozen_images(data),
            open_store(root),
            lambda: _looks(lake, dataset),
            max_images,
        )
        if found is None:
            raise _nothing_in(lake, dataset, split)
        yield found


def freeze_images(
    images: Sequence[FrozenImage],
    looks: Mapping[str, str],
    *,
    dataset: str,
    split: str,
    store: ObjectStore,
    max_images: int | None = None,
) -> FrozenSet:
    """Take images that are in no lake.

    Args:
        images: The images; those without masks are left out.
        looks: By image its 64-bit difference hash, hexadecimal.
        dataset: What to call them.
        split: Likewise.
        store: Where they are.
        max_images: At most so many, chosen by a hash of their ids.

    Raises:
        NoFrozenSetError: If none has a mask.
    """
    ordered = sorted(images, key=lambda image: measuring_order(image.image_id))
    found = _freeze(dataset, split, lambda: iter(ordered), store, lambda: looks, max_images)
    if found is None:
        raise NoFrozenSetError(
            f"no image of {dataset} has an annotation"
            + (f" and is in the split {split!r}" if split else "")
            + f"; segmill check {dataset} says what is wrong with it"
        )
    return found


@task(name="held-out-split", cache_policy=NO_CACHE)
def held_out_split(root: str, dataset: str, split: str | None = None) -> str:
    """The split that models of a dataset are measured on: `test`, or `val` where that has nothing.

    Args:
        root: The data root.
        dataset: The dataset.
        split: The one that is wanted; it is only looked at.

    Raises:
        NoFrozenSetError: If it, or both, have no image with masks that somebody vouches for, or it
            is trained on.
    """
    if split is not None:
        with frozen_split(root, dataset, split):
            return split
    lake = Lake.open(root)
    found = {kind: with_masks for kind, _, with_masks in _splits(lake, dataset)}
    for split in HELD_OUT_SPLITS:
        if found.get(split):
            return split
    raise _nothing_in(lake, dataset, " or ".join(HELD_OUT_SPLITS))


def read_frozen(store: ObjectStore, image: FrozenImage, max_px: int = DEFAULT_MAX_PX) -> Pixels:
    """Read the pixels of an image.

    Returns:
        uint8, shape (height_px, width_px, 3), RGB, upright.

    Raises:
        ObjectNotFoundError: If it is gone.
        ImageError: If it cannot be decoded, or is not what it was.
    """
    data = store.read(image.key)
    if hashlib.sha256(data).hexdigest() != image.image_id:
        raise ImageError("image.corrupt", f"other bytes than before: {image.key}")
    rgb = decode_image(data, max_px).rgb
    if rgb.shape[:2] != (image.height_px, image.width_px):
        raise ImageError("image.corrupt", f"another size than its masks: {image.key}")
    return rgb


def distinct_masks(rles: Sequence[bytes], height_px: int, width_px: int) -> tuple[bytes, ...]:
    """The masks without empty ones, and without those that show an object a second time.

    Args:
        rles: The masks; of two that show one object the first counts.
        height_px: Height of all masks.
        width_px: Width of all masks.

    Returns:
        Sorted, so that the same masks are in the same order wherever they came from: random clicks
        depend on it.

    Raises:
        RleError: A mask is not of this size.
    """
    masks = [rle for rle in dict.fromkeys(rles) if rle_area(rle)]
    overlaps = rle_iou(masks, masks, height_px, width_px)
    kept: list[int] = []
    for place in range(len(masks)):
        if not kept or overlaps[place, kept].max() < _SAME_OBJECT_IOU:
            kept.append(place)
    return tuple(sorted(masks[place] for place in kept))


def _freeze(
    dataset: str,
    split: str,
    every: Callable[[], Iterator[FrozenImage]],
    store: ObjectStore,
    looks: Callable[[], Mapping[str, str | None]],
    max_images: int | None,
) -> FrozenSet | None:
    """Go through the images once, keeping a hash of each one's masks; None if there are none."""

    def chosen() -> Iterator[FrozenImage]:
        with_masks = (image for image in every() if image.rles)
        for number, image in enumerate(with_masks, start=1):
            yield image
            if number == max_images:
                return

    digest = hashlib.sha256()
    names: dict[str, str] = {}
    objects = 0
    for image in chosen():
        names[image.image_id] = image.file_name
        objects += len(image.rles)
        of_masks = hashlib.sha256(b"\n".join(image.rles)).hexdigest()
        digest.update(f"{image.image_id} {of_masks}\n".encode())
    if not names:
        return None
    known = looks()
    groups = near_duplicate_groups({image_id: known.get(image_id) for image_id in names})
    return FrozenSet(
        dataset, split, digest.hexdigest(), names, objects, groups, store, chosen
    )  # fmt: skip


def _frozen_images(data: TrainingData) -> Iterator[FrozenImage]:
    for sample in data.samples(_ORDER_SEED):
        yield FrozenImage(
            image_id=sample.image_id,
            key=image_key(sample.image_id, sample.uri),
            file_name=sample.file_name,
            width_px=sample.width_px,
            height_px=sample.height_px,
            rles=_vouched(sample),
        )


def _vouched(sample: TrainingSample) -> tuple[bytes, ...]:
    rles = [mask.rle for mask in sample.masks if mask.source != "rules"]
    return distinct_masks(rles, sample.height_px, sample.width_px)


def measuring_order(image_id: str) -> tuple[str, str]:
    """By what images are sorted before they are measured, and the first ones chosen.

    As `TrainingData.samples` shuffles.
    """
    key = f"{image_id}/{_ORDER_SEED}".encode()
    return hashlib.md5(key, usedforsecurity=False).hexdigest(), image_id


def _looks(lake: Lake, dataset: str) -> dict[str, str | None]:
    with connect(lake) as session:
        return dict(session.execute(_LOOKS, {"dataset": dataset}).fetchall())


def _splits(lake: Lake, dataset: str) -> list[tuple[str, int, int]]:
    with connect(lake) as session:
        return session.execute(named_query("split_counts"), {"dataset": dataset}).fetchall()


def _nothing_in(lake: Lake, dataset: str, split: str) -> NoFrozenSetError:
    found = _splits(lake, dataset)
    if not found:
        with connect(lake) as session:
            known = ", ".join(name for (name,) in session.execute(_DATASETS).fetchall())
        return NoFrozenSetError(f"no image in dataset {dataset!r}; there is {known or 'none yet'}")
    told = ", ".join(
        f"{kind} ({images:,} image{'s' * (images != 1)}, {with_masks:,} with masks)"
        for kind, images, with_masks in found
    )
    return NoFrozenSetError(
        f"no image of dataset {dataset!r} in the split {split} has a mask that somebody vouches "
        f"for; it has {told}. An image is in the split that its COCO entry names "
        '("split": "test"); where it names none, one in ten is drawn for val when its drop is '
        "ingested. Ingest annotated images, or accept segments of held-back ones with segmill "
        "review; what rules accept is never measured on"
    )
