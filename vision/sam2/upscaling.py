"""The last part of SAM 2's mask decoder: from the image as a point sees it to that point's masks.

The sums are those of `sam2.modeling.sam.mask_decoder.MaskDecoder`. A transposed convolution whose
stride is its size makes a block of pixels of each pixel, independently of the others: a product of
matrices. So pixels stay in blocks, channels last, and only the finished masks are put in order.

Shapes: p points, n = h * w image tokens of c channels.
"""

from typing import Any

import torch
from torch.nn.functional import gelu, layer_norm

from vision.sam2.embedding import ImageEmbedding


class MaskUpscaling:
    """Draws masks of many points of one image at four times the side of its features."""

    def __init__(self, decoder: Any, embedding: ImageEmbedding) -> None:
        """Prepare what is the same for all points.

        Args:
            decoder: sam2's.
            embedding: The image.
        """
        first, norm, _, second, _ = decoder.output_upscaling
        self._height, self._width = embedding.features.shape[2:]
        dtype = embedding.features.dtype
        self._norm = (norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)
        self._weights = [_block_weight(step).to(dtype) for step in (first, second)]
        self._added = [step.bias.repeat(4).to(dtype) for step in (first, second)]
        if decoder.use_high_res_features:
            finest, fine = embedding.high_res_features
            self._added[0] = self._added[0] + _blocks(fine)
            self._added[1] = self._added[1] + _blocks_of_blocks(finest)

    def draw(self, image: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Draw masks.

        Args:
            image: Shape (p, n, c), the image as each point sees it.
            weights: Shape (p, masks, c / 8), what each mask takes of each channel.

        Returns:
            Logits, shape (p, masks, 4 * h, 4 * w).
        """
        points, masks = weights.shape[:2]
        weights = weights.to(image.dtype)
        drawn = weights.new_empty(points, masks, 16 * image.shape[1])
        # The pixels of one point fit a processor's caches, those of several do not.
        at_once = 1 if image.device.type == "cpu" else max(points, 1)
        for start in range(0, points, at_once):
            part = slice(start, start + at_once)
            drawn[part] = self._draw(image[part], weights[part])
        blocks = drawn.view(points, masks, self._height, self._width, 2, 2, 2, 2)
        ordered = blocks.permute(0, 1, 2, 4, 6, 3, 5, 7)
        return ordered.reshape(points, masks, 4 * self._height, 4 * self._width)

    def _draw(self, image: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Draw masks whose pixels are in blocks of blocks: (p, masks, 16 * n)."""
        pixels = _split(_enlarged(image, self._weights[0], self._added[0]))
        pixels = gelu(layer_norm(pixels, pixels.shape[-1:], *self._norm))
        pixels = _split(gelu(_enlarged(pixels, self._weights[1], self._added[1])))
        return torch.bmm(weights, pixels.mT)


def _enlarged(pixels: torch.Tensor, weight: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """Each pixel (p, n, c) as the four of its block, side by side."""
    points = len(pixels)
    return torch.baddbmm(added.expand(points, -1, -1), pixels, weight.expand(points, -1, -1))


def _split(blocks: torch.Tensor) -> torch.Tensor:
    """Blocks of four pixels (p, n, 4 * c) as pixels (p, 4 * n, c)."""
    return blocks.reshape(len(blocks), 4 * blocks.shape[1], -1)


def _block_weight(convolution: Any) -> torch.Tensor:
    """The weight (c, c', 2, 2) of a transposed convolution as (c, 4 * c')."""
    weight: torch.Tensor = convolution.weight
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _blocks(feature: torch.Tensor) -> torch.Tensor:
    """A map (1, c, 2 * h, 2 * w) in blocks of 2 by 2: (1, h * w, 4 * c)."""
    _, channels, height, width = feature.shape
    parted = feature.view(channels, height // 2, 2, width // 2, 2)
    return parted.permute(1, 3, 2, 4, 0).reshape(1, height * width // 4, 4 * channels)


def _blocks_of_blocks(feature: torch.Tensor) -> torch.Tensor:
    """A map (1, c, 4 * h, 4 * w) in blocks of 2 by 2 blocks of 2 by 2: (1, 4 * h * w, 4 * c)."""
    _, channels, height, width = feature.shape
    parted = feature.view(channels, height // 4, 2, 2, width // 4, 2, 2)
    return parted.permute(1, 4, 2, 5, 3, 6, 0).reshape(1, height * width // 4, 4 * channels)
