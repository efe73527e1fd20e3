"""Prompts for training: clicks, boxes and correction clicks drawn from id maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from examples.demo_models.pages import IGNORED

POSITIVE, NEGATIVE, TOP_LEFT, BOTTOM_RIGHT = 1, 0, 2, 3
"""Point labels as sam2's prompt encoder reads them."""


@dataclass
class Prompts:
    """The same number of prompts for each image of a batch.

    Attributes:
        points_xy: float, (images, prompts, points, 2), in pixels of the square image.
        labels: int, (images, prompts, points).
        ids: int, (images, prompts, levels): the prompted object per level, 0 where there is none.
    """

    points_xy: torch.Tensor
    labels: torch.Tensor
    ids: torch.Tensor


def sample_clicks(ids: torch.Tensor, count: int, generator: torch.Generator) -> Prompts:
    """Single clicks: half anywhere on the page, as a grid would, half inside objects.

    The second half draws an object first, so that text lines are clicked as often as panels.

    Args:
        ids: int, (images, levels, size, size).
        count: clicks an image.
        generator: the source of randomness.
    """
    images, _, size, _ = ids.shape
    anywhere = torch.randint(size * size, (images, count), generator=generator)
    for image in range(images):
        for click in range(0, count, 2):
            pixels = _pixels_of_random_object(ids[image], generator)
            if pixels is not None:
                pick = torch.randint(len(pixels), (1,), generator=generator)
                anywhere[image, click] = pixels[pick]
    found = torch.gather(ids.flatten(2), 2, anywhere[:, None].expand(-1, ids.shape[1], -1).long())
    points = torch.stack([anywhere % size, anywhere // size], -1).float() + 0.5
    return Prompts(
        points[:, :, None],
        torch.full((images, count, 1), POSITIVE),
        found.transpose(1, 2).long(),
    )


def sample_boxes(ids: torch.Tensor, count: int, generator: torch.Generator) -> Prompts:
    """Noisy boxes (0.1 of their size, at most 20 px, as SAM 2's training) around random objects.

    Only the level of the drawn object is set in `ids`: a box names one object.
    """
    images, levels, size, _ = ids.shape
    points = torch.zeros(images, count, 2, 2)
    chosen = torch.zeros(images, count, levels, dtype=torch.long)
    for image in range(images):
        for prompt in range(count):
            level, object_id = _random_object(ids[image], generator)
            if object_id == 0:
                continue
            rows, columns = torch.where(ids[image, level] == object_id)
            box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            extent = (box[2:] - box[:2]).repeat(2).float()
            noise = torch.randn(4, generator=generator) * (0.1 * extent).clamp(max=20)
            points[image, prompt] = (box + noise).clamp(0, size).view(2, 2)
            chosen[image, prompt, level] = object_id
    labels = torch.tensor([TOP_LEFT, BOTTOM_RIGHT]).expand(images, count, 2)
    return Prompts(points, labels, chosen)


def targets(ids: torch.Tensor, prompted: torch.Tensor, size: int) -> torch.Tensor:
    """Masks of the prompted objects, bool, (images * prompts, levels, size, size)."""
    step = ids.shape[-1] // size
    small = ids[:, :, step // 2 :: step, step // 2 :: step].long()
    masks = (small[:, None] == prompted[..., None, None]) & (prompted[..., None, None] > 0)
    return masks.flatten(0, 1)


def correction_clicks(
    logits: torch.Tensor, target: torch.Tensor, stride: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """One click per mask, uniform over the pixels that are wrong.

    Args:
        logits: float, (prompts, h, w).
        target: bool, (prompts, h, w).
        stride: image pixels a mask pixel.
        generator: the source of randomness.

    Returns:
        points (prompts, 1, 2) in image pixels, labels (prompts, 1): positive where the object
        was missed, negative where the mask spilled over.
    """
    wrong = ((logits > 0) != target).flatten(1)
    weights = torch.where(wrong.any(1, keepdim=True), wrong, target.flatten(1)).float().cpu()
    weights[weights.sum(1) == 0] = 1.0
    pick = torch.multinomial(weights, 1, generator=generator).squeeze(1)
    width = logits.shape[-1]
    points = torch.stack([pick % width, pick // width], -1).float() * stride + stride / 2
    labels = target.flatten(1).cpu()[torch.arange(len(pick)), pick].long()
    return points[:, None], labels[:, None]


def _random_object(ids: torch.Tensor, generator: torch.Generator) -> tuple[int, int]:
    """(level, object id) with levels equally likely; id 0 where the page has no object."""
    order = torch.randperm(ids.shape[0], generator=generator).tolist()
    for level in order:
        found = torch.unique(ids[level])
        found = found[found > 0]
        if len(found):
            pick = int(torch.randint(len(found), (1,), generator=generator))
            return level, int(found[pick])
    return 0, 0


def _pixels_of_random_object(ids: torch.Tensor, generator: torch.Generator) -> torch.Tensor | None:
    level, object_id = _random_object(ids, generator)
    if object_id == 0:
        return None
    pixels = torch.where((ids[level] == object_id).flatten() & (ids != IGNORED).all(0).flatten())[0]
    return pixels if len(pixels) else None
