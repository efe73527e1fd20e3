"""A folder of images with COCO annotations as a set to measure models on, without a lake."""

from collections import defaultdict

from storage.objects import open_store
from storage.settings import Settings
from tasks.check_drop import check_drop
from tasks.drops import place_of
from tasks.frozen_set import FrozenImage, FrozenSet, distinct_masks, freeze_images
from tasks.report.data import Progress
from tasks.seal_drops import read_drop


def freeze_folder(
    source: str,
    settings: Settings,
    *,
    split: str | None = None,
    max_images: int | None = None,
    progress: Progress | None = None,
) -> tuple[FrozenSet, int]:
    """Read a drop as ingesting would, and store nothing.

    Args:
        source: A folder, or `s3://bucket/prefix`.
        settings: How large images and documents may be.
        split: Only images whose COCO entry names this split; None takes all.
        max_images: At most so many, chosen by a hash of their bytes.
        progress: Told after each image.

    Returns:
        The images that have annotations other than crowds, and how many things are wrong with the
        folder: what is wrong is left out.

    Raises:
        EmptyDropError: If the folder holds nothing.
        NoFrozenSetError: If no image has an annotation.
    """
    drop = read_drop(place_of(source, "default"), progress)
    content = check_drop(
        drop,
        max_image_px=settings.max_image_px,
        max_image_bytes=settings.max_image_bytes,
        max_json_bytes=settings.max_json_bytes,
        progress=progress,
    )
    rles: dict[str, list[bytes]] = defaultdict(list)
    for image, annotation in content.annotations:
        if not annotation.iscrowd:
            rles[image.stored.image_id].append(annotation.rle)
    images: dict[str, FrozenImage] = {}
    looks: dict[str, str] = {}
    for image in content.images.values():
        stored = image.stored
        if split is not None and image.split != split:
            continue
        looks[stored.image_id] = stored.perceptual_hash
        images[stored.image_id] = FrozenImage(
            image_id=stored.image_id,
            key=stored.key,
            file_name=image.file_name,
            width_px=stored.width_px,
            height_px=stored.height_px,
            rles=distinct_masks(rles[stored.image_id], stored.height_px, stored.width_px),
        )
    found = freeze_images(
        list(images.values()),
        looks,
        dataset=source,
        split=split or "",
        store=open_store(drop.place.root),
        max_images=max_images,
    )
    return found, len(content.findings)
