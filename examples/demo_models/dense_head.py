"""A helper task for the image encoder: name every pixel. It is used in training only.

Prompts give the encoder few, indirect gradients; a label and an edge for every pixel teach it what
panels, bubbles, characters and text look like within the first hundred steps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class DenseHead(nn.Module):
    """Six maps at a quarter of the image's size: inside and edge of each of the three levels.

    Args:
        channels: channels of the encoder's features, coarsest first.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(count, 32, 1) for count in channels)
        self.classify = nn.Sequential(nn.GELU(), nn.Conv2d(32, 6, 1))

    def loss(self, features: list[torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
        """Balanced cross-entropy of the six maps.

        Args:
            features: coarsest first, each (images, channels, h, w).
            ids: int, (images, 3, size, size), object ids per level.
        """
        size = features[-1].shape[-1]
        total: torch.Tensor | int = 0
        for project, feature in zip(self.project, features, strict=True):
            total = total + F.interpolate(project(feature), size=(size, size), mode="bilinear")
        logits = self.classify(total)
        step = ids.shape[-1] // size
        small = ids[:, :, step // 2 :: step, step // 2 :: step].float().to(logits.device)
        inside = small > 0
        edge = F.max_pool2d(small, 3, 1, 1) != -F.max_pool2d(-small, 3, 1, 1)
        return balanced_cross_entropy(logits, torch.cat([inside, edge], 1)).mean()


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
