"""What images and masks are called and how they are described in COCO's JSON."""

from collections.abc import Sequence
from typing import Any

from tasks.exports.selection import ExportImage, ExportObject
from tasks.mask_names import slug
from vision.masks import rle_area, rle_bbox

INFO = {"description": "Exported by SegMill", "version": "1.0"}
FIRST_CATEGORY = 1  # 0 means background or unlabelled in many programs


def category_ids(labels: Sequence[str]) -> dict[str, int]:
    """The id of each label, from 1 in the given order."""
    return {label: number for number, label in enumerate(labels, start=FIRST_CATEGORY)}


def image_entry(image: ExportImage, file_name: str) -> dict[str, Any]:
    """An entry of `images`; its last two keys lead back to the tables."""
    return {
        "id": image.number,
        "file_name": file_name,
        "width": image.width_px,
        "height": image.height_px,
        "split": image.split,
        "source_file_name": image.file_name,
        "sha256": image.image_id,
    }


def annotation_entry(
    number: int, image: ExportImage, item: ExportObject, category_id: int
) -> dict[str, Any]:
    """An entry of `annotations` without its mask; `source_id` leads back to the table.

    Args:
        number: the id.
        image: the image.
        item: the mask.
        category_id: id of its label.
    """
    entry: dict[str, Any] = {
        "id": number,
        "image_id": image.number,
        "category_id": category_id,
        "bbox": list(rle_bbox(item.rle, image.height_px, image.width_px)),
        "area": rle_area(item.rle),
        "iscrowd": int(item.iscrowd),
        "source_id": item.object_id,
    }
    if item.score is not None:
        entry["score"] = item.score
    return entry


def rle_entry(image: ExportImage, rle: bytes) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths."""
    return {"size": [image.height_px, image.width_px], "counts": rle.decode("ascii")}


def split_folder(split: str) -> str:
    """The folder of a split: `train` and `val` under whatever name, else the name made safe."""
    name = slug(split)
    return next((plain for plain in ("train", "val") if name.startswith(plain)), name)
