"""The mask of an annotation as it nearly always is, without the questions that rarely matter.

Several times faster than checking it in full. Whatever is not plainly right is left to the full
check, which then says what is wrong with it.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from vision.coco.annotations import MAX_COORDINATE
from vision.coco.identifiers import CocoId
from vision.masks.polygons import PolygonError, polygons_to_runs
from vision.masks.rle import parse_runs
from vision.masks.runs import RleError, Runs, area_of_runs

_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Rle(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    size: tuple[int, int]
    counts: str | list[int]


class _Annotation(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    id: _Id
    image_id: _Id
    category_id: _Id
    segmentation: list[list[float]] | _Rle
    iscrowd: Literal[0, 1] | msgspec.UnsetType = msgspec.UNSET
    area: float | msgspec.UnsetType = msgspec.UNSET
    bbox: tuple[float, float, float, float] | msgspec.UnsetType = msgspec.UNSET
    score: float | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class QuickMask:
    """The mask of an annotation.

    Attributes:
        annotation_id: Its id.
        image_id: Id of its image.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        runs: Run lengths in pixels, of at least one foreground pixel.
    """

    annotation_id: int
    image_id: int
    height: int
    width: int
    runs: Runs


def quick_mask(
    text: bytes, sizes: Mapping[CocoId, tuple[int, int]], categories: Container[CocoId]
) -> QuickMask | None:
    """Read the mask of an annotation.

    Args:
        text: JSON text of the annotation.
        sizes: Height and width in pixels of each image, by id.
        categories: The ids of the document's categories.

    Returns:
        The mask, the same as the full check gives; None if that has to decide.
    """
    if b"\\u" in text:
        return None  # a key may be written so, or a colon
    try:
        found = msgspec.json.decode(text, type=_Annotation)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if found.category_id not in categories or not _is_plain(found, text):
        return None
    size = sizes.get(found.image_id)
    if size is None:
        return None
    try:
        if isinstance(found.segmentation, _Rle):
            rle = {"size": list(found.segmentation.size), "counts": found.segmentation.counts}
            runs = parse_runs(rle, *size)
        else:
            runs = polygons_to_runs(found.segmentation, *size)
    except (PolygonError, RleError):
        return None
    if not area_of_runs(runs):
        return None
    return QuickMask(found.id, found.image_id, *size, runs)


def _is_plain(found: _Annotation, text: bytes) -> bool:
    """Whether every key occurs once, and the box is one."""
    optional: tuple[Any, ...] = (found.iscrowd, found.area, found.bbox, found.score)
    keys = 4 + sum(value is not msgspec.UNSET for value in optional)
    if isinstance(found.segmentation, _Rle):
        keys += 2
    # Of a key that is repeated only the last one was seen, but each has its colon.
    if text.count(b":") != keys + _colons(found.segmentation):
        return False
    if found.bbox is msgspec.UNSET:
        return True
    assert not isinstance(found.bbox, msgspec.UnsetType)
    x, y, width, height = found.bbox
    return width >= 0 and height >= 0 and max(map(abs, (x, y, width, height))) <= MAX_COORDINATE


def _colons(segmentation: list[list[float]] | _Rle) -> int:
    counts = segmentation.counts if isinstance(segmentation, _Rle) else ""
    return counts.count(":") if isinstance(counts, str) else 0
