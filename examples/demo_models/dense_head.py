"""A helper task for the image encoder: describe every pixel. It is used in training only.

Prompts give the encoder few, indirect gradients. A label and an edge for every pixel teach it what
panels, bubbles, characters and text look like within the first hundred steps; the box of the object
that a pixel belongs to teaches it to tell one object from the next.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

LEVEL_COUNT = 3
BOX_WEIGHT = 5.0


class DenseHead(nn.Module):
    """Maps at a quarter of the image's size: inside, edge and box of each of the three levels.

    Args:
        channels: channels of the encoder's features, coarsest first.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(count, 64, 1) for count in channels)
        self.classify = nn.Sequential(nn.GELU(), nn.Conv2d(64, 6 * LEVEL_COUNT, 1))

    def loss(self, features: list[torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
        """Balanced cross-entropy of insides and edges, and the mean distance of boxes' sides.

        Args:
            features: coarsest first, each (images, channels, h, w).
            ids: int, (images, 3, size, size), object ids per level.
        """
        size = features[-1].shape[-1]
        total: torch.Tensor | int = 0
        for project, feature in zip(self.project, features, strict=True):
            total = total + F.interpolate(project(feature), size=(size, size), mode="bilinear")
        logits, boxes = self.classify(total).split([2 * LEVEL_COUNT, 4 * LEVEL_COUNT], 1)
        step = ids.shape[-1] // size
        small = ids[:, :, step // 2 :: step, step // 2 :: step].float().to(logits.device)
        inside = small > 0
        edge = F.max_pool2d(small, 3, 1, 1) != -F.max_pool2d(-small, 3, 1, 1)
        labelled = balanced_cross_entropy(logits, torch.cat([inside, edge], 1)).mean()
        wrong = (boxes.unflatten(1, (LEVEL_COUNT, 4)) - object_boxes(small)).abs().mean(2)
        box_error: torch.Tensor = wrong[inside].sum() / inside.sum().clamp(min=1)
        return labelled + BOX_WEIGHT * box_error


def object_boxes(ids: torch.Tensor) -> torch.Tensor:
    """For every pixel the box of its object.

    Args:
        ids: (images, levels, h, w), whole numbers; a pixel's object in its level.

    Returns:
        float, (images, levels, 4, h, w): left, top, right, bottom as shares of the map's sides.
    """
    images, levels, height, width = ids.shape
    first = int(ids.min())
    count = int(ids.max()) - first + 1
    plane = torch.arange(images * levels, device=ids.device).view(images, levels, 1, 1)
    key = (plane * count + ids.long() - first).flatten()
    x = ((torch.arange(width, device=ids.device) + 0.5) / width).expand(ids.shape).flatten()
    y = ((torch.arange(height, device=ids.device) + 0.5) / height)[:, None]
    y = y.expand(ids.shape).flatten()
    sides = []
    for value, reduce in ((x, "amin"), (y, "amin"), (x, "amax"), (y, "amax")):
        side = value.new_zeros(images * levels * count)
        side.scatter_reduce_(0, key, value, reduce, include_self=False)
        sides.append(side[key].view(ids.shape))
    return torch.stack(sides, 2)


def balanced_cross_entropy(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in which the pixels inside and outside weigh the same, however few they are.

    Args:
        logits: float, (..., h, w).
        truth: bool, the same shape.

    Returns:
        One value per map, shape (...).
    """
    loss = F.softplus(torch.where(truth, -logits, logits))
    inside = truth.float()
    positive = (loss * inside).sum((-2, -1)) / inside.sum((-2, -1)).clamp(min=1)
    negative = (loss * (1 - inside)).sum((-2, -1)) / (1 - inside).sum((-2, -1)).clamp(min=1)
    return 0.5 * (positive + negative)
