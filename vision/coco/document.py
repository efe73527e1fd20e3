"""Check a COCO file whole: keep what is usable, name what is not.

A document that is malformed as such (its JSON, its ids, its paths) is refused with one finding.
A single bad image or annotation is set aside with a finding, and the rest is kept.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any

from vision.coco.annotations import AnnotationReader
from vision.coco.findings import FindingLog, make_finding
from vision.coco.identifiers import CocoId, IdentifierError
from vision.coco.image_entries import read_identifier, read_images
from vision.coco.json_text import DocumentError, has_byte_order_mark, not_finite, parse_json
from vision.coco.mask_files import MaskFiles, ReadFile
from vision.coco.panoptic import is_panoptic, read_panoptic
from vision.coco.records import CheckedDocument, CocoAnnotation, CocoImage
from vision.coco.sa1b import is_sa1b, read_sa1b

__all__ = ["CheckedDocument", "CocoAnnotation", "CocoImage", "check_document"]

DEFAULT_MAX_BYTES = 512 * 1024 * 1024
MAX_NAME_CHARACTERS = 256


def check_document(
    data: bytes,
    file: str,
    max_bytes: int = DEFAULT_MAX_BYTES,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    local: bool = True,
    read_file: ReadFile | None = None,
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
        read_file: Gives the bytes of the mask files that the document names.

    Returns:
        The usable images, annotations and categories, and all findings. For a refused document one
        finding with the verdict `reject`, and nothing else.
    """
    try:
        return _check(data, file, max_bytes, sizes or {}, local, MaskFiles(read_file, local))
    except DocumentError as error:
        return CheckedDocument(
            findings=[make_finding(file, error.pointer, error.rule, error.value)]
        )


def _check(
    data: bytes,
    file: str,
    max_bytes: int,
    sizes: Mapping[str, tuple[int, int]],
    local: bool,
    files: MaskFiles,
) -> CheckedDocument:
    log = FindingLog(file)
    if has_byte_order_mark(data):
        log.add("json.byte_order_mark", "", data[:3])
    document = parse_json(data, max_bytes)
    if not isinstance(document, dict):
        raise DocumentError("document.type", type(document).__name__)
    damaged = _entries_not_finite(document, data)
    if is_sa1b(document):
        return read_sa1b(document, sizes, local, damaged, log)
    categories = _read_categories(document.get("categories"), log)
    listed = document.get("images")
    if not isinstance(listed, list) or not listed:
        raise DocumentError("document.no_images", listed, "/images")
    listed = [(f"/images/{i}", entry) for i, entry in enumerate(listed)]
    images, set_aside = read_images(listed, sizes, local, damaged, log)
    entries = document.get("annotations", [])
    if not isinstance(entries, list):
        raise DocumentError("document.annotations", entries, "/annotations")
    reader = AnnotationReader(images, set_aside, categories, damaged, log, files)
    pointed = [(f"/annotations/{i}", entry) for i, entry in enumerate(entries)]
    annotations = reader.read([(at, entry) for at, entry in pointed if not is_panoptic(entry)])
    panoptic = [(at, entry) for at, entry in pointed if is_panoptic(entry)]
    annotations += read_panoptic(panoptic, reader, files, log)
    return CheckedDocument(
        list(images.values()), annotations, categories, log.findings(), frozenset(set_aside)
    )


def _entries_not_finite(document: dict[str, Any], data: bytes) -> dict[str, tuple[str, float]]:
    """Entries that hold NaN or infinity: pointer of the entry -> pointer and value of the number.

    Raises:
        DocumentError: Such a number lies outside images and annotations.
    """
    entries: dict[str, tuple[str, float]] = {}
    for pointer, value in not_finite(document, data):
        parts = pointer.split("/")
        # SA-1B has one image to a document: its entry is not in a list.
        depth = {"images": 3, "annotations": 3, "image": 2}.get(parts[1] if parts[1:] else "", 0)
        if not 0 < depth < len(parts):
            raise DocumentError("json.not_finite", value, pointer)
        entries["/".join(parts[:depth])] = (pointer, value)
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
            category_id = read_identifier(entry, pointer, log)
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
