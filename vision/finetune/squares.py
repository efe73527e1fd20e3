"""Images and masks as the model sees them: squashed to a square."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from vision.finetune.augmentation import View
from vision.finetune.config import TrainConfig
from vision.finetune.hardware import known
from vision.finetune.training_images import TrainingImage
from vision.masks import RleError
from vision.masks.rle import rle_to_box_mask

Pixels = NDArray[np.uint8]


def square_image(rgb: Pixels, view: View, size_px: int) -> Pixels:
    """Squash a part of an image as `vision.sam2.embedding.model_input` does, but to bytes.

    Args:
        rgb: uint8, shape (height, width, 3).
        view: The part.
        size_px: Side of the square.

    Returns:
        uint8, shape (size_px, size_px, 3).
    """
    part = rgb[view.y : view.y + view.height, view.x : view.x + view.width]
    if view.mirrored:
        part = part[:, ::-1]
    pixels = torch.from_numpy(np.require(part, requirements=["C", "W"])).permute(2, 0, 1)[None]
    square = interpolate(
        pixels, (size_px, size_px), mode="bilinear", align_corners=False, antialias=True
    )
    return np.ascontiguousarray(square[0].permute(1, 2, 0).numpy())


def square_mask(
    rle: bytes | str, height: int, width: int, view: View, size_px: int
) -> NDArray[np.bool_]:
    """Squash a part of a mask: what covers half of a pixel of the square fills it.

    Args:
        rle: Compressed COCO counts.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        view: The part.
        size_px: Side of the square.

    Returns:
        bool, shape (size_px, size_px).

    Raises:
        RleError: The counts do not describe exactly height * width pixels.
    """
    box_mask, (x, y, box_width, box_height) = rle_to_box_mask(rle, height, width)
    part = np.zeros((view.height, view.width), np.uint8)
    left, top = max(x, view.x), max(y, view.y)
    right = min(x + box_width, view.x + view.width)
    bottom = min(y + box_height, view.y + view.height)
    if right <= left or bottom <= top:
        return np.zeros((size_px, size_px), np.bool_)
    part[top - view.y : bottom - view.y, left - view.x : right - view.x] = (
        box_mask[top - y : bottom - y, left - x : right - x].view(np.uint8) * 255
    )
    if view.mirrored:
        part = part[:, ::-1]
    shrinks = min(part.shape) >= size_px
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    square = cv2.resize(np.ascontiguousarray(part), (size_px, size_px), interpolation=method)
    return np.asarray(square >= 128)


def square_masks(
    image: TrainingImage, order: Sequence[int], view: View, config: TrainConfig
) -> tuple[list[NDArray[np.bool_]], list[str]]:
    """Squash the first masks of an order that are visible and not too small.

    Args:
        image: Whose masks.
        order: Numbers of masks.
        view: The part of the image that is shown.
        config: Without `auto`; says how many, how small and how fine.

    Returns:
        The masks, bool, shape (side, side) each, and what is wrong with damaged ones.
    """
    stride = known(config.data.mask_stride_px)
    side = known(config.data.image_size) // stride
    least = max(1.0, config.data.min_mask_px / stride**2)
    masks: list[NDArray[np.bool_]] = []
    problems: list[str] = []
    for number in order:
        try:
            rle = image.rles[number]
            mask = square_mask(rle, image.height_px, image.width_px, view, side)
        except RleError as error:
            problems.append(f"mask {number}: {error}")
            continue
        if np.count_nonzero(mask) >= least:
            masks.append(mask)
        if len(masks) == known(config.data.masks_per_image):
            break
    return masks, problems
