"""Masks of any prompts of one image: SAM 2's mask decoder, in the sums of `vision.sam2.two_way`."""

from typing import Any

import torch
from sam2.modeling.sam2_base import SAM2Base

from vision.sam2.embedding import ImageEmbedding
from vision.sam2.two_way import SharedImage, attend_apart
from vision.sam2.upscaling import MaskUpscaling

Points = tuple[torch.Tensor, torch.Tensor]


class PromptDecoder:
    """The mask decoder and an image."""

    def __init__(self, model: SAM2Base, embedding: ImageEmbedding) -> None:
        """Prepare what is the same for all prompts.

        Args:
            model: The model the embedding comes from.
            embedding: The image.
        """
        decoder: Any = model.sam_mask_decoder
        self._model = model
        self._features = embedding.features.flatten(2).mT
        self._positions = embedding.positions.flatten(2).mT
        # Without a mask as prompt the dense prompt is one vector, the same everywhere.
        nothing = model.sam_prompt_encoder.no_mask_embed.weight.to(self._features.dtype)
        self._image = SharedImage(decoder.transformer, self._features + nothing, self._positions)
        self._upscaling = MaskUpscaling(decoder, embedding)

    def decode(
        self, points: Points | None, masks: torch.Tensor | None, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Ask for the masks of n prompts, each on its own.

        Args:
            points: Clicks and corners of boxes: places in pixels of the model's square, shape
                (n, clicks, 2), and what they are to sam2's prompt encoder, (n, clicks); or None.
            masks: Logits of a mask of each prompt, shape (n, 1, side, side), or None.
            multimask: Give the three masks of ambiguous prompts instead of the single one.

        Returns:
            Logits, shape (n, masks, side, side), and the IoU the model expects, (n, masks), both
            float32. What sam2 does with single masks that are not stable is not done.
        """
        decoder: Any = self._model.sam_mask_decoder
        sparse, dense = self._model.sam_prompt_encoder(points=points, boxes=None, masks=masks)
        kinds = [decoder.obj_score_token] if decoder.pred_obj_scores else []
        own = torch.cat([kind.weight for kind in (*kinds, decoder.iou_token, decoder.mask_tokens)])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        if masks is None:
            tokens, image = self._image.attend(tokens)
        else:
            hinted = self._features + dense.flatten(2).mT.to(self._features.dtype)
            tokens, image = attend_apart(decoder.transformer, tokens, hinted, self._positions)
        wanted = range(1, decoder.num_mask_tokens) if multimask else range(1)
        first_mask = len(kinds) + 1
        weights = torch.stack(
            [decoder.output_hypernetworks_mlps[i](tokens[:, first_mask + i]) for i in wanted], dim=1
        )
        ious = decoder.iou_prediction_head(tokens[:, len(kinds)])[:, wanted.start : wanted.stop]
        return self._upscaling.draw(image, weights).float(), ious.float()
