"""Read what a document says of its images, entry by entry."""

from collections.abc import Iterable, Mapping
from typing import Any

from vision.coco.file_names import broken_path_rule, check_distinct
from vision.coco.findings import FindingLog
from vision.coco.identifiers import CocoId, IdentifierError, parse_identifier
from vision.coco.json_text import DocumentError
from vision.coco.records import CocoImage
from vision.masks.runs import MAX_MASK_PX


def read_images(
    entries: Iterable[tuple[str, Any]],
    sizes: Mapping[str, tuple[int, int]],
    local: bool,
    damaged: Mapping[str, tuple[str, float]],
    log: FindingLog,
    id_key: str = "id",
) -> tuple[dict[CocoId, CocoImage], set[CocoId]]:
    """Keep every usable image, and record a finding for each of the others.

    Args:
        entries: JSON pointer and value of each entry.
        sizes: Width and height in pixels of the image files that could be decoded, by name.
        local: Whether the images lie in a file system; see `broken_path_rule`.
        damaged: For each entry with a number that is not finite, by pointer: the pointer to the
            number, and the number.
        log: Receives the findings.
        id_key: Key of the id.

    Returns:
        Usable images by id, and the ids of those set aside.

    Raises:
        DocumentError: An id or a path is refused.
    """
    images: dict[CocoId, CocoImage] = {}
    names: list[tuple[str, str]] = []
    ids: set[CocoId] = set()
    for pointer, entry in entries:
        if not isinstance(entry, dict):
            log.add("image.type", pointer, entry)
            continue
        image_id: CocoId | None = None
        try:
            image_id = read_identifier(entry, pointer, log, id_key)
        except IdentifierError as error:
            log.add("image.id", f"{pointer}/{id_key}", error.value)
        else:
            if image_id in ids:
                raise DocumentError("image.duplicate_id", image_id, f"{pointer}/{id_key}")
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


def read_identifier(
    entry: Mapping[str, Any], pointer: str, log: FindingLog, key: str = "id"
) -> CocoId:
    """Read the id of an entry, and note it if it is of another type than it should be.

    Raises:
        IdentifierError: It has none.
        DocumentError: The id does not fit 64 bits.
    """
    try:
        identifier, note = parse_identifier(entry.get(key))
    except IdentifierError as error:
        if error.too_large:
            raise DocumentError("id.too_large", error.value, f"{pointer}/{key}") from None
        raise
    if note:
        log.add(note, f"{pointer}/{key}", entry[key])
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
