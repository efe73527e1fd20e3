"""Turn the `segmentation` of one annotation, in any of its forms, into a checked mask."""

import reprlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.coco.findings import FindingLog
from vision.coco.mask_files import MaskFileError, MaskFiles
from vision.coco.records import CocoImage, SegmentationKind
from vision.masks.polygons import (
    PolygonError,
    check_polygons,
    crosses_itself,
    ring_area,
    rings_to_runs,
)
from vision.masks.rle import parse_runs
from vision.masks.runs import RleError, Runs, area_of_runs, canonical_runs

Ring = NDArray[np.float64]


class SegmentationError(ValueError):
    """A segmentation without a usable mask.

    Attributes:
        rule: The broken rule, such as `rle.short`.
        value: The offending part of the input.
        pointer: JSON pointer relative to the annotation, such as `/segmentation/0`.
    """

    def __init__(self, rule: str, value: object, pointer: str = "/segmentation") -> None:
        self.rule = rule
        self.value = value
        self.pointer = pointer
        super().__init__(f"{rule} at {pointer}: {reprlib.repr(value)}")


def read_segmentation(
    annotation: dict[str, Any], image: CocoImage, pointer: str, log: FindingLog, files: MaskFiles
) -> tuple[Runs, SegmentationKind]:
    """Rasterise or check the mask of an annotation.

    Args:
        annotation: The entry of `annotations`.
        image: The image it belongs to.
        pointer: JSON pointer to the annotation.
        log: Receives notes on what was repaired.
        files: The mask files beside the document.

    Returns:
        Canonical run lengths at the size of the image, of at least one foreground pixel, and the
        form in which the mask was given.

    Raises:
        SegmentationError: There is no segmentation, or it describes no mask of this image.
        DocumentError: The name of a mask file could lead out of the drop.
    """
    if annotation.get("segmentation_file") is not None:
        if annotation.get("segmentation") in (None, []):
            return _read_file(annotation["segmentation_file"], image, pointer, files), "mask_file"
        at = f"{pointer}/segmentation_file"
        log.add("segmentation.file_not_read", at, annotation["segmentation_file"])
    if "segmentation" not in annotation:
        raise SegmentationError("segmentation.missing", sorted(annotation), "")
    segmentation = annotation["segmentation"]
    if segmentation is None:
        raise SegmentationError("segmentation.null", segmentation)
    if isinstance(segmentation, dict):
        return _read_rle(segmentation, image)
    if not isinstance(segmentation, list):
        raise SegmentationError("segmentation.type", segmentation)
    if not segmentation:
        raise SegmentationError("segmentation.empty", segmentation)
    where = f"{pointer}/segmentation"
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in segmentation):
        log.add("polygon.flat_list", where, segmentation)
        return _read_polygons([segmentation], image, where, log, flat=True), "polygon"
    return _read_polygons(segmentation, image, where, log), "polygon"


def _read_file(name: object, image: CocoImage, pointer: str, files: MaskFiles) -> Runs:
    try:
        return files.read_mask(name, image, f"{pointer}/segmentation_file")
    except MaskFileError as error:
        raise SegmentationError(error.rule, error.value, "/segmentation_file") from None


def _read_rle(segmentation: dict[str, Any], image: CocoImage) -> tuple[Runs, SegmentationKind]:
    try:
        runs = canonical_runs(parse_runs(segmentation, image.height, image.width))
    except RleError as error:
        about_size = error.rule.startswith("rle.size") or error.rule == "rle.too_large"
        field = "size" if about_size else "counts"
        place = f"/segmentation/{field}" if field in segmentation else "/segmentation"
        raise SegmentationError(error.rule, error.value, place) from None
    if area_of_runs(runs) == 0:
        raise SegmentationError("rle.empty_mask", "0 pixels")
    compressed = isinstance(segmentation["counts"], str)
    return runs, "compressed_rle" if compressed else "uncompressed_rle"


def _read_polygons(
    polygons: list[Any], image: CocoImage, where: str, log: FindingLog, flat: bool = False
) -> Runs:
    try:
        rings = check_polygons(polygons, image.height, image.width)
        runs = canonical_runs(rings_to_runs(rings, image.height, image.width))
    except PolygonError as error:
        inner = error.pointer.removeprefix("/0") if flat else error.pointer
        raise SegmentationError(error.rule, error.value, f"/segmentation{inner}") from None
    area_px = area_of_runs(runs)
    if area_px == 0:
        outside = all(_is_outside(ring, image) for ring in rings)
        rule = "polygon.outside" if outside else "polygon.zero_area"
        raise SegmentationError(rule, polygons)
    _note_oddities(rings, image, area_px, where, log)
    return runs


def _is_outside(ring: Ring, image: CocoImage) -> bool:
    x, y = ring[0::2], ring[1::2]
    return bool(x.max() <= 0 or y.max() <= 0 or x.min() >= image.width or y.min() >= image.height)


def _note_oddities(
    rings: list[Ring], image: CocoImage, area_px: int, where: str, log: FindingLog
) -> None:
    for i, ring in enumerate(rings):
        x, y = ring[0::2], ring[1::2]
        if x.min() < 0 or y.min() < 0 or x.max() > image.width or y.max() > image.height:
            log.add("polygon.clipped", f"{where}/{i}", [float(x.max()), float(y.max())])
    if len(rings) > 1 and len({ring.tobytes() for ring in rings}) < len(rings):
        log.add("polygon.duplicate_ring", where, f"{len(rings)} rings")
    # The signed area of a crossing ring is not what the rasteriser fills: only then look closely.
    outlined = sum(ring_area(ring) for ring in rings)
    if abs(outlined - area_px) > 0.05 * max(outlined, area_px) + 4:
        for i, ring in enumerate(rings):
            if crosses_itself(ring):
                log.add("polygon.crosses_itself", f"{where}/{i}", f"{len(ring) // 2} points")
                return
