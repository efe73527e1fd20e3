"""COCO results JSON: a bare list of what a model found on the images of another document.

`[{"image_id", "category_id", "segmentation" or "bbox", "score"}]`
"""

from pathlib import PurePosixPath
from typing import Any

from vision.coco.annotations import MAX_COORDINATE, AnnotationReader
from vision.coco.findings import FindingLog, make_finding
from vision.coco.identifiers import CocoId, IdentifierError, parse_identifier
from vision.coco.json_text import (
    BYTE_ORDER_MARK,
    DocumentError,
    has_byte_order_mark,
    not_finite,
    parse_json,
)
from vision.coco.mask_files import MaskFiles
from vision.coco.records import CheckedDocument

_FIRST_BYTES = 4096
_NAME_CHARACTERS = 100
_KEYS = {"image_id", "category_id"}
_SHAPES = {"segmentation", "bbox"}


def is_list(data: bytes) -> bool:
    """Whether JSON text has a list at the top, as results have."""
    return data[:_FIRST_BYTES].removeprefix(BYTE_ORDER_MARK).lstrip()[:1] == b"["


def check_results(
    data: bytes, file: str, references: list[CheckedDocument], max_bytes: int
) -> tuple[CheckedDocument, CheckedDocument]:
    """Check a results file and rasterise its masks.

    An entry without mask gets its box as one, as pycocotools does. An entry has no id of its own:
    it gets the name of the file and its place in the list, from 1.

    Args:
        data: The file.
        file: Its name in the drop, for the findings.
        references: Documents that have images and categories.
        max_bytes: Largest file parsed.

    Returns:
        The usable annotations with all findings, and the reference they belong to: the one that
        knows most of the images. A file that is no results, or of none of the references, is
        refused with one finding.
    """
    try:
        return _check(data, file, references, max_bytes)
    except DocumentError as error:
        refused = make_finding(file, error.pointer, error.rule, error.value)
        return CheckedDocument(findings=[refused]), CheckedDocument()


def _check(
    data: bytes, file: str, references: list[CheckedDocument], max_bytes: int
) -> tuple[CheckedDocument, CheckedDocument]:
    log = FindingLog(file)
    if has_byte_order_mark(data):
        log.add("json.byte_order_mark", "", data[:3])
    entries = parse_json(data, max_bytes)
    if not isinstance(entries, list) or not entries or not all(map(_is_result, entries)):
        raise DocumentError("document.type", type(entries).__name__)
    reference = _reference(entries, references)
    damaged: dict[str, tuple[str, float]] = {}
    for pointer, value in not_finite(entries, data):
        damaged["/".join(pointer.split("/")[:2])] = (pointer, value)
    reader = AnnotationReader(
        {image.id: image for image in reference.images},
        reference.set_aside,
        reference.categories,
        damaged,
        log,
        MaskFiles(None),
    )
    name = PurePosixPath(file).stem[:_NAME_CHARACTERS]
    completed = [
        (f"/{i}", _completed(entry, f"{name}-{i + 1}", f"/{i}", log))
        for i, entry in enumerate(entries)
    ]
    annotations = list(reader.read(completed, rle_is_usual=True))
    checked = CheckedDocument(annotations=annotations, findings=log.findings())
    return checked, reference


def _is_result(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.keys() >= _KEYS and bool(entry.keys() & _SHAPES)


def _reference(entries: list[dict[str, Any]], documents: list[CheckedDocument]) -> CheckedDocument:
    named = {_image_id(entry) for entry in entries}
    known = [
        len(named & ({image.id for image in document.images} | document.set_aside))
        for document in documents
    ]
    if not any(known):
        raise DocumentError("document.type", "a list, of images that no document of the drop has")
    return documents[known.index(max(known))]


def _image_id(entry: dict[str, Any]) -> CocoId | None:
    try:
        return parse_identifier(entry["image_id"])[0]
    except IdentifierError:
        return None


def _completed(
    entry: dict[str, Any], result_id: str, pointer: str, log: FindingLog
) -> dict[str, Any]:
    completed = {key: value for key, value in entry.items() if key != "segmentation_file"}
    completed["id"] = result_id
    if "segmentation" not in entry and _is_box(box := entry["bbox"]):
        left, top, width, height = box
        right, bottom = left + width, top + height
        completed["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]
        log.add("result.box_only", pointer, box)
    return completed


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in box)
        and all(abs(v) <= MAX_COORDINATE for v in box)
    )
