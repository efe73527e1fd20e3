"""Pictures of what a model was asked for, where it was clicked, and what it answered."""

from collections.abc import Sequence
from math import ceil, floor
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vision.draw.colors import RGB
from vision.draw.contours import Box, mask_box, mask_outlines
from vision.masks.rle import rle_to_mask

Picture = npt.NDArray[np.uint8]

TRUE_COLOR: RGB = (18, 161, 80)
PREDICTED_COLOR: RGB = (214, 51, 108)
CLICK_COLOR: RGB = (255, 212, 0)

_WHITE, _BLACK, _EMPTY = (255, 255, 255), (0, 0, 0), (236, 238, 241)
_TINT = 0.35
_SUBPIXEL_BITS = 4
_CLICK_RADIUS_PX = 4


class DrawnAnswer(NamedTuple):
    """What is drawn of an object.

    Attributes:
        truth: Its mask, as compressed COCO counts for the size of the picture.
        predicted: The mask that a model answered, likewise.
        click_xy: The pixel that was clicked.
    """

    truth: bytes
    predicted: bytes
    click_xy: tuple[int, int]


def draw_answers(
    rgb: Picture, answers: Sequence[DrawnAnswer], *, min_side_px: int = 1024
) -> Picture:
    """Draw all answers on a picture: true outlines green, predicted masks red, clicks yellow.

    Args:
        rgb: uint8 (h, w, 3); it is not changed.
        answers: What to draw.
        min_side_px: Pictures whose longer side is shorter are enlarged to it.

    Returns:
        uint8 (h', w', 3), RGB.

    Raises:
        RleError: A mask does not describe exactly h*w pixels.
    """
    height, width = rgb.shape[:2]
    scale = max(1.0, min_side_px / max(height, width))
    size = (round(width * scale), round(height * scale))
    return _drawn(rgb, answers, Box(0, 0, width, height), size)


def answer_tile(
    rgb: Picture, answer: DrawnAnswer, *, side_px: int = 300, context: float = 1.4
) -> Picture:
    """Cut the surroundings of an object, its mask and its click out of a picture, and draw them.

    Args:
        rgb: uint8 (h, w, 3); it is not changed.
        answer: What to draw.
        side_px: Side of the tile.
        context: Side of what is shown relative to the longer side of the box around it all.

    Returns:
        uint8 (side_px, side_px, 3). What lies outside of the picture is gray.

    Raises:
        RleError: A mask does not describe exactly h*w pixels.
    """
    height, width = rgb.shape[:2]
    masks = [rle_to_mask(rle, height, width) for rle in (answer.truth, answer.predicted)]
    box = mask_box(masks[0] | masks[1]) or Box(*answer.click_xy, 1, 1)
    shown = max(16, ceil(context * max(box.width, box.height)))
    window = Box(
        floor(box.x + (box.width - shown) / 2), floor(box.y + (box.height - shown) / 2),
        shown, shown,
    )  # fmt: skip
    return _drawn(rgb, [answer], window, (side_px, side_px))


def _drawn(
    rgb: Picture, answers: Sequence[DrawnAnswer], window: Box, size: tuple[int, int]
) -> Picture:
    """A window of a picture at another size (width, height), with answers on it."""
    height, width = rgb.shape[:2]
    left, top = int(window.x), int(window.y)
    part = np.full((int(window.height), int(window.width), 3), _EMPTY, np.uint8)
    rows = slice(max(top, 0), min(top + part.shape[0], height))
    columns = slice(max(left, 0), min(left + part.shape[1], width))
    part[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = rgb[
        rows, columns
    ]
    scale = np.array([size[0] / window.width, size[1] / window.height])
    way = cv2.INTER_AREA if scale[0] < 1 else cv2.INTER_CUBIC
    canvas = np.ascontiguousarray(cv2.resize(part, size, interpolation=way), dtype=np.uint8)

    def fixed_point(rle: bytes) -> list[npt.NDArray[np.int32]]:
        # OpenCV counts from the middle of a pixel.
        return [
            np.round(((points - [left, top]) * scale - 0.5) * (1 << _SUBPIXEL_BITS)).astype(
                np.int32
            )
            for points in mask_outlines(rle_to_mask(rle, height, width))
        ]

    predictions = [fixed_point(answer.predicted) for answer in answers]
    # Once for all: tints on top of each other would hide the picture.
    tinted = canvas.copy()
    for predicted in predictions:
        cv2.fillPoly(tinted, predicted, PREDICTED_COLOR, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.addWeighted(tinted, _TINT, canvas, 1 - _TINT, 0, dst=canvas)
    for predicted in predictions:
        cv2.polylines(canvas, predicted, True, PREDICTED_COLOR, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    for answer in answers:
        true = fixed_point(answer.truth)
        for line, ink in ((4, _WHITE), (2, TRUE_COLOR)):
            cv2.polylines(canvas, true, True, ink, line, cv2.LINE_AA, _SUBPIXEL_BITS)
    for answer in answers:
        x, y = ((np.array(answer.click_xy) + 0.5 - [left, top]) * scale).astype(int).tolist()
        cv2.circle(canvas, (x, y), _CLICK_RADIUS_PX + 2, _BLACK, -1, cv2.LINE_AA)
        cv2.circle(canvas, (x, y), _CLICK_RADIUS_PX, CLICK_COLOR, -1, cv2.LINE_AA)
    return canvas
