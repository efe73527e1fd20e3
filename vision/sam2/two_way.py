"""SAM 2's two-way transformer for many points of one image, with less to compute.

The sums are those of `sam2.modeling.sam.transformer.TwoWayTransformer`, in another order:

- All points start from the same image tokens, so what the first block computes of these alone is
  computed once, not once a point.
- A point has few tokens and the image many, and `(image W) token = image (W token)`. So the few
  tokens are projected into the image's space, head by head, and the image is projected never.

Shapes: p points of t tokens, n image tokens, c channels, h heads of d channels.
"""

from typing import Any

import torch


def attend(
    transformer: Any, tokens: torch.Tensor, image: torch.Tensor, positions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Let the tokens of each point and the image see each other.

    Args:
        transformer: sam2's.
        tokens: Shape (p, t, c).
        image: Shape (1, n, c).
        positions: Shape (1, n, c).

    Returns:
        Tokens, and the image as each point sees it, shape (p, n, c).
    """
    prompts = tokens
    first, *others = transformer.layers
    placed = image + positions
    tokens = first.norm1(first.self_attn(q=tokens, k=tokens, v=tokens))
    asking = tokens + prompts
    tokens = first.norm2(
        tokens + _look_at_shared(first.cross_attn_token_to_image, asking, placed, image)
    )
    tokens = first.norm3(tokens + first.mlp(tokens))
    weights = _shared_weights(first.cross_attn_image_to_token, placed, tokens + prompts)
    image = first.norm4(_tell(first.cross_attn_image_to_token, weights, tokens, image))
    for layer in others:
        asking = tokens + prompts
        placed = image + positions
        tokens = layer.norm1(tokens + layer.self_attn(q=asking, k=asking, v=tokens))
        asking = tokens + prompts
        tokens = layer.norm2(
            tokens + _look_at(layer.cross_attn_token_to_image, asking, placed, image)
        )
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        weights = _weights(layer.cross_attn_image_to_token, placed, tokens + prompts)
        image = layer.norm4(_tell(layer.cross_attn_image_to_token, weights, tokens, image))
    last = transformer.final_attn_token_to_image
    seen = _look_at(last, tokens + prompts, image + positions, image)
    return transformer.norm_final_attn(tokens + seen), image


def _look_at(
    block: Any, asking: torch.Tensor, placed: torch.Tensor, image: torch.Tensor
) -> torch.Tensor:
    """What tokens (p, t, c) see in an image (p, n, c) of their own."""
    query = _heads(block, block.q_proj(asking)) * _scale(block)
    # The bias of the keys raises all scores of a token alike, which the softmax undoes.
    query = torch.einsum("pthd,hdc->phtc", query, _weight(block, block.k_proj))
    scores = torch.bmm(query.flatten(1, 2), placed.mT)
    seen = torch.bmm(scores.softmax(-1), image).unflatten(1, query.shape[1:3])
    seen = torch.einsum("phtc,hdc->pthd", seen, _weight(block, block.v_proj)).flatten(2)
    result: torch.Tensor = block.out_proj(seen + block.v_proj.bias)
    return result


def _look_at_shared(
    block: Any, asking: torch.Tensor, placed: torch.Tensor, image: torch.Tensor
) -> torch.Tensor:
    """What tokens (p, t, c) see in the image (1, n, c) that all points share."""
    query = _heads(block, block.q_proj(asking)).permute(2, 0, 1, 3)
    key = _heads(block, block.k_proj(placed))[0].transpose(0, 1)
    value = _heads(block, block.v_proj(image))[0].transpose(0, 1)
    scores = torch.bmm(query.flatten(1, 2) * _scale(block), key.mT)
    seen = torch.bmm(scores.softmax(-1), value).unflatten(1, query.shape[1:3])
    result: torch.Tensor = block.out_proj(seen.permute(1, 2, 0, 3).flatten(2))
    return result


def _weights(block: Any, placed: torch.Tensor, asking: torch.Tensor) -> torch.Tensor:
    """How much each token counts in each place of an image (p, n, c): shape (p, h, t, n)."""
    key = _heads(block, block.k_proj(asking)) * _scale(block)
    bias = torch.einsum("pthd,hd->pht", key, block.q_proj.bias.view(block.num_heads, -1))
    key = torch.einsum("pthd,hdc->phtc", key, _weight(block, block.q_proj))
    scores = torch.baddbmm(bias.flatten(1)[:, :, None], key.flatten(1, 2), placed.mT)
    weights: torch.Tensor = scores.unflatten(1, key.shape[1:3]).softmax(2)
    return weights


def _shared_weights(block: Any, placed: torch.Tensor, asking: torch.Tensor) -> torch.Tensor:
    """`_weights` of an image (1, n, c) that all points share."""
    key = _heads(block, block.k_proj(asking)).permute(2, 0, 1, 3)
    query = _heads(block, block.q_proj(placed))[0].transpose(0, 1)
    scores = torch.bmm(key.flatten(1, 2) * _scale(block), query.mT)
    weights: torch.Tensor = scores.unflatten(1, key.shape[1:3]).softmax(2)
    return weights.transpose(0, 1)


def _tell(
    block: Any, weights: torch.Tensor, tokens: torch.Tensor, image: torch.Tensor
) -> torch.Tensor:
    """The image (p or 1, n, c), and added to it what the tokens tell each place: (p, n, c)."""
    value = _heads(block, block.v_proj(tokens))
    out = block.out_proj.weight.view(-1, block.num_heads, value.shape[-1])
    told = torch.einsum("pthd,chd->phtc", value, out)
    # The weights of a head add up to 1, so each may bring its part of the bias.
    told = told + block.out_proj.bias / block.num_heads
    return torch.baddbmm(
        image.expand(len(tokens), -1, -1), weights.flatten(1, 2).mT, told.flatten(1, 2)
    )


def _heads(block: Any, projected: torch.Tensor) -> torch.Tensor:
    """(p, t, h*d) as (p, t, h, d)."""
    parted: torch.Tensor = projected.unflatten(2, (block.num_heads, -1))
    return parted


def _weight(block: Any, projection: Any) -> torch.Tensor:
    """The weight of a projection to heads, as (h, d, c)."""
    weight: torch.Tensor = projection.weight
    return weight.view(block.num_heads, -1, weight.shape[1])


def _scale(block: Any) -> float:
    return float((block.internal_dim // block.num_heads) ** -0.5)
