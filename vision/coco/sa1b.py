"""SA-1B JSON: a file per image, with masks that have no category.

`{"image": {"image_id", "width", "height", "file_name"}, "annotations": [{"id", "segmentation",
"bbox", "area", "predicted_iou", "stability_score", "crop_box", "point_coords"}]}`
"""

from collections.abc import Mapping
from typing import Any

from vision.coco.annotations import AnnotationReader
from vision.coco.findings import FindingLog
from vision.coco.identifiers import CocoId
from vision.coco.image_entries import read_images
from vision.coco.json_text import DocumentError
from vision.coco.mask_files import MaskFiles
from vision.coco.records import CheckedDocument

CATEGORY = "object"
"""What every mask of SA-1B is called, because it has no name of its own."""

_CATEGORY_ID = 1


def is_sa1b(document: Mapping[str, Any]) -> bool:
    """Whether a parsed document is of this form."""
    return isinstance(document.get("image"), dict) and "images" not in document


def read_sa1b(
    document: Mapping[str, Any],
    sizes: Mapping[str, tuple[int, int]],
    local: bool,
    damaged: Mapping[str, tuple[str, float]],
    log: FindingLog,
) -> CheckedDocument:
    """Check a parsed document of this form.

    Args:
        document: The document.
        sizes: Width and height in pixels of the image files that could be decoded, by name.
        local: Whether the image lies in a file system; see `broken_path_rule`.
        damaged: For each entry with a number that is not finite, by pointer: the pointer to the
            number, and the number.
        log: Receives the findings.

    Raises:
        DocumentError: An id or a path is refused, or there is no list of annotations.
    """
    image = document["image"]
    images, set_aside = read_images([("/image", image)], sizes, local, damaged, log, "image_id")
    entries = document.get("annotations")
    if not isinstance(entries, list):
        raise DocumentError("document.annotations", entries, "/annotations")
    # They name neither image nor category. Without a usable image, this id is one set aside.
    image_id = next(iter(images), 0)
    known = {"image_id": image_id, "category_id": _CATEGORY_ID}
    completed = [
        (f"/annotations/{i}", entry | known if isinstance(entry, dict) else entry)
        for i, entry in enumerate(entries)
    ]
    categories: dict[CocoId, str] = {_CATEGORY_ID: CATEGORY}
    reader = AnnotationReader(
        images,
        set_aside if images else {image_id},
        categories,
        damaged,
        log,
        MaskFiles(None),
    )
    annotations = reader.read(completed, rle_is_usual=True)
    return CheckedDocument(list(images.values()), annotations, categories, log.findings())
