"""SAM 2's decoder for many prompts of several images at once, with gradients.

Each image is encoded once, however many prompts it gets. `SAM2ImagePredictor` cannot be used to
train: its encoder runs without gradients.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from vision.finetune.prompts import Points
from vision.sam2.embedding import MEAN_RGB, STD_RGB

MAX_PROMPT_LOGIT = 32.0
"""sam2's predictor cuts logits to this before they may be a prompt."""


class DecodedMasks(NamedTuple):
    """What the model gives for each of n prompts.

    Attributes:
        logits: float, shape (n, masks, image_size / 4, image_size / 4).
        predicted_iou: float, shape (n, masks).
        object_logits: float, shape (n, 1).
    """

    logits: torch.Tensor
    predicted_iou: torch.Tensor
    object_logits: torch.Tensor

    def best_logits(self) -> torch.Tensor:
        """The mask of each prompt that the model rates best, shape (n, 1, h, w)."""
        rows = torch.arange(len(self.logits), device=self.logits.device)
        return self.logits[rows, self.predicted_iou.argmax(1)][:, None]


class PromptedImages:
    """Images, encoded, that are asked for masks."""

    def __init__(self, model: Any, images: torch.Tensor, image_of: torch.Tensor) -> None:
        """Encode the images.

        Args:
            model: sam2's `SAM2Base`.
            images: uint8, shape (b, 3, image_size, image_size), RGB.
            image_of: int64, shape (n,): the image of each prompt, in order: 0, 0, 1, 2, 2, 2, ...
        """
        mean = torch.tensor(MEAN_RGB, device=images.device)[:, None, None]
        std = torch.tensor(STD_RGB, device=images.device)[:, None, None]
        pixels = (images.float() / 255 - mean) / std
        features = model.forward_image(pixels)["backbone_fpn"]
        features = list(features[-model.num_feature_levels :])
        if model.directly_add_no_mem_embed:
            features[-1] = features[-1] + model.no_mem_embed.view(1, -1, 1, 1)
        self._model = model
        counts = torch.bincount(image_of, minlength=len(images)).tolist()
        self._features = [_repeated(level, counts) for level in features]

    def ask(
        self, points: Points | None, mask_logits: torch.Tensor | None, three: bool
    ) -> DecodedMasks:
        """Decode one or three masks for each prompt.

        Args:
            points: Of each prompt; None for masks alone.
            mask_logits: float, shape (n, 1, h, w): the mask before, or None.
            three: Whether to give the three masks that a single point may mean, or one.
        """
        model = self._model
        if mask_logits is not None:
            mask_logits = mask_logits.float().clamp(-MAX_PROMPT_LOGIT, MAX_PROMPT_LOGIT)
        sparse, dense = model.sam_prompt_encoder(
            points=None if points is None else (points.xy, points.labels),
            boxes=None,
            masks=mask_logits,
        )
        logits, iou, _, object_logits = model.sam_mask_decoder.predict_masks(
            image_embeddings=self._features[-1],
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=False,
            high_res_features=self._features[:-1] or None,
        )
        which = slice(1, None) if three else slice(0, 1)
        return DecodedMasks(logits[:, which], iou[:, which], object_logits)


def _repeated(level: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Features (b, c, h, w) of images, once for each of their prompts.

    Parts that are expanded and joined have a gradient that is a few sums; that of an index is
    gathered number by number, which took a tenth of a step on a CPU.
    """
    parts = [image.expand(count, -1, -1, -1) for image, count in zip(level, counts, strict=True)]
    return torch.cat(parts)
