"""One lesson: ask for the masks of a batch, correct the model with clicks, add up what it costs."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import interpolate

from vision.finetune.config import TrainConfig
from vision.finetune.decoder import DecodedMasks, PromptedImages
from vision.finetune.hardware import known
from vision.finetune.losses import Losses, click_losses
from vision.finetune.prompts import (
    Points,
    boxes_around,
    correction_clicks,
    points_inside,
    rough_masks,
)


class Lesson(torch.nn.Module):
    """A model with what it is taught; calling it is what several devices do at once.

    Args:
        model: sam2's `SAM2Base`.
        config: Without `auto`.
    """

    def __init__(self, model: Any, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        self._config = config

    def forward(
        self,
        images: torch.Tensor,
        masks: torch.Tensor,
        image_of: torch.Tensor,
        objects: float,
        seed: int,
    ) -> Losses:
        """Teach a batch.

        Args:
            images: uint8, shape (b, 3, size, size), RGB.
            masks: bool, shape (n, side, side), none of them empty.
            image_of: int64, shape (n,): which image a mask is of.
            objects: Number of objects that losses are divided by.
            seed: Of the prompts.
        """
        config = self._config
        stride = known(config.data.mask_stride_px)
        random = torch.Generator().manual_seed(seed)
        asked = PromptedImages(self.model, images, image_of)
        points, decoded = self._begin(asked, masks, random)
        losses = self._cost(decoded, masks, objects)
        for _ in range(config.prompts.correction_clicks):
            before = decoded.best_logits()
            with torch.no_grad():
                found = interpolate(
                    before.detach().float(), masks.shape[-2:], mode="bilinear", align_corners=False
                )
            click = correction_clicks(
                found[:, 0] > 0, masks, stride, config.prompts.from_truth, random
            )
            points = click if points is None else points.and_then(click)
            decoded = asked.ask(points, before, self._means_three(points))
            losses = losses.plus(self._cost(decoded, masks, objects))
        return losses

    def _begin(
        self, asked: PromptedImages, masks: torch.Tensor, random: torch.Generator
    ) -> tuple[Points | None, DecodedMasks]:
        """Ask for the first time, with a kind of prompt that is drawn for the batch."""
        prompts = self._config.prompts
        stride = known(self._config.data.mask_stride_px)
        noise = (prompts.box_noise, prompts.box_noise_px)
        kind = float(torch.rand(1, generator=random))
        if kind < prompts.mask:
            side = self.model.sam_prompt_encoder.mask_input_size[0]
            rough = rough_masks(masks, side, *noise, random, stride)
            return None, asked.ask(None, rough, three=False)
        if kind < prompts.mask + prompts.box:
            points = boxes_around(masks, stride, *noise, random)
        else:
            points = points_inside(masks, stride, random)
        return points, asked.ask(points, None, self._means_three(points))

    def _means_three(self, points: Points) -> bool:
        """Whether so many points leave open what is meant; the corners of a box count as two."""
        model = self.model
        few = model.multimask_min_pt_num <= points.xy.shape[1] <= model.multimask_max_pt_num
        return bool(model.multimask_output_in_sam and few)

    def _cost(self, decoded: DecodedMasks, masks: torch.Tensor, objects: float) -> Losses:
        return click_losses(*decoded, masks, objects, self._config.losses)
