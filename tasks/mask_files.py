"""Write the mask PNGs of a drop's annotations, under the names COCO's ids give."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from storage.objects import ObjectStore
from storage.objects.ahead import ahead
from tasks.drop_annotations import MatchedImage
from tasks.mask_names import mask_key
from tasks.report.data import Progress
from vision.coco import CocoAnnotation
from vision.masks import expect_masks, rle_to_png


def write_masks(
    target: ObjectStore,
    dataset: str,
    annotations: Sequence[tuple[MatchedImage, CocoAnnotation]],
    splits: Mapping[str, str],
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Write each annotation's mask and return the rows of `annotations`, without their unit.

    Args:
        target: The store of the data root.
        dataset: The dataset.
        annotations: The good annotations with their image.
        splits: The split of each image, by image id.
        progress: Told after each mask.
    """

    def write(pair: tuple[MatchedImage, CocoAnnotation]) -> dict[str, Any]:
        image, annotation = pair
        split = splits[image.stored.image_id]
        key = mask_key(dataset, split, image.source_id or "", annotation.id)
        return {
            "annotation_id": str(annotation.id),
            "dataset": dataset,
            "image_id": image.stored.image_id,
            "category": annotation.category,
            "bbox_xywh": list(annotation.bbox_xywh),
            "area_px": annotation.area_px,
            "iscrowd": annotation.iscrowd,
            "rle": annotation.rle.decode("ascii"),
            "segmentation_file": _write_mask(target, key, image, annotation),
            "source": "coco",
        }

    expect_masks(len(annotations))
    rows = []
    # A write mostly waits for the disk or the network: some at once are ten times faster.
    for done, (_, row) in enumerate(ahead(annotations, write), start=1):
        rows.append(row.result())
        if progress:
            progress("masks", done, len(annotations))
    return rows


def _write_mask(
    target: ObjectStore, key: str, image: MatchedImage, annotation: CocoAnnotation
) -> str:
    """Write one mask and return its key."""
    png = rle_to_png(annotation.rle, image.stored.height_px, image.stored.width_px)
    # Ids are unique in a document only: another one of the dataset may use the same.
    if not target.create(key, png) and target.read(key) != png:
        key = f"{key.removesuffix('.png')}_{hashlib.sha256(png).hexdigest()[:12]}.png"
        target.create(key, png)
    return key
