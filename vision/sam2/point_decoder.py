"""Masks at many points of one image: SAM 2's mask decoder, without the work that nobody sees.

The same sums as `sam2.modeling.sam.mask_decoder.MaskDecoder` makes, but for two things. All points
of an image start from the same image tokens, so what the first block computes of these alone is
computed once, not once a point. And the masks of a point are drawn only if the model rates one of
them above the threshold: drawing costs more than rating, and most points' masks are dropped.
"""

from collections.abc import Iterator
from typing import Any

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch.nn.functional import scaled_dot_product_attention

from vision.sam2.embedding import ImageEmbedding

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
            rows, logits, ious = _three_masks(model, embedding, sparse, dense, pred_iou_thresh)
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
    tokens, image = _attend(decoder.transformer, tokens, image, positions)

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
    pixels = _enlarge(decoder, image[drawn], embedding)
    logits = torch.einsum("pmc,pchw->pmhw", weights, pixels)
    return kept[0], logits[place, kept[1]], ious[kept]


def _above(ious: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of the masks rated above the threshold; of all where it is 0."""
    chosen = ious > threshold if threshold > 0 else torch.ones_like(ious, dtype=torch.bool)
    row, column = torch.nonzero(chosen, as_tuple=True)
    return row, column


def _enlarge(decoder: Any, image: torch.Tensor, embedding: ImageEmbedding) -> torch.Tensor:
    """Image tokens (p, h*w, c) as pixels (p, c/8, 4h, 4w)."""
    side = embedding.features.shape[-2:]
    source = image.transpose(1, 2).unflatten(2, side)  # type: ignore[no-untyped-call]
    if not decoder.use_high_res_features:
        enlarged: torch.Tensor = decoder.output_upscaling(source)
        return enlarged
    first, norm, activate, second, activate_last = decoder.output_upscaling
    finest, fine = embedding.high_res_features
    middle = activate(norm(first(source) + fine))
    result: torch.Tensor = activate_last(second(middle) + finest)
    return result


def _attend(
    transformer: Any, tokens: torch.Tensor, image: torch.Tensor, positions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`TwoWayTransformer` for points of one image.

    Args:
        transformer: sam2's.
        tokens: Shape (points, tokens, c).
        image: Shape (1, h*w, c).
        positions: Shape (1, h*w, c).

    Returns:
        Tokens, and the image as each point sees it, shape (points, h*w, c).
    """
    prompts = tokens
    first, *others = transformer.layers
    tokens = first.norm1(first.self_attn(q=tokens, k=tokens, v=tokens))
    cross = first.cross_attn_token_to_image
    seen = _attention(
        cross, cross.q_proj(tokens + prompts), cross.k_proj(image + positions), cross.v_proj(image)
    )
    tokens = first.norm2(tokens + seen)
    tokens = first.norm3(tokens + first.mlp(tokens))
    cross = first.cross_attn_image_to_token
    answer = _attention(
        cross,
        cross.q_proj(image + positions),
        cross.k_proj(tokens + prompts),
        cross.v_proj(tokens),
    )
    image = first.norm4(image + answer)
    for layer in others:
        tokens, image = layer(queries=tokens, keys=image, query_pe=prompts, key_pe=positions)
    seen = transformer.final_attn_token_to_image(q=tokens + prompts, k=image + positions, v=image)
    tokens = transformer.norm_final_attn(tokens + seen)
    return tokens, image


def _attention(
    block: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """Attention of projected tokens; what is the same for all points has a batch of 1."""
    points = max(len(query), len(key))
    query, key, value = (
        part.unflatten(2, (block.num_heads, -1)).transpose(1, 2).expand(points, -1, -1, -1)  # type: ignore[no-untyped-call]
        for part in (query, key, value)
    )
    found = scaled_dot_product_attention(query, key, value)
    result: torch.Tensor = block.out_proj(found.transpose(1, 2).flatten(2))
    return result
