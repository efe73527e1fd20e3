"""Pages of the gallery: a picture as WebP and its segments as vector outlines."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from tasks.report.data import NameTag, PageOverlay, Shape
from vision.draw.colors import UNKNOWN
from vision.draw.contours import Box, mask_box, mask_outlines, svg_path
from vision.draw.overlay import DrawnSegment, name_choices
from vision.draw.placement import Wanted, place_names
from vision.masks.rle import rle_to_mask

# Longer side of a picture in the report; the segments keep the coordinates of the original.
_MAX_SIDE_PX = 1280
# Height of a written name, as a share of the picture's longer side.
_TAG_SHARE = 1 / 48
# The browser chooses the font, so widths are a guess: of a letter, and left and right of a name,
# as shares of a name's height.
_LETTER_SHARE = 0.44
_PADDING_SHARE = 0.6


def page_overlay(
    image_id: str,
    name: str,
    rgb: npt.NDArray[np.uint8],
    segments: Sequence[DrawnSegment],
    *,
    max_bytes: int = 180_000,
) -> PageOverlay:
    """Make a gallery page.

    Args:
        image_id: of the picture.
        name: shown below it.
        rgb: the picture, uint8 (h, w, 3).
        segments: masks for the size of `rgb`.
        max_bytes: the encoded picture is made coarser until it is no larger than this, or as
            small as is still useful.

    Returns:
        The page, its shapes sorted from large to small.
    """
    height, width = rgb.shape[:2]
    shapes: list[Shape] = []
    boxes: list[Box] = []
    for segment in segments:
        mask = rle_to_mask(segment.rle, height, width)
        box = mask_box(mask)
        if box is None:
            continue
        # Large photographs need no finer outline than the screen shows.
        tolerance = max(0.6, max(height, width) / 1600)
        path = svg_path(mask_outlines(mask, tolerance))
        shapes.append(Shape(segment.label, segment.score, int(mask.sum()), path))
        boxes.append(box)
    order = sorted(range(len(shapes)), key=lambda index: -shapes[index].area_px)
    named = _named([shapes[i] for i in order], [boxes[i] for i in order], width, height)
    return PageOverlay(
        image_id=image_id,
        name=name,
        width_px=width,
        height_px=height,
        picture=_webp(rgb, max_bytes),
        media_type="image/webp",
        shapes=tuple(named),
    )


def _named(shapes: Sequence[Shape], boxes: Sequence[Box], width: int, height: int) -> list[Shape]:
    """Give the shapes that have room for it their written name."""
    tag_height = max(width, height) * _TAG_SHARE
    wanted = []
    texts = []
    for shape, box in zip(shapes, boxes, strict=True):
        choices = () if shape.label == UNKNOWN else name_choices(shape.label, shape.score)
        texts.append(choices)
        sizes = tuple(
            (tag_height * (len(text) * _LETTER_SHARE + _PADDING_SHARE), tag_height)
            for text in choices
        )
        wanted.append(Wanted(box, sizes))
    named = []
    for shape, choices, spot in zip(shapes, texts, place_names(wanted, width, height), strict=True):
        tag = None if spot is None else NameTag(choices[spot.choice], *spot.box)
        named.append(Shape(shape.label, shape.score, shape.area_px, shape.path, tag))
    return named


def _webp(rgb: npt.NDArray[np.uint8], max_bytes: int) -> bytes:
    image = Image.fromarray(rgb)
    image.thumbnail((_MAX_SIDE_PX, _MAX_SIDE_PX), Image.Resampling.LANCZOS)
    data = b""
    for quality in (80, 65, 50, 35):
        buffer = BytesIO()
        image.save(buffer, "WEBP", quality=quality, method=4)
        data = buffer.getvalue()
        if len(data) <= max_bytes:
            break
    return data
