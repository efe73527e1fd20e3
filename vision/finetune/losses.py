"""The loss of one click, as `MultiStepMultiMasksAndIous` of SAM 2's `training/loss_fns.py` has it.

- Of three masks only the one with the least focal and dice loss learns its shape; the others are
  free to mean something else. All three learn to predict their IoU, so that the filters of the
  automatic mask generator keep their meaning.
- Where there is no object, only the score that says so is learnt.
- All is divided by the number of objects, and the losses of all clicks are added up.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from vision.finetune.config import LossesSection
from vision.finetune.mask_losses import compare_masks


class Losses(NamedTuple):
    """What a step costs; scalars, divided by the number of objects, not yet weighted.

    Attributes:
        mask: Focal loss.
        dice: Dice loss.
        iou: Error of the predicted IoU.
        object: Error of whether there is an object.
    """

    mask: torch.Tensor
    dice: torch.Tensor
    iou: torch.Tensor
    object: torch.Tensor

    def total(self, weights: LossesSection) -> torch.Tensor:
        """The weighted sum, which is what falls."""
        return (
            weights.mask * self.mask
            + weights.dice * self.dice
            + weights.iou * self.iou
            + weights.object * self.object
        )

    def plus(self, other: Losses) -> Losses:
        """The sum of the losses of several clicks."""
        return Losses(*(a + b for a, b in zip(self, other, strict=True)))


def click_losses(
    logits: torch.Tensor,
    predicted_iou: torch.Tensor,
    object_logits: torch.Tensor,
    truth: torch.Tensor,
    objects: float,
    settings: LossesSection,
) -> Losses:
    """The losses of one click for each object.

    Args:
        logits: float, shape (n, masks, h, w): one mask, or three to choose from.
        predicted_iou: float, shape (n, masks), 0 to 1.
        object_logits: float, shape (n, 1): whether there is an object.
        truth: bool, shape (n, H, W); an empty mask says that there is none.
        objects: Number of objects that the losses are divided by.
        settings: Weights, which also say which of three masks is the best, and the focal loss.
    """
    logits, predicted_iou = logits.float(), predicted_iou.float()
    count, masks = logits.shape[:2]
    alpha, gamma = settings.focal_alpha, settings.focal_gamma
    present = truth.flatten(1).any(1).float()
    if masks == 1:
        compared = compare_masks(logits[:, 0], truth, alpha, gamma)
        iou = compared.iou[:, None]
    else:
        with torch.no_grad():
            every = truth.repeat_interleave(masks, 0)
            rated = compare_masks(logits.flatten(0, 1), every, alpha, gamma)
            costs = settings.mask * rated.focal + settings.dice * rated.dice
            best = costs.view(count, masks).argmin(1)
            iou = rated.iou.view(count, masks)
        chosen = logits[torch.arange(count, device=logits.device), best]
        compared = compare_masks(chosen, truth, alpha, gamma)
    of_iou = (predicted_iou - iou).abs().mean(1)
    of_object = binary_cross_entropy_with_logits(
        object_logits.float().squeeze(1), present, reduction="sum"
    )
    return Losses(
        (compared.focal * present).sum() / objects,
        (compared.dice * present).sum() / objects,
        (of_iou * present).sum() / objects,
        of_object / objects,
    )
