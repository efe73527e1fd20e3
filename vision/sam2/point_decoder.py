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
from vision.sam2.two_way import attend
from vision.sam2.upscaling import MaskUpscaling

# Activations of so many points still fit a processor's caches; more of them are slower per point.
CPU_POINTS_PER_BATCH = 8

PointMasks = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def decode_points(
    model: SAM2Base,
    embedding: ImageEmbedding,
    points_xy: torch.Tensor,
    *,
    points_per_batch: int,
    multimask_output: bool,
    pred_iou_thresh: float = 0.0,
) -> Iterator[PointMasks]:
    """Ask for the masks at each of many points, apart from one another.

    Args:
        model: The model the embedding comes from.
        embedding: The image.
        points_xy: Shape (n, 2), float32, in pixels of the image.
        points_per_batch: Points decoded at once on an accelerator.
        multimask_output: Three masks for each point, not one.
        pred_iou_thresh: Masks rated at or below it are left out; 0 keeps all.

    Yields:
        Of the masks of some of the points: the point each was asked for at, shape (k, 2); logits,
        shape (k, image_size / 4, image_size / 4), float32; and the IoU the model expects, (k,).
    """
    upscaling = MaskUpscaling(model.sam_mask_decoder, embedding)
    size = torch.tensor([embedding.width_px, embedding.height_px], device=points_xy.device)
    if points_xy.device.type == "cpu":
        points_per_batch = min(points_per_batch, CPU_POINTS_PER_BATCH)
    for batch in torch.split(points_xy, points_per_batch):
        coordinates = (batch / size * model.image_size)[:, None, :]
        labels = torch.ones(coordinates.shape[:2], dtype=torch.int32, device=batch.device)
        sparse, dense = model.sam_prompt_encoder(
            points=(coordinates, labels), boxes=None, masks=None
        )
        if multimask_output:
            rows, logits, ious = _three_masks(
                model, embedding, upscaling, sparse, dense, pred_iou_thresh
            )
        else:
            rows, logits, ious = _one_mask(model, embedding, sparse, dense, pred_iou_thresh)
        yield batch[rows], logits.float(), ious.float()


def _one_mask(
    model: SAM2Base,
    embedding: ImageEmbedding,
    sparse: torch.Tensor,
    dense: torch.Tensor,
    pred_iou_thresh: float,
) -> PointMasks:
    logits, ious, _, _ = model.sam_mask_decoder(
        image_embeddings=embedding.features,
        image_pe=embedding.positions,
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
        repeat_image=True,
        high_res_features=embedding.high_res_features or None,
    )
    rows, _ = kept = _above(ious, pred_iou_thresh)
    return rows, logits[kept], ious[kept]


def _three_masks(
    model: SAM2Base,
    embedding: ImageEmbedding,
    upscaling: MaskUpscaling,
    sparse: torch.Tensor,
    dense: torch.Tensor,
    pred_iou_thresh: float,
) -> PointMasks:
    """Return the row of the point, logits and expected IoU of each mask that is kept."""
    decoder: Any = model.sam_mask_decoder
    kinds = [decoder.obj_score_token] if decoder.pred_obj_scores else []
    own = torch.cat([kind.weight for kind in (*kinds, decoder.iou_token, decoder.mask_tokens)])
    tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
    # Without a mask prompt the dense prompt is one vector, the same everywhere and for every point.
    image = (embedding.features + dense[:1]).flatten(2).transpose(1, 2)
    positions = embedding.positions.flatten(2).transpose(1, 2)
    tokens, image = attend(decoder.transformer, tokens, image, positions)

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
    logits = upscaling.draw(image[drawn], weights)
    return kept[0], logits[place, kept[1]], ious[kept]


def _above(ious: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of the masks rated above the threshold; of all where it is 0."""
    chosen = ious > threshold if threshold > 0 else torch.ones_like(ious, dtype=torch.bool)
    row, column = torch.nonzero(chosen, as_tuple=True)
    return row, column
