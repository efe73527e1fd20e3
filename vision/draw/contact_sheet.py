"""Contact sheets: segments cut out of their pictures, side by side, with a line of text each."""

from collections.abc import Sequence
from math import ceil, floor
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vision.draw.colors import RGB
from vision.draw.contours import Box, mask_box, mask_outlines
from vision.masks.rle import rle_to_mask

Picture = npt.NDArray[np.uint8]

TILE_PX = 220
_GAP_PX = 10
_FONT_PX = 14
_LINE_PX = 19
_LINES = 2
_SUBPIXEL_BITS = 4
_PAPER, _INK, _EMPTY = (255, 255, 255), (33, 37, 41), (236, 238, 241)


class Tile(NamedTuple):
    """A picture of a sheet.

    Attributes:
        picture: uint8 (side, side, 3); None where there is none to show.
        lines: At most two lines below it; what is too long is cut off.
    """

    picture: Picture | None
    lines: tuple[str, ...]


def segment_tile(
    rgb: Picture, rle: bytes, color: RGB, *, side_px: int = TILE_PX, context: float = 1.5
) -> Picture:
    """Cut the surroundings of a segment out of its picture and draw its contour.

    Args:
        rgb: uint8 (h, w, 3).
        rle: Compressed COCO counts for that h and w.
        color: Of the contour.
        side_px: Side of the tile.
        context: Side of what is shown relative to the longer side of the mask's box.

    Returns:
        uint8 (side_px, side_px, 3). What lies outside of the picture is gray.

    Raises:
        RleError: The counts do not describe exactly h*w pixels.
    """
    height, width = rgb.shape[:2]
    mask = rle_to_mask(rle, height, width)
    box = mask_box(mask) or Box(0, 0, width, height)
    shown = max(2, ceil(context * max(box.width, box.height)))
    left = floor(box.x + (box.width - shown) / 2)
    top = floor(box.y + (box.height - shown) / 2)
    window = np.full((shown, shown, 3), _EMPTY, np.uint8)
    rows = slice(max(top, 0), min(top + shown, height))
    columns = slice(max(left, 0), min(left + shown, width))
    window[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = rgb[
        rows, columns
    ]
    scale = side_px / shown
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    tile = cv2.resize(window, (side_px, side_px), interpolation=way)
    # OpenCV counts from the middle of a pixel.
    outlines = [
        np.round(((outline - [left, top]) * scale - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        for outline in mask_outlines(mask)
    ]
    for line, ink in ((4, _PAPER), (2, color)):
        cv2.polylines(tile, outlines, True, ink, line, cv2.LINE_AA, _SUBPIXEL_BITS)
    return np.asarray(tile, np.uint8)


def contact_sheet(tiles: Sequence[Tile], columns: int = 6, tile_px: int = TILE_PX) -> Picture:
    """Put pictures side by side, row by row.

    Args:
        tiles: Pictures of that side with their lines.
        columns: In each row.
        tile_px: Side of a picture.

    Returns:
        uint8 (h, w, 3), RGB, on white.

    Raises:
        ValueError: There is no tile, or a picture has another side.
    """
    if not tiles:
        raise ValueError("expected tiles to put on a sheet, but got none")
    columns = min(columns, len(tiles))
    rows = ceil(len(tiles) / columns)
    step_x, step_y = tile_px + _GAP_PX, tile_px + _LINES * _LINE_PX + _GAP_PX
    sheet = Image.new("RGB", (columns * step_x + _GAP_PX, rows * step_y + _GAP_PX), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_PX)
    for number, tile in enumerate(tiles):
        left = _GAP_PX + number % columns * step_x
        top = _GAP_PX + number // columns * step_y
        if tile.picture is None:
            draw.rectangle((left, top, left + tile_px - 1, top + tile_px - 1), fill=_EMPTY)
        elif tile.picture.shape != (tile_px, tile_px, 3):
            raise ValueError(f"expected a tile of {tile_px} px, but got {tile.picture.shape}")
        else:
            sheet.paste(Image.fromarray(tile.picture), (left, top))
        for line, text in enumerate(tile.lines[:_LINES]):
            place = (left, top + tile_px + line * _LINE_PX + 2)
            draw.text(place, _fitting(text, font, tile_px), fill=_INK, font=font)
    return np.asarray(sheet)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """As much of a text as fits, in what the font has of one line."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
