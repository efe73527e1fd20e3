"""Check a COCO file whole: keep what is usable, name what is not.

A document that is malformed as such (its JSON, its ids, its paths) is refused with one finding.
A single bad image or annotation is set aside with a finding, and the rest is kept.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any

from vision.coco.annotations import AnnotationReader
from vision.coco.file_names import broken_path_rule, check_distinct
from vision.coco.findings import FindingLog, make_finding
from vision.coco.identifiers import CocoId, IdentifierError, parse_identifier
from vision.coco.json_text import DocumentError, has_byte_order_mark, not_finite, parse_json
from vision.coco.records import CheckedDocument, CocoAnnotation, CocoImage
from vision.masks.runs import MAX_MASK_PX

__all__ = ["CheckedDocument", "CocoAnnotation", "CocoImage", "check_document"]

DEFAULT_MAX_BYTES = 512 * 1024 * 1024
MAX_NAME_CHARACTERS = 256


def check_document(
    data: bytes,
    file: str,
    max_bytes: int = DEFAULT_MAX_BYTES,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    local: bool = True,
) -> CheckedDocument:
    """Check a COCO JSON file and rasterise its annotations.

    Args:
        data: The file.
        file: Its name in the drop, for the findings.
        max_bytes: Largest file parsed.
        sizes: Width and height in pixels, after the EXIF orientation, of the image files that
            could be decoded, by `file_name`. Fills in sizes missing from the JSON, and is
            compared with the others.
        local: Whether the drop lies in a file system, where names ending in a dot or a space are
            refused.

    Returns:
        The usable images, annotations and categories, and all findings. For a refused document one
        finding with the verdict `reject`, and nothing else.
    """
    try:
        return _check(data, file, max_bytes, sizes or {}, local)
    except DocumentError as error:
        return CheckedDocument(
            findings=[make_finding(file, error.pointer, error.rule, error.value)]
        )


def _check(
    data: bytes, file: str, max_bytes: int, sizes: Mapping[str, tuple[int, int]], local: bool
) -> CheckedDocument:
    log = FindingLog(file)
    if has_byte_order_mark(data):
        log.add("json.byte_order_mark", "", data[:3])
    document = parse_json(data, max_bytes)
    if not isinstance(document, dict):
        raise DocumentError("document.type", type(document).__name__)
    damaged = _entries_not_finite(document, data)
    categories = _read_categories(document.get("categories"), log)
    images, set_aside = _read_images(document.get("images"), sizes, local, damaged, log)
    entries = document.get("annotations", [])
    if not isinstance(entries, list):
        raise DocumentError("document.annotations", entries, "/annotations")
    reader = AnnotationReader(images, set_aside, categories, damaged, log)
    annotations = reader.read(entries)
    return CheckedDocument(list(images.values()), annotations, categories, log.findings())


def _entries_not_finite(document: dict[str, Any], data: bytes) -> dict[str, tuple[str, float]]:
    """Entries that hold NaN or infinity: pointer of the entry -> pointer and value of the number.

    Raises:
        DocumentError: Such a number lies outside images and annotations.
    """
    entries: dict[str, tuple[str, float]] = {}
    for pointer, value in not_finite(document, data):
        parts = pointer.split("/")
        if len(parts) < 4 or parts[1] not in ("images", "annotations"):
            raise DocumentError("json.not_finite", value, pointer)
        entries["/".join(parts[:3])] = (pointer, value)
    return entries


def _read_categories(entries: Any, log: FindingLog) -> dict[CocoId, str]:
    if not isinstance(entries, list):
        raise DocumentError("document.no_categories", entries, "/categories")
    categories: dict[CocoId, str] = {}
    for i, entry in enumerate(entries):
        pointer = f"/categories/{i}"
        if not isinstance(entry, dict):
            raise DocumentError("category.type", entry, pointer)
        try:
            category_id = _identifier(entry, pointer, log)
        except IdentifierError as error:
            raise DocumentError("category.id", error.value, f"{pointer}/id") from None
        if category_id in categories:
            raise DocumentError("category.duplicate_id", category_id, f"{pointer}/id")
        name = entry.get("name")
        if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_CHARACTERS:
            raise DocumentError("category.name", name, f"{pointer}/name")
        if any(unicodedata.category(c) in ("Cc", "Cf") for c in name):
            log.add("category.hidden_characters", f"{pointer}/name", ascii(name))
        if name in categories.values():
            log.add("category.same_name", f"{pointer}/name", name)
        categories[category_id] = name
    return categories


def _read_images(
    entries: Any,
    sizes: Mapping[str, tuple[int, int]],
    local: bool,
    damaged: Mapping[str, tuple[str, float]],
    log: FindingLog,
) -> tuple[dict[CocoId, CocoImage], set[CocoId]]:
    """Read `images`.

    Returns:
        Usable images by id, and the ids of those set aside.

    Raises:
        DocumentError: There are none, or an id or a path is refused.
    """
    if not isinstance(entries, list) or not entries:
        raise DocumentError("document.no_images", entries, "/images")
    images: dict[CocoId, CocoImage] = {}
    names: list[tuple[str, str]] = []
    ids: set[CocoId] = set()
    for i, entry in enumerate(entries):
        pointer = f"/images/{i}"
        if not isinstance(entry, dict):
            log.add("image.type", pointer, entry)
            continue
        image_id: CocoId | None = None
        try:
            image_id = _identifier(entry, pointer, log)
        except IdentifierError as error:
            log.add("image.id", f"{pointer}/id", error.value)
        else:
            if image_id in ids:
                raise DocumentError("image.duplicate_id", image_id, f"{pointer}/id")
            ids.add(image_id)
        name = _file_name(entry, local, pointer, log)
        if name is not None:
            names.append((f"{pointer}/file_name", name))
        if pointer in damaged:
            log.add("image.not_finite", *damaged[pointer])
        elif image_id is not None and name is not None:
            size = _image_size(entry, sizes.get(name), pointer, log)
            if size is not None:
                split = entry.get("split")
                split = split if isinstance(split, str) and split else None
                images[image_id] = CocoImage(image_id, name, *size, split, pointer)
    check_distinct(names, log)
    return images, ids - set(images)


def _identifier(entry: dict[str, Any], pointer: str, log: FindingLog) -> CocoId:
    """Read the id of an entry.

    Raises:
        IdentifierError: It has none.
        DocumentError: The id does not fit 64 bits.
    """
    try:
        identifier, note = parse_identifier(entry.get("id"))
    except IdentifierError as error:
        if error.too_large:
            raise DocumentError("id.too_large", error.value, f"{pointer}/id") from None
        raise
    if note:
        log.add(note, f"{pointer}/id", entry["id"])
    return identifier


def _file_name(entry: dict[str, Any], local: bool, pointer: str, log: FindingLog) -> str | None:
    name = entry.get("file_name")
    if not isinstance(name, str):
        log.add("image.file_name", f"{pointer}/file_name", name)
        return None
    if rule := broken_path_rule(name, local):
        raise DocumentError(rule, name, f"{pointer}/file_name")
    return name


def _image_size(
    entry: dict[str, Any], decoded: tuple[int, int] | None, pointer: str, log: FindingLog
) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    stated = [width, height]
    if width is None or height is None:
        if decoded is None:
            log.add("image.size_unknown", pointer, stated)
        else:
            log.add("image.size_filled", pointer, list(decoded))
        return decoded
    for side in stated:
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            log.add("image.size", pointer, stated)
            return None
    if width * height > MAX_MASK_PX:
        log.add("image.too_large", pointer, f"{width} x {height} px")
        return None
    if decoded is not None and (width, height) != decoded:
        log.add("image.size_differs", pointer, f"{stated}, the file has {list(decoded)}")
        return None
    return width, height
