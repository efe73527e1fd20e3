"""SAM 2's training losses on prompts with known objects.

Weights and forms follow sam2's `training/loss_fns.py` (focal 20, dice 1, IoU 1, object score 1).
Two things differ. The IoU error is squared: most of a click's three masks have no object, and an
absolute error is then least at 0 for all that is not certain. And a click names an object at each
level that contains it (text line, bubble or character, panel), so each of the three masks has its
own target and none has to be guessed as the best of three. A level without an object at the click
trains the IoU head towards 0 only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

from examples.demo_models.dense_head import balanced_cross_entropy

DICE_WEIGHT, IOU_WEIGHT, OBJECT_WEIGHT = 1.0, 1.0, 1.0


@dataclass(frozen=True)
class PixelWeights:
    """Weights of the two losses that look at single pixels.

    Attributes:
        focal: SAM 2's own, 20.
        balanced: of a cross-entropy in which inside and outside weigh the same. From scratch, focal
            loss first learns that nearly all pixels are outside, and stays there; this does not.
    """

    focal: float = 20.0
    balanced: float = 0.0


SAM2_WEIGHTS = PixelWeights()


@dataclass
class MaskLosses:
    """The loss and what it is made of, for the log.

    Attributes:
        total: scalar to minimise.
        mean_iou: mean IoU of masks that have a target, 0..1.
    """

    total: torch.Tensor
    mean_iou: float


def mask_losses(
    logits: torch.Tensor,
    predicted_iou: torch.Tensor,
    object_logits: torch.Tensor,
    target: torch.Tensor,
    weights: PixelWeights = SAM2_WEIGHTS,
) -> MaskLosses:
    """Loss of masks against targets.

    Args:
        logits: float, (prompts, masks, h, w), a whole fraction of the target's size.
        predicted_iou: float, (prompts, masks), 0..1.
        object_logits: float, (prompts, 1): is there any object under the prompt.
        target: bool, (prompts, masks, H, W); an empty mask means no object at that level.
        weights: of the losses that look at single pixels.
    """
    present = target.flatten(2).any(-1)
    count = max(1, int(present.sum()))
    # Only masks with a target are worth the arithmetic: about half of them have none.
    truth = target[present].flatten(1)
    chosen = F.interpolate(logits[present][:, None], size=target.shape[-2:], mode="bilinear")
    chosen = chosen.flatten(1)
    probability = chosen.sigmoid()
    overlap = (probability * truth).sum(-1)
    masks = DICE_WEIGHT * (1 - (2 * overlap + 1) / (probability.sum(-1) + truth.sum(-1) + 1))
    if weights.focal:
        masks = masks + weights.focal * _focal(chosen, truth)
    if weights.balanced:
        masks = masks + weights.balanced * balanced_cross_entropy(chosen[:, None], truth[:, None])
    with torch.no_grad():
        hard = chosen > 0
        found = (hard & truth).sum(-1) / (hard | truth).sum(-1)
        iou = torch.zeros_like(predicted_iou)
        iou[present] = found.to(iou.dtype)
    mask_term = masks.sum() / count
    iou_term = (predicted_iou - iou).square().mean()
    object_term = F.binary_cross_entropy_with_logits(
        object_logits.squeeze(1), present.any(1).float()
    )
    return MaskLosses(
        mask_term + IOU_WEIGHT * iou_term + OBJECT_WEIGHT * object_term,
        float(found.sum() / count),
    )


def _focal(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean focal loss of each row (gamma 2, alpha 0.25)."""
    # z > 0 where the prediction is right, so that sigmoid(z) is the probability of the truth.
    z = torch.where(truth, logits, -logits)
    return (torch.where(truth, 0.25, 0.75) * torch.sigmoid(-z).square() * F.softplus(-z)).mean(-1)
