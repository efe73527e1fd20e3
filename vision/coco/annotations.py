"""Read the `annotations` of a COCO document, one by one."""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from vision.coco.findings import FindingLog, show
from vision.coco.identifiers import CocoId, IdentifierError, parse_identifier
from vision.coco.json_text import DocumentError
from vision.coco.mask_files import MaskFiles
from vision.coco.records import CocoAnnotation, CocoImage
from vision.coco.repeated_ids import RepeatedIds
from vision.coco.segmentation import SegmentationError, read_segmentation
from vision.masks.runs import area_of_runs, box_of_runs, runs_to_rle

# Polygons have sub-pixel boxes and areas, masks have whole pixels: smaller differences are normal.
_BOX_TOLERANCE_PX = 2.0
_AREA_TOLERANCE = 0.05

MAX_COORDINATE = 2**53
"""Largest number in a box; beyond it floats skip whole pixels."""
_OUTLINE_SHARE = 1.0


class UnusableEntryError(ValueError):
    """An entry that has to be set aside.

    Attributes:
        facts: The broken rule, the JSON pointer, and the offending part of the input.
    """

    def __init__(self, rule: str, pointer: str, value: object) -> None:
        self.facts = (rule, pointer, value)
        super().__init__(f"{rule} at {pointer}")


class AnnotationReader:
    """Reads annotations against the images and categories of their document."""

    def __init__(
        self,
        images: Mapping[CocoId, CocoImage],
        set_aside: Container[CocoId],
        categories: Mapping[CocoId, str],
        damaged: Mapping[str, tuple[str, float]],
        log: FindingLog,
        files: MaskFiles,
    ) -> None:
        """Prepare to read.

        Args:
            images: Usable images by id.
            set_aside: Ids of images that were set aside.
            categories: Category names by id.
            damaged: For each entry with a number that is not finite, by pointer: the pointer to
                the number, and the number.
            log: Receives the findings.
            files: The mask files beside the document.
        """
        self._images = images
        self._set_aside = set_aside
        self._categories = categories
        self._damaged = damaged
        self._log = log
        self._files = files

    def read(
        self,
        entries: Iterable[tuple[str, Any]],
        repeated_ids: RepeatedIds = RepeatedIds(),
        rle_is_usual: bool = False,
    ) -> Iterator[CocoAnnotation]:
        """Keep every usable annotation, and record a finding for each of the others.

        Args:
            entries: JSON pointer and value of each.
            repeated_ids: Ids that more than one of them has; none of these is kept.
            rle_is_usual: Whether run lengths are how this kind of document gives every mask.

        Raises:
            DocumentError: An id does not fit 64 bits, or a path could lead out of the drop.
        """
        for at, entry in entries:
            try:
                annotation = self._read_one(entry, at, repeated_ids, rle_is_usual)
            except UnusableEntryError as error:
                self._log.add(*error.facts)
            else:
                yield annotation

    def _read_one(
        self, entry: Any, at: str, repeated_ids: RepeatedIds, rle_is_usual: bool
    ) -> CocoAnnotation:
        if not isinstance(entry, dict):
            raise UnusableEntryError("annotation.type", at, entry)
        self.check_finite(at)
        annotation_id = self._identifier(entry, "id", at)
        if annotation_id in repeated_ids:
            raise UnusableEntryError("annotation.duplicate_id", f"{at}/id", annotation_id)
        image = self.image_of(entry, at)
        category_id = self._identifier(entry, "category_id", at)
        if category_id not in self._categories:
            raise UnusableEntryError(
                "annotation.category_unknown", f"{at}/category_id", category_id
            )
        iscrowd = _crowd_flag(entry, at)
        _check_score(entry, at)
        box = _stated_box(entry, at)
        try:
            runs, kind = read_segmentation(entry, image, at, self._log, self._files)
        except SegmentationError as error:
            raise UnusableEntryError(error.rule, at + error.pointer, error.value) from None
        if iscrowd and kind == "polygon":
            self._log.add("annotation.crowd_polygon", f"{at}/iscrowd", 1)
        if not iscrowd and kind.endswith("rle") and not rle_is_usual:
            self._log.add("annotation.instance_rle", f"{at}/iscrowd", 0)
        area_px = area_of_runs(runs)
        bbox = box_of_runs(runs, image.height)
        self._compare_box(box, bbox, at)
        self._compare_area(entry.get("area"), area_px, bbox, at)
        x, y, width, height = map(float, bbox)
        return CocoAnnotation(
            id=annotation_id,
            image_id=image.id,
            category=self._categories[category_id],
            iscrowd=iscrowd,
            bbox_xywh=(x, y, width, height),
            area_px=area_px,
            rle=runs_to_rle(runs),
            pointer=at,
            segmentation_kind=kind,
        )

    def check_finite(self, at: str) -> None:
        """Refuse an entry that holds NaN or infinity.

        Raises:
            UnusableEntryError: It does.
        """
        if at in self._damaged:
            raise UnusableEntryError("annotation.not_finite", *self._damaged[at])

    def image_of(self, entry: Mapping[str, Any], at: str) -> CocoImage:
        """The image that an entry names.

        Raises:
            UnusableEntryError: It names none that can be used.
            DocumentError: The id does not fit 64 bits.
        """
        image_id = self._identifier(entry, "image_id", at)
        if image_id in self._set_aside:
            raise UnusableEntryError("annotation.image_quarantined", f"{at}/image_id", image_id)
        if image_id not in self._images:
            raise UnusableEntryError("annotation.image_unknown", f"{at}/image_id", image_id)
        return self._images[image_id]

    def _identifier(self, entry: Mapping[str, Any], key: str, at: str) -> CocoId:
        try:
            identifier, note = parse_identifier(entry.get(key))
        except IdentifierError as error:
            if error.too_large:
                raise DocumentError("id.too_large", error.value, f"{at}/{key}") from None
            raise UnusableEntryError(f"annotation.{key}", f"{at}/{key}", error.value) from None
        if note:
            self._log.add(note, f"{at}/{key}", entry[key])
        return identifier

    def _compare_box(
        self, stated: list[float] | None, bbox: tuple[int, int, int, int], at: str
    ) -> None:
        if stated is None:
            self._log.add("bbox.missing", at, "no bbox")
            return
        (x, y, w, h), (sx, sy, sw, sh) = bbox, stated
        edges = ((x, sx), (y, sy), (x + w, sx + sw), (y + h, sy + sh))
        if any(abs(own - other) > _BOX_TOLERANCE_PX for own, other in edges):
            self._log.add("bbox.differs", f"{at}/bbox", f"{stated}, the mask has {list(bbox)}")

    def _compare_area(
        self, stated: Any, area_px: int, bbox: tuple[int, int, int, int], at: str
    ) -> None:
        if stated is None:
            return
        number = isinstance(stated, int | float) and not isinstance(stated, bool)
        tolerance = _AREA_TOLERANCE * area_px + bbox[2] + bbox[3]
        if not number or abs(stated - area_px) > tolerance:
            self._log.add("area.differs", f"{at}/area", f"{show(stated)}, the mask has {area_px}")


def _crowd_flag(entry: dict[str, Any], at: str) -> bool:
    flag = entry.get("iscrowd", 0)
    if not isinstance(flag, int) or flag not in (0, 1):
        raise UnusableEntryError("annotation.iscrowd", f"{at}/iscrowd", flag)
    return bool(flag)


def _check_score(entry: dict[str, Any], at: str) -> None:
    score = entry.get("score", 0.0)
    number = isinstance(score, int | float) and not isinstance(score, bool)
    if score is not None and not number:
        raise UnusableEntryError("annotation.score", f"{at}/score", score)


def _stated_box(entry: dict[str, Any], at: str) -> list[float] | None:
    box = entry.get("bbox")
    if box is None or box == []:
        return None
    pointer = f"{at}/bbox"
    if not isinstance(box, list) or len(box) != 4:
        raise UnusableEntryError("bbox.type", pointer, box)
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in box):
        raise UnusableEntryError("bbox.type", pointer, box)
    if any(abs(v) > MAX_COORDINATE for v in box):
        raise UnusableEntryError("bbox.type", pointer, box)
    if box[2] < 0 or box[3] < 0:
        raise UnusableEntryError("bbox.negative", pointer, box)
    return box
