"""Write COCO JSON that every COCO reader accepts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vision.coco.identifiers import CocoId
from vision.coco.records import CocoAnnotation, CocoImage


def write_document(
    images: Iterable[CocoImage],
    annotations: Iterable[CocoAnnotation],
    categories: Mapping[CocoId, str],
    polygons: Mapping[CocoId, Sequence[Sequence[float]]] | None = None,
) -> bytes:
    """Write a COCO document; the same input gives the same bytes.

    Args:
        images: Its images.
        annotations: Its annotations. Their masks are written as compressed RLE, which is exact.
        categories: Name of each category by id; names are distinct.
        polygons: Polygons in pixels, by annotation id, for those to be written as polygons instead.

    Returns:
        UTF-8 JSON, one line.

    Raises:
        ValueError: An annotation names an unknown image or category, two categories share a name,
            or a number is not finite.
    """
    ids_by_name = {name: category_id for category_id, name in categories.items()}
    if len(ids_by_name) < len(categories):
        raise ValueError("two categories share a name: their annotations cannot be told apart")
    by_id = {image.id: image for image in images}
    shapes = polygons or {}
    document = {
        "images": [_image(image) for image in by_id.values()],
        "annotations": [_annotation(a, by_id, ids_by_name, shapes) for a in annotations],
        "categories": [{"id": key, "name": name} for key, name in categories.items()],
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


def _image(image: CocoImage) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": image.id,
        "file_name": image.file_name,
        "width": image.width,
        "height": image.height,
    }
    if image.split is not None:
        entry["split"] = image.split
    return entry


def _annotation(
    annotation: CocoAnnotation,
    images: Mapping[CocoId, CocoImage],
    category_ids: Mapping[str, CocoId],
    polygons: Mapping[CocoId, Sequence[Sequence[float]]],
) -> dict[str, Any]:
    image = images.get(annotation.image_id)
    if image is None:
        raise ValueError(f"annotation {annotation.id!r}: unknown image {annotation.image_id!r}")
    if annotation.category not in category_ids:
        raise ValueError(f"annotation {annotation.id!r}: unknown category {annotation.category!r}")
    segmentation: Any = {
        "size": [image.height, image.width],
        "counts": annotation.rle.decode("ascii"),
    }
    if annotation.id in polygons:
        segmentation = [[float(value) for value in ring] for ring in polygons[annotation.id]]
    return {
        "id": annotation.id,
        "image_id": annotation.image_id,
        "category_id": category_ids[annotation.category],
        "segmentation": segmentation,
        "bbox": list(annotation.bbox_xywh),
        "area": annotation.area_px,
        "iscrowd": int(annotation.iscrowd),
    }
