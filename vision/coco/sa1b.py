"""SA-1B JSON: a file per image, with masks that have no category.

`{"image": {"image_id", "width", "height", "file_name"}, "annotations": [{"id", "segmentation",
"bbox", "area", "predicted_iou", "stability_score", "crop_box", "point_coords"}]}`
"""

from collections.abc import Mapping
from typing import Any

from vision.coco.identifiers import CocoId

_CATEGORY_ID = 1

CATEGORY = "object"
"""What every mask of SA-1B is called, because it has no name of its own."""

CATEGORIES: dict[CocoId, str] = {_CATEGORY_ID: CATEGORY}


def is_sa1b(document: Mapping[str, Any]) -> bool:
    """Whether a parsed document is of this form."""
    return isinstance(document.get("image"), dict) and "images" not in document


def completed(entry: Any, image_id: CocoId) -> Any:
    """Give an annotation of this form the image and the category that it does not name.

    Args:
        entry: The annotation; anything but an object is given back as it is.
        image_id: The one image of the document.
    """
    known = {"image_id": image_id, "category_id": _CATEGORY_ID}
    return entry | known if isinstance(entry, dict) else entry
