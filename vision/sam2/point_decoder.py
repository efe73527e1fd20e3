"""Masks at many points of one image: SAM 2's mask decoder, without the work that nobody sees.

`vision.sam2.two_way` and `vision.sam2.upscaling` make the sums of
`sam2.modeling.sam.mask_decoder.MaskDecoder` in fewer steps. And the masks of a point are drawn only
if the model rates one of them above the threshold: most points' masks are dropped.
"""

from collections.abc import Iterator
from typing import Any

import torch
from sam2.modeling.sam2_base import SAM2Base

from vision.sam2.embedding import ImageEmbedding
from vision.sam2.parameters import GeneratorParams
from vision.sam2.two_way import SharedImage
from vision.sam2.upscaling import MaskUpscaling

# Activations of so many points still fit a processor's caches; more of them are slower per point.
CPU_POINTS_PER_BATCH = 8

# What sam2's predictor makes of logits before they may be a prompt.
_MAX_PROMPT_LOGIT = 32.0

PointMasks = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Of some masks the number of the point, the logits and the IoU that the model expects."""


def decode_points(
    model: SAM2Base,
    embedding: ImageEmbedding,
    points_xy: torch.Tensor,
    points_per_batch: int,
    params: GeneratorParams,
) -> Iterator[PointMasks]:
    """Ask for the masks at each of many points, apart from one another.

    Args:
        model: The model the embedding comes from.
        embedding: The image.
        points_xy: Shape (n, 2), float32, in pixels of the image.
        points_per_batch: Points decoded at once on an accelerator.
        params: How to ask; masks rated at or below its `pred_iou_thresh` are left out.

    Yields:
        Of the masks of some of the points: the point each was asked for at, shape (k, 2); logits,
        shape (k, image_size / 4, image_size / 4), float32; and the IoU the model expects, (k,).
    """
    decoder = _PointDecoder(model, embedding)
    size = torch.tensor([embedding.width_px, embedding.height_px], device=points_xy.device)
    if points_xy.device.type == "cpu":
        points_per_batch = min(points_per_batch, CPU_POINTS_PER_BATCH)
    ask = decoder.three_masks if params.multimask_output else decoder.one_mask
    for batch in torch.split(points_xy, points_per_batch):
        places = (batch / size * model.image_size)[:, None, :]
        if not params.use_m2m:
            rows, logits, ious = ask(places, params.pred_iou_thresh)
            yield batch[rows], logits, ious
            continue
        # Only what becomes of a mask tells whether it is kept.
        rows, logits, _ = ask(places, 0.0)
        hints = logits.clamp(-_MAX_PROMPT_LOGIT, _MAX_PROMPT_LOGIT)[:, None]
        for some, hint in zip(
            rows.split(points_per_batch), hints.split(points_per_batch), strict=True
        ):
            kept, logits, ious = decoder.one_mask(places[some], params.pred_iou_thresh, hint)
            yield batch[some][kept], logits, ious


class _PointDecoder:
    """The mask decoder and an image."""

    def __init__(self, model: SAM2Base, embedding: ImageEmbedding) -> None:
        self._model = model
        self._embedding = embedding
        decoder: Any = model.sam_mask_decoder
        # Without a mask as prompt the dense prompt is one vector, the same everywhere.
        nothing = model.sam_prompt_encoder.no_mask_embed.weight.to(embedding.features.dtype)
        image = embedding.features.flatten(2).mT + nothing
        positions = embedding.positions.flatten(2).mT
        self._image = SharedImage(decoder.transformer, image, positions)
        self._upscaling = MaskUpscaling(decoder, embedding)

    def three_masks(self, places: torch.Tensor, pred_iou_thresh: float) -> PointMasks:
        """Three masks for each point, but for those rated at or below the threshold.

        Args:
            places: Shape (p, 1, 2), points in pixels of the model's square.
            pred_iou_thresh: The threshold; 0 keeps all.
        """
        decoder: Any = self._model.sam_mask_decoder
        kinds = [decoder.obj_score_token] if decoder.pred_obj_scores else []
        own = torch.cat([kind.weight for kind in (*kinds, decoder.iou_token, decoder.mask_tokens)])
        prompts, _ = self._prompts(places)
        tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts], dim=1)
        tokens, image = self._image.attend(tokens)

        first_mask = len(kinds) + 1
        ious = decoder.iou_prediction_head(tokens[:, len(kinds)])[:, 1:]
        kept = _above(ious, pred_iou_thresh)
        drawn, place = torch.unique(kept[0], return_inverse=True)
        weights = torch.stack(
            [
                decoder.output_hypernetworks_mlps[index](tokens[drawn, first_mask + index])
                for index in range(1, decoder.num_mask_tokens)
            ],
            dim=1,
        )
        logits = self._upscaling.draw(image[drawn], weights)
        return kept[0], logits[place, kept[1]].float(), ious[kept]

    def one_mask(
        self,
        places: torch.Tensor,
        pred_iou_thresh: float,
        masks: torch.Tensor | None = None,
    ) -> PointMasks:
        """One mask for each point that is rated above the threshold.

        Args:
            places: Shape (p, 1, 2), points in pixels of the model's square.
            pred_iou_thresh: The threshold; 0 keeps all.
            masks: Shape (p, 1, side, side), logits of a mask for each point, as a further prompt.
        """
        embedding = self._embedding
        sparse, dense = self._prompts(places, masks)
        dtype = embedding.features.dtype
        with torch.autocast(places.device.type, dtype, enabled=dtype != torch.float32):
            logits, ious, _, _ = self._model.sam_mask_decoder(
                image_embeddings=embedding.features,
                image_pe=embedding.positions,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
                repeat_image=True,
                high_res_features=embedding.high_res_features or None,
            )
        rows, _ = kept = _above(ious.float(), pred_iou_thresh)
        return rows, logits[kept].float(), ious[kept].float()

    def _prompts(
        self, places: torch.Tensor, masks: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.ones(places.shape[:2], dtype=torch.int32, device=places.device)
        sparse, dense = self._model.sam_prompt_encoder(
            points=(places, labels), boxes=None, masks=masks
        )
        return sparse, dense


def _above(ious: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of the masks rated above the threshold; of all where it is 0."""
    chosen = ious > threshold if threshold > 0 else torch.ones_like(ious, dtype=torch.bool)
    row, column = torch.nonzero(chosen, as_tuple=True)
    return row, column
