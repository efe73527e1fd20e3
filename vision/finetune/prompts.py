"""Prompts for training, drawn from the masks: points, boxes, rough masks, correction clicks.

They follow what SAM 2's training does (`sam2.modeling.sam2_utils`, `training/model/sam2.py`):
points are uniform in their region, boxes have noise of a tenth of their sides and at most 20 px,
a correction is positive where the object was missed and negative where the mask spilled over.
Coordinates are those of pixels: the middle of the first pixel is (0, 0).

Masks may be given at every few pixels of the image only: `stride_px` says at how many.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate

NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = 0, 1, 2, 3
"""Labels of points as sam2's prompt encoder reads them."""

CERTAIN_LOGIT = 10.0
"""Logit of a pixel of a mask that is given as a prompt, as `_use_mask_as_output` of sam2 has it."""


@dataclass(frozen=True)
class Points:
    """Points that ask for one mask each.

    Attributes:
        xy: float32, shape (n, points, 2), in pixels of the image the model sees.
        labels: int32, shape (n, points).
    """

    xy: torch.Tensor
    labels: torch.Tensor

    def and_then(self, other: Points) -> Points:
        """These points, and others for the same masks."""
        return Points(torch.cat([self.xy, other.xy], 1), torch.cat([self.labels, other.labels], 1))


def points_inside(truth: torch.Tensor, stride_px: int, random: torch.Generator) -> Points:
    """A positive point anywhere in each mask; a negative one outside where a mask is empty.

    Args:
        truth: bool, shape (n, h, w).
        stride_px: Pixels of the image a pixel of the masks.
        random: On the CPU, wherever the masks are.
    """
    return correction_clicks(torch.zeros_like(truth), truth, stride_px, 0.0, random)


def correction_clicks(
    found: torch.Tensor,
    truth: torch.Tensor,
    stride_px: int,
    from_truth: float,
    random: torch.Generator,
) -> Points:
    """A click for each mask, anywhere in the region that is wrong.

    Where nothing is wrong it is a negative one outside of the object, as in SAM 2, or a positive
    one where there is no outside.

    Args:
        found: bool, shape (n, h, w): what the model gave.
        truth: bool, shape (n, h, w).
        stride_px: Pixels of the image a pixel of the masks.
        from_truth: Probability that a click lands anywhere in the object instead.
        random: On the CPU.
    """
    draws = torch.rand(len(truth), 2, generator=random).to(truth.device)
    forget = draws[:, 1] < from_truth
    wrong = truth ^ (found & ~forget[:, None, None])
    right = ~wrong.flatten(1).any(1)
    outside = ~truth
    nowhere = right & ~outside.flatten(1).any(1)
    region = torch.where(right[:, None, None], outside, wrong)
    region = torch.where(nowhere[:, None, None], truth, region)
    rows, columns = _uniform(region, draws[:, 0])
    labels = truth[torch.arange(len(truth), device=truth.device), rows, columns]
    xy = torch.stack([columns, rows], -1).float() * stride_px + (stride_px - 1) / 2
    return Points(xy[:, None], labels[:, None].int())


def _uniform(region: torch.Tensor, draws: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of one pixel of each region (n, h, w); `draws` (n,) are uniform in 0..1.

    The pixel's number among those of the region is drawn, and found through the rows' counts.
    """
    counts = region.sum(2, dtype=torch.int32)
    until = counts.cumsum(1)
    total = until[:, -1]
    number = torch.minimum((draws.double() * total).long(), (total - 1).clamp(min=0))[:, None]
    rows = torch.searchsorted(until, number.to(until.dtype), right=True).squeeze(1)
    rows = rows.clamp(max=region.shape[1] - 1)
    each = torch.arange(len(region), device=region.device)
    before = (until[each, rows] - counts[each, rows])[:, None]
    within = region[each, rows].cumsum(1, dtype=torch.int32)
    columns = torch.searchsorted(within, (number - before).to(within.dtype), right=True).squeeze(1)
    return rows, columns.clamp(max=region.shape[2] - 1)


def boxes_around(
    truth: torch.Tensor, stride_px: int, noise: float, noise_px: float, random: torch.Generator
) -> Points:
    """The box of each mask, as its two corners, each of its edges moved at random.

    Args:
        truth: bool, shape (n, h, w), none of them empty.
        stride_px: Pixels of the image a pixel of the masks.
        noise: Edges move by up to this share of the box's width or height ...
        noise_px: ... but by no more pixels of the image than this.
        random: On the CPU.
    """
    corners = _corners(truth, stride_px)
    sides = (corners[:, 1] - corners[:, 0]).repeat(1, 2)
    reach = (noise * sides).clamp(max=noise_px)
    moves = 2 * torch.rand(len(truth), 4, generator=random).to(truth.device) - 1
    height, width = truth.shape[1] * stride_px, truth.shape[2] * stride_px
    last = torch.tensor([width, height], device=truth.device) - 1
    xy = (corners + (moves * reach).view(-1, 2, 2)).clamp(min=0).minimum(last)
    labels = torch.tensor([TOP_LEFT, BOTTOM_RIGHT], device=truth.device, dtype=torch.int32)
    return Points(xy, labels.expand(len(truth), 2))


def _corners(truth: torch.Tensor, stride_px: int) -> torch.Tensor:
    """First and last pixel (x, y) of each mask, float32, shape (n, 2, 2)."""
    ends = []
    for sides in (truth.any(1), truth.any(2)):
        first = sides.int().argmax(1)
        last = sides.shape[1] - 1 - sides.flip(1).int().argmax(1)
        ends.append(torch.stack([first * stride_px, last * stride_px + stride_px - 1], 1))
    return torch.stack(ends, 2).float()


def rough_masks(
    truth: torch.Tensor, side_px: int, noise: float, noise_px: float, random: torch.Generator,
    stride_px: int,
) -> torch.Tensor:  # fmt: skip
    """Each mask as logits, moved at random by as much as the edges of its box would be.

    Args:
        truth: bool, shape (n, h, w), none of them empty.
        side_px: Side of the mask prompt.
        noise: As `boxes_around`.
        noise_px: As `boxes_around`.
        random: On the CPU.
        stride_px: Pixels of the image a pixel of the masks.

    Returns:
        float32, shape (n, 1, side_px, side_px), -10 to 10.
    """
    corners = _corners(truth, stride_px)
    reach = (noise * (corners[:, 1] - corners[:, 0])).clamp(max=noise_px) / stride_px
    moves = 2 * torch.rand(len(truth), 2, generator=random).to(truth.device) - 1
    shifts = (moves * reach).round().long().tolist()
    moved = torch.stack([_shifted(mask, x, y) for mask, (x, y) in zip(truth, shifts, strict=True)])
    small = interpolate(
        moved[:, None].float(), (side_px, side_px), mode="bilinear", align_corners=False,
        antialias=True,
    )  # fmt: skip
    return (2 * small - 1) * CERTAIN_LOGIT


def _shifted(mask: torch.Tensor, x: int, y: int) -> torch.Tensor:
    """A mask (h, w) moved to the right and down; what leaves it is lost."""
    height, width = mask.shape
    moved = torch.zeros_like(mask)
    moved[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)] = mask[
        max(-y, 0) : height + min(-y, 0), max(-x, 0) : width + min(-x, 0)
    ]
    return moved
