"""How mask PNGs are called: after the ids that COCO gives."""

import re

_UNSAFE_CHARS = re.compile(r"[^a-z0-9]+")


def mask_key(dataset: str, split: str, image_id: int | str, annotation_id: int | str) -> str:
    """The key of an annotation's mask, from the ids COCO gives."""
    folder = f"masks/{slug(dataset)}/{slug(split)}"
    return f"{folder}/{_padded(image_id)}_{_padded(annotation_id)}.png"


def slug(text: str) -> str:
    """`text` in lower-case letters, digits and dashes, at most 60 characters."""
    return _UNSAFE_CHARS.sub("-", text.lower()).strip("-")[:60] or "x"


def _padded(coco_id: int | str) -> str:
    if re.fullmatch(r"-?[0-9]{1,19}", str(coco_id)):
        return f"{int(coco_id):012d}"
    return slug(str(coco_id))
