"""Pictures of what the model gives, beside what it should have given."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.draw.overlay import DrawnSegment, draw_segments
from vision.finetune.validation import ValidatedImage
from vision.masks import mask_to_rle

_SIDE_PX = 768
_COLORS = {"object": (40, 170, 90), "mask": (230, 80, 40)}


def draw_comparison(image: ValidatedImage) -> NDArray[np.uint8]:
    """Draw the true objects on the left and the model's masks on the right.

    Returns:
        RGB, uint8, shape (height, width, 3), each half at most 768 px large.
    """
    scale = min(1.0, _SIDE_PX / max(image.rgb.shape[:2]))
    size = (max(1, round(image.rgb.shape[1] * scale)), max(1, round(image.rgb.shape[0] * scale)))
    rgb = np.asarray(cv2.resize(image.rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    halves = [
        draw_segments(
            rgb,
            [DrawnSegment(mask_to_rle(_resized(mask, size)), name) for mask in masks],
            colors=_COLORS,
            min_side_px=0,
            legend=False,
        )
        for name, masks in (("object", image.truth), ("mask", image.found))
    ]
    return np.concatenate(halves, 1)


def _resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    resized = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized != 0)
