"""Focal loss, dice loss and IoU of masks, as SAM 2 defines them, in little memory.

The model's masks are a quarter of the image's side and are enlarged for comparison. Kept for the
backward pass, the enlarged ones would take most of the memory of training, and on a CPU their many
passes through memory most of the time. So a few masks at a time are enlarged, compared and, in the
same go, differentiated; only gradients at the model's own size are kept.

Definitions: `sigmoid_focal_loss`, `dice_loss` and `iou_loss` of SAM 2's `training/loss_fns.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.nn.functional import interpolate, logsigmoid

# Enlarged masks are worked on in parts of so many pixels: they fit a processor's caches.
_CPU_PIXELS = 2**16
_GPU_PIXELS = 2**25


class MaskComparison(NamedTuple):
    """How masks compare with the truth; all of shape (n,), float32.

    Attributes:
        focal: Focal loss, mean over the pixels.
        dice: Dice loss, 0 to 1.
        iou: IoU of the pixels whose logit is positive, 0 to 1; 0 where both are empty. It has no
            gradient.
    """

    focal: torch.Tensor
    dice: torch.Tensor
    iou: torch.Tensor


def compare_masks(
    logits: torch.Tensor, truth: torch.Tensor, alpha: float = 0.25, gamma: float = 2.0
) -> MaskComparison:
    """Compare masks with the truth.

    Args:
        logits: float, shape (n, h, w).
        truth: bool, shape (n, H, W); logits are enlarged to it.
        alpha: What pixels of the object weigh in the focal loss; the others weigh 1 - alpha.
        gamma: How much less the focal loss minds pixels that are nearly right.
    """
    return MaskComparison(*_Compare.apply(logits, truth, alpha, gamma))


class _Compare(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, truth: torch.Tensor, alpha: float, gamma: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        differentiate = ctx.needs_input_grad[0]
        pixels = _CPU_PIXELS if logits.device.type == "cpu" else _GPU_PIXELS
        at_once = max(1, pixels // truth[0].numel()) if len(truth) else 1
        values = [
            _compare(part, whole, alpha, gamma, differentiate)
            for part, whole in zip(
                logits.detach().split(at_once), truth.split(at_once), strict=True
            )
        ]
        columns = [torch.cat(column) for column in zip(*values, strict=True)]
        if not columns:
            empty = logits.new_zeros(0)
            columns = [empty, empty, empty]
        if differentiate:
            ctx.save_for_backward(*columns[3:])
        ctx.mark_non_differentiable(columns[2])
        return columns[0], columns[1], columns[2]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if not ctx.saved_tensors:
            return None, None, None, None
        of_focal, of_dice = ctx.saved_tensors
        total = gradients[0][:, None, None] * of_focal + gradients[1][:, None, None] * of_dice
        return total, None, None, None


def _compare(
    logits: torch.Tensor, truth: torch.Tensor, alpha: float, gamma: float, differentiate: bool
) -> list[torch.Tensor]:
    """Losses and IoU of a few masks and, if asked, the gradients of both losses."""
    size = truth.shape[-2:]
    enlarged = interpolate(logits[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    truth_values = truth.to(enlarged.dtype)
    # Positive where the prediction is right: sigmoid(z) is the probability of the truth.
    z = torch.where(truth, enlarged, -enlarged)
    surprise = -logsigmoid(z)
    doubt = torch.sigmoid(-z)
    power = doubt.square() if gamma == 2 else doubt.pow(gamma)
    weight = truth_values * (2 * alpha - 1) + (1 - alpha)
    focal = (weight * power * surprise).flatten(1).mean(1)

    probability = torch.where(truth, 1 - doubt, doubt)
    overlap = (probability * truth_values).flatten(1).sum(1)
    area = truth_values.flatten(1).sum(1)
    sizes = probability.flatten(1).sum(1) + area
    dice = 1 - (2 * overlap + 1) / (sizes + 1)

    positive = enlarged > 0
    common = (positive & truth).flatten(1).sum(1)
    either = (positive | truth).flatten(1).sum(1)
    iou = common / either.clamp(min=1)
    results = [focal, dice, iou.to(focal.dtype)]
    if not differentiate:
        return results

    sign = 2 * truth_values - 1
    pixels = truth[0].numel()
    of_focal = -sign * weight * power * (gamma * (1 - doubt) * surprise + doubt) / pixels
    slope = probability * (1 - probability)
    least = (sizes + 1)[:, None, None]
    of_dice = slope * ((2 * overlap + 1)[:, None, None] / least - 2 * truth_values) / least
    return [*results, _shrink(of_focal, logits), _shrink(of_dice, logits)]


def _shrink(gradient: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The gradient (n, H, W) of enlarged logits as that of the logits (n, h, w)."""
    if gradient.shape == logits.shape:
        return gradient
    shape = [len(logits), 1, *logits.shape[1:]]
    backward = torch.ops.aten.upsample_bilinear2d_backward
    small = backward(gradient[:, None], list(gradient.shape[1:]), shape, False, None, None)
    shrunk: torch.Tensor = small[:, 0]
    return shrunk
