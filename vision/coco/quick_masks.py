"""The mask of an annotation as it nearly always is, without the questions that rarely matter.

Ten times faster than checking it in full. Whatever is not plainly right is left to the full check,
which then says what is wrong with it.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from vision.coco.identifiers import CocoId
from vision.masks.polygons import PolygonError, polygons_to_runs
from vision.masks.rle import parse_runs
from vision.masks.runs import RleError, Runs, area_of_runs

_ONCE = (b'"id"', b'"image_id"', b'"segmentation"', b'"category_id"')


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    segmentation: list[list[float]] | dict[str, Any]
    segmentation_file: None = None


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
    # A key that is repeated is for the full check: here the last one would win.
    if any(text.count(key) != 1 for key in _ONCE) or b"NaN" in text or b"Infinity" in text:
        return None
    try:
        found = msgspec.json.decode(text, type=_Annotation)
        height, width = sizes[found.image_id]
        if isinstance(found.segmentation, dict):
            runs = parse_runs(found.segmentation, height, width)
        else:
            runs = polygons_to_runs(found.segmentation, height, width)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    except (KeyError, PolygonError, RleError):
        return None
    if found.category_id not in categories or not area_of_runs(runs):
        return None
    return QuickMask(found.id, found.image_id, height, width, runs)
