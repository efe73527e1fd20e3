"""Read COCO panoptic annotations: an entry per image, its masks together in one PNG."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vision.coco.annotations import AnnotationReader, UnusableEntryError
from vision.coco.findings import FindingLog
from vision.coco.identifiers import IdentifierError, parse_identifier
from vision.coco.mask_files import MaskFileError, MaskFiles
from vision.coco.panoptic_png import SegmentMasks, png_to_ids
from vision.coco.records import CocoAnnotation, CocoImage
from vision.coco.repeated_ids import RepeatedIds, repeated_ids


def is_panoptic(entry: Any) -> bool:
    """Whether an entry of `annotations` is of this form."""
    return isinstance(entry, dict) and "segments_info" in entry


def read_panoptic(
    at: str,
    entry: dict[str, Any],
    reader: AnnotationReader,
    files: MaskFiles,
    log: FindingLog,
) -> list[CocoAnnotation]:
    """Keep every usable segment of an image, and record a finding for each of the others.

    Args:
        at: JSON pointer to the entry.
        entry: The entry, with `segments_info`.
        reader: Reads the segments.
        files: The PNGs beside the document.
        log: Receives the findings.

    Returns:
        An annotation for each segment; its id is the segment's, which differs within an image.

    Raises:
        DocumentError: An id does not fit 64 bits, or a path could lead out of the drop.
    """
    segments = entry["segments_info"]
    if not isinstance(segments, list):
        log.add("panoptic.segments", f"{at}/segments_info", segments)
        return []
    pointed = [(f"{at}/segments_info/{j}", segment) for j, segment in enumerate(segments)]
    try:
        reader.check_finite(at)
        image = reader.image_of(entry, at)
        masks = _masks(entry, image, at, files)
    except UnusableEntryError as error:
        # One for each segment, so that as many are counted as are lost.
        for _ in segments:
            log.add(*error.facts)
        return []
    annotations = _read_segments(pointed, image, masks, reader, log)
    known = {_segment_id(segment) for segment in segments}
    for unknown in (n for n in masks.ids if n not in known):
        log.add("panoptic.id_unknown", f"{at}/file_name", unknown)
    return annotations


def _masks(entry: dict[str, Any], image: CocoImage, at: str, files: MaskFiles) -> SegmentMasks:
    pointer = f"{at}/file_name"
    try:
        return SegmentMasks(png_to_ids(files.read(entry.get("file_name"), image, pointer)))
    except MaskFileError as error:
        raise UnusableEntryError(error.rule, pointer, error.value) from None


def _read_segments(
    pointed: Sequence[tuple[str, Any]],
    image: CocoImage,
    masks: SegmentMasks,
    reader: AnnotationReader,
    log: FindingLog,
) -> list[CocoAnnotation]:
    present = set(masks.ids)
    completed: list[tuple[str, Any]] = []
    for at, segment in pointed:
        if not isinstance(segment, dict):
            completed.append((at, segment))
            continue
        segment_id = _segment_id(segment)
        filled = {key: segment[key] for key in segment if not key.startswith("segmentation")}
        filled["image_id"] = image.id
        if segment_id in present:
            counts = masks.rle(segment_id).decode("ascii")
            filled["segmentation"] = {"size": [image.height, image.width], "counts": counts}
        elif segment_id is not None:
            log.add("panoptic.segment_missing", f"{at}/id", segment_id)
            continue
        completed.append((at, filled))
    found = reader.read(completed, _repeated_ids(completed), rle_is_usual=True)
    return [replace(annotation, segmentation_kind="panoptic_png") for annotation in found]


def _segment_id(segment: Any) -> int | None:
    """The id of a segment; None where it is none that a PNG can hold."""
    if not isinstance(segment, dict):
        return None
    try:
        segment_id, _ = parse_identifier(segment.get("id"))
    except IdentifierError:
        return None
    return segment_id if isinstance(segment_id, int) else None


def _repeated_ids(segments: Sequence[tuple[str, Any]]) -> RepeatedIds:
    return repeated_ids(s.get("id") for _, s in segments if isinstance(s, dict))
