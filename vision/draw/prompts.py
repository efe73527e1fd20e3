"""Pictures of an object that was asked for: the prompt, and the masks that a model answered."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from vision.draw.colors import RGB
from vision.draw.contours import mask_outlines
from vision.masks.rle import rle_to_mask
from vision.object_prompts import AnsweredMask, ObjectPrompt

Picture = npt.NDArray[np.uint8]

_ON, _BESIDE, _BOX, _BLACK, _WHITE = (
    (255, 212, 0),
    (214, 51, 108),
    (255, 212, 0),
    (0, 0, 0),
    (255,) * 3,
)
_TINT = 0.4
_PALETTE: tuple[RGB, ...] = (
    (34, 139, 230), (18, 161, 80), (230, 119, 0), (121, 80, 242), (214, 51, 108), (12, 133, 153),
)  # fmt: skip


def draw_prompted(
    rgb: Picture, prompts: Sequence[ObjectPrompt], answers: Sequence[AnsweredMask]
) -> Picture:
    """Draw one mask of each object, and what was asked.

    Args:
        rgb: uint8 (h, w, 3); it is not changed.
        prompts: What was asked: clicks on the object are yellow, those beside it red.
        answers: A mask of each, in its own colour.

    Returns:
        uint8 (h, w, 3), RGB.

    Raises:
        RleError: A mask does not describe exactly h*w pixels.
    """
    height, width = rgb.shape[:2]
    canvas = rgb.copy()
    scale = max(1.0, max(height, width) / 1024)
    line, radius = max(2, round(2 * scale)), max(4, round(5 * scale))
    for number, answer in enumerate(answers):
        color = _PALETTE[number % len(_PALETTE)]
        mask = rle_to_mask(answer.rle, height, width)
        tinted = canvas[mask] * (1 - _TINT) + np.array(color) * _TINT
        canvas[mask] = tinted.astype(np.uint8)
        outlines = [np.round(points - 0.5).astype(np.int32) for points in mask_outlines(mask)]
        cv2.polylines(canvas, outlines, True, _WHITE, line + 2, cv2.LINE_AA)
        cv2.polylines(canvas, outlines, True, color, line, cv2.LINE_AA)
    for prompt in prompts:
        if prompt.box_xyxy is not None:
            left, top, right, bottom = (round(value) for value in prompt.box_xyxy)
            cv2.rectangle(canvas, (left, top), (right, bottom), _ON, line)
        for click in prompt.clicks:
            place = (round(click.x), round(click.y))
            cv2.circle(canvas, place, radius + 2, _BLACK, -1, cv2.LINE_AA)
            cv2.circle(canvas, place, radius, _ON if click.on_object else _BESIDE, -1, cv2.LINE_AA)
    return canvas
