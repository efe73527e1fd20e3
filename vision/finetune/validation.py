"""Validation: one click in the middle of each object, and the mask that the model rates best.

The 1-click mIoU of the SAM paper: the click is the point of the object that is farthest from its
edge, IoU is taken at the size of the image.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from vision.finetune.augmentation import whole
from vision.finetune.batches import Skipped, random_of
from vision.finetune.config import TrainConfig
from vision.finetune.decoder import DecodedMasks, PromptedImages
from vision.finetune.hardware import known
from vision.finetune.losses import click_losses
from vision.finetune.prompts import POSITIVE, Points
from vision.finetune.squares import square_image, square_mask
from vision.finetune.training_images import TrainingImage, UnusableImageError, read_pixels
from vision.masks import RleError, rle_to_mask
from vision.metrics.clicks import centre_clicks

_ENLARGED_AT_ONCE = 8


class ValidatedImage(NamedTuple):
    """What came of one image.

    Attributes:
        rgb: uint8, shape (height, width, 3).
        truth: Its masks, bool, shape (n, height, width).
        found: What the model gave, likewise.
        ious: IoU of each, 0 to 1.
        loss: The first click's loss, of all its objects together.
        skipped: What was left out.
    """

    rgb: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    found: NDArray[np.bool_]
    ious: NDArray[np.float64]
    loss: float
    skipped: list[Skipped]


@torch.no_grad()
def validate_image(
    model: Any, image: TrainingImage, config: TrainConfig
) -> ValidatedImage | Skipped:
    """Click on the objects of an image.

    It is asked for the masks that somebody vouches for, or for all if there are none. Of images
    with many objects some are drawn, the same ones each time.

    Args:
        model: sam2's `SAM2Base`.
        image: The image.
        config: Without `auto`.

    Returns:
        Why the image is left out, where it, or all of its masks, cannot be used.
    """
    skipped: list[Skipped] = []
    try:
        rgb = read_pixels(image)
    except UnusableImageError as error:
        return Skipped(image.image_id, str(error))
    height, width = rgb.shape[:2]
    places = image.vouched or range(len(image.rles))
    order = random_of(config.seed, len(places)).permutation(len(places))
    truth, squares = [], []
    for number in sorted(places[n] for n in order[: config.validation.masks_per_image].tolist()):
        try:
            mask = rle_to_mask(image.rles[number], height, width)
        except RleError as error:
            skipped.append(Skipped(image.image_id, f"mask {number}: {error}"))
            continue
        if mask.any():
            truth.append(mask)
            rle = image.rles[number]
            side = known(config.data.image_size) // known(config.data.mask_stride_px)
            squares.append(square_mask(rle, height, width, whole(height, width), side))
    if not truth:
        reason = skipped[0].reason if skipped else "its masks are empty"
        return Skipped(image.image_id, reason)
    stacked = np.stack(truth)
    decoded = _click(model, rgb, stacked, known(config.data.image_size))
    target = torch.from_numpy(np.stack(squares)).to(decoded.logits.device)
    losses = click_losses(*decoded, target, 1.0, config.losses)
    found = _enlarged(decoded.best_logits(), height, width)
    common = (found & stacked).sum((1, 2))
    ious = common / (found | stacked).sum((1, 2))
    return ValidatedImage(rgb, stacked, found, ious, float(losses.total(config.losses)), skipped)


def _click(
    model: Any, rgb: NDArray[np.uint8], truth: NDArray[np.bool_], size_px: int
) -> DecodedMasks:
    """Ask for the three masks at the middle of each object, as `SAM2ImagePredictor` does."""
    height, width = rgb.shape[:2]
    device = next(model.parameters()).device
    square = square_image(rgb, whole(height, width), size_px)
    images = torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1)))[None].to(device)
    clicks = torch.from_numpy(centre_clicks(truth)) / torch.tensor([width, height]) * size_px
    labels = torch.full((len(truth), 1), POSITIVE, dtype=torch.int32)
    image_of = torch.zeros(len(truth), dtype=torch.int64, device=device)
    points = Points(clicks[:, None].to(device), labels.to(device))
    return PromptedImages(model, images, image_of).ask(points, None, three=True)


def _enlarged(logits: torch.Tensor, height: int, width: int) -> NDArray[np.bool_]:
    """Masks (n, 1, h, w) at the size of the image, bool, shape (n, height, width)."""
    parts = [
        interpolate(part.float(), (height, width), mode="bilinear", align_corners=False)[:, 0] > 0
        for part in logits.split(_ENLARGED_AT_ONCE)
    ]
    return torch.cat(parts).cpu().numpy()
