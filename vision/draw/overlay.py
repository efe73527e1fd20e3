"""Overlays: a picture with the contours and names of its segments, and a legend below."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vision.draw.colors import RGB, UNKNOWN, ink_on, label_colors
from vision.draw.contours import Box, Points, mask_box, mask_outlines
from vision.draw.placement import Wanted, place_names
from vision.masks.rle import rle_to_mask

Picture = npt.NDArray[np.uint8]

_FONT_PX = 15
_PADDING_PX = 4
_SUBPIXEL_BITS = 4


class DrawnSegment(NamedTuple):
    """What is drawn of a segment.

    Attributes:
        rle: compressed COCO counts for the size of the picture.
        label: its name; `unknown` is drawn thin, gray and without a name.
        score: of the label, 0-1, or None where it has none.
    """

    rle: bytes
    label: str
    score: float | None = None


class _Shape(NamedTuple):
    segment: DrawnSegment
    outlines: list[Points]
    box: Box
    area: int


def draw_segments(
    rgb: Picture,
    segments: Sequence[DrawnSegment],
    *,
    colors: Mapping[str, RGB] | None = None,
    min_side_px: int = 1024,
    legend: bool = True,
) -> Picture:
    """Draw segments on a picture.

    Args:
        rgb: uint8 (h, w, 3); it is not changed.
        segments: masks of the same size as `rgb`.
        colors: label to colour; by default `label_colors` of the labels present. Pass one mapping
            for a series of pictures, so that a label keeps its colour.
        min_side_px: pictures whose longer side is shorter are enlarged to it, so that names stay
            readable; larger ones keep their size.
        legend: whether to add a strip below with colour, name and count of each label.

    Returns:
        uint8 (h', w', 3), RGB.

    Raises:
        ValueError: `rgb` is not uint8 (h, w, 3).
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"expected uint8 (h, w, 3), but got {rgb.dtype} {rgb.shape}")
    height, width = rgb.shape[:2]
    palette = dict(colors) if colors is not None else label_colors(s.label for s in segments)
    palette.setdefault(UNKNOWN, label_colors(())[UNKNOWN])
    scale = max(1.0, min_side_px / max(height, width))
    size = (round(width * scale), round(height * scale))
    canvas = rgb.copy()
    if scale > 1:
        canvas = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)

    shapes = _shapes(segments, height, width)
    for shape in shapes:
        _paint(canvas, shape, palette.get(shape.segment.label, palette[UNKNOWN]), scale)
    page = Image.fromarray(canvas)
    _write_names(page, shapes, palette, scale)
    picture = np.asarray(page)
    if legend:
        counts = Counter(segment.label for segment in segments)
        picture = np.concatenate([picture, _legend(counts, palette, picture.shape[1])])
    return np.ascontiguousarray(picture)


def name_choices(label: str, score: float | None) -> tuple[str, ...]:
    """Texts that name a segment, the longest first."""
    return (label,) if score is None else (f"{label} {score:.2f}", label)


def _shapes(segments: Sequence[DrawnSegment], height: int, width: int) -> list[_Shape]:
    """Trace the segments, large ones first so that small ones are painted over them."""
    shapes = []
    for segment in segments:
        mask = rle_to_mask(segment.rle, height, width)
        box = mask_box(mask)
        if box is not None:
            shapes.append(_Shape(segment, mask_outlines(mask), box, int(mask.sum())))
    return sorted(shapes, key=lambda shape: -shape.area)


def _paint(canvas: Picture, shape: _Shape, color: RGB, scale: float) -> None:
    """Tint a segment and draw its contour, on `canvas`."""
    unit = scale * (1 << _SUBPIXEL_BITS)
    outlines = [
        np.round(outline * unit - (1 << _SUBPIXEL_BITS) / 2).astype(np.int32)
        for outline in shape.outlines
    ]
    unknown = shape.segment.label == UNKNOWN
    share = shape.area * scale * scale / (canvas.shape[0] * canvas.shape[1])
    opacity = 0.06 if unknown else float(np.clip(0.22 - share * 1.2, 0.06, 0.22))

    margin = 4
    left, top = (max(0, int(value * scale) - margin) for value in shape.box[:2])
    right = int((shape.box.x + shape.box.width) * scale) + margin
    bottom = int((shape.box.y + shape.box.height) * scale) + margin
    window = canvas[top:bottom, left:right]
    shifted = [outline - np.array([left, top]) * (1 << _SUBPIXEL_BITS) for outline in outlines]
    tinted = window.copy()
    cv2.fillPoly(tinted, shifted, color, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.addWeighted(tinted, opacity, window, 1 - opacity, 0, dst=window)

    # Contours need a pale rim: on screentone and black ink a bare line gets lost.
    line = 1 if unknown else 2
    if not unknown:
        rimmed = window.copy()
        cv2.polylines(rimmed, shifted, True, (255, 255, 255), line + 2, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.addWeighted(rimmed, 0.75, window, 0.25, 0, dst=window)
    cv2.polylines(window, shifted, True, color, line, cv2.LINE_AA, _SUBPIXEL_BITS)


def _write_names(
    page: Image.Image, shapes: Sequence[_Shape], colors: Mapping[str, RGB], scale: float
) -> None:
    font = _font(_FONT_PX)
    named = [shape for shape in shapes if shape.segment.label != UNKNOWN]
    texts = [name_choices(shape.segment.label, shape.segment.score) for shape in named]
    line_height = _FONT_PX + _PADDING_PX
    wanted = [
        Wanted(
            Box(*(value * scale for value in shape.box)),
            tuple((font.getlength(text) + 2 * _PADDING_PX, line_height) for text in choices),
        )
        for shape, choices in zip(named, texts, strict=True)
    ]
    draw = ImageDraw.Draw(page)
    spots = place_names(wanted, page.width, page.height)
    for shape, choices, spot in zip(named, texts, spots, strict=True):
        if spot is None:
            continue
        color = colors.get(shape.segment.label, colors[UNKNOWN])
        _chip(draw, spot.box, choices[spot.choice], color)


def _chip(draw: ImageDraw.ImageDraw, box: Box, text: str, color: RGB) -> None:
    corners = (box.x, box.y, box.x + box.width - 1, box.y + box.height - 1)
    draw.rounded_rectangle(corners, radius=4, fill=color)
    middle = (box.x + _PADDING_PX, box.y + box.height / 2)
    draw.text(middle, text, fill=ink_on(color), font=_font(_FONT_PX), anchor="lm")


def _legend(counts: Mapping[str, int], colors: Mapping[str, RGB], width: int) -> Picture:
    """A white strip `width` pixels wide naming each label with its colour and count."""
    font = _font(_FONT_PX)
    row_height, swatch, gap = 26, 14, 18
    entries = [
        (label, f"{label}  {count}")
        for label, count in sorted(counts.items(), key=lambda item: (item[0] == UNKNOWN, item[0]))
    ]
    rows: list[list[tuple[float, str, str]]] = [[]]
    x = 12.0
    for label, text in entries:
        length = swatch + 6 + font.getlength(text)
        if rows[-1] and x + length > width - 12:
            rows.append([])
            x = 12.0
        rows[-1].append((x, label, text))
        x += length + gap
    strip = Image.new("RGB", (width, row_height * len(rows) + 10), (255, 255, 255))
    draw = ImageDraw.Draw(strip)
    draw.line((0, 0, width, 0), fill=(208, 211, 217))
    for index, row in enumerate(rows):
        middle = 5 + index * row_height + row_height / 2
        for left, label, text in row:
            corners = (left, middle - swatch / 2, left + swatch, middle + swatch / 2)
            draw.rounded_rectangle(corners, radius=3, fill=colors.get(label, colors[UNKNOWN]))
            place = (left + swatch + 6, middle)
            draw.text(place, text, fill=(33, 37, 41), font=font, anchor="lm")
    return np.asarray(strip)


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """Pillow's own outline font: there on every machine, whatever fonts it has."""
    font = ImageFont.load_default(size_px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("overlays need a Pillow built with FreeType, as its wheels are")
    return font
