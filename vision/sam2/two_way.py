"""SAM 2's two-way transformer for many points of one image, with less to compute.

The sums are those of `sam2.modeling.sam.transformer.TwoWayTransformer`, in another order:

- All points start from the same image tokens, so what the first block computes of these alone is
  computed once an image, not once a point.
- A point has few tokens and the image many, and `(image W) token = image (W token)`. So the few
  tokens are projected into the image's space, head by head, and the image is projected never.

Shapes: p points of t tokens, n image tokens, c channels, h heads of d channels. Tokens are float32;
the image may have 16 bits, and everything of its size then does.
"""

from typing import Any

import torch
from torch.nn.functional import layer_norm


class SharedImage:
    """An image that the tokens of many points look at, each for itself."""

    def __init__(self, transformer: Any, image: torch.Tensor, positions: torch.Tensor) -> None:
        """Prepare what is the same for all points.

        Args:
            transformer: sam2's.
            image: Shape (1, n, c), float32 or of 16 bits.
            positions: Shape (1, n, c).
        """
        self._transformer = transformer
        self._image = image
        self._positions = positions.to(image.dtype)
        exact = image.float()
        placed = exact + positions
        first = transformer.layers[0]
        looking, telling = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        self._key = _heads_first(looking, looking.k_proj(placed))
        self._value = _heads_first(looking, looking.v_proj(exact))
        self._query = _heads_first(telling, telling.q_proj(placed))

    def attend(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Let the tokens of each point and the image see each other.

        Args:
            tokens: Shape (p, t, c), float32.

        Returns:
            Tokens, and the image as each point sees it, shape (p, n, c).
        """
        prompts = tokens
        first, *others = self._transformer.layers
        tokens = first.norm1(first.self_attn(q=tokens, k=tokens, v=tokens))
        seen = self._look(first.cross_attn_token_to_image, tokens + prompts)
        tokens = first.norm2(tokens + seen)
        tokens = first.norm3(tokens + first.mlp(tokens))
        weights = self._weights(first.cross_attn_image_to_token, tokens + prompts)
        image = _told(first, weights, tokens, self._image)
        return _attend(self._transformer, others, tokens, prompts, image, self._positions)

    def _look(self, block: Any, asking: torch.Tensor) -> torch.Tensor:
        """What tokens (p, t, c) see in the image."""
        query = _heads(block, block.q_proj(asking) * _scale(block)).permute(2, 0, 1, 3)
        scores = torch.bmm(query.flatten(1, 2), self._key.mT)
        seen = torch.bmm(scores.softmax(-1), self._value).unflatten(1, query.shape[1:3])
        result: torch.Tensor = block.out_proj(seen.permute(1, 2, 0, 3).flatten(2))
        return result

    def _weights(self, block: Any, asking: torch.Tensor) -> torch.Tensor:
        """How much each token counts in each place of the image: shape (p, h, t, n)."""
        key = _heads(block, block.k_proj(asking) * _scale(block)).permute(2, 0, 1, 3)
        scores = torch.bmm(key.flatten(1, 2), self._query.mT)
        weights: torch.Tensor = scores.unflatten(1, key.shape[1:3]).softmax(2)
        return weights.transpose(0, 1)


def attend_apart(
    transformer: Any, tokens: torch.Tensor, image: torch.Tensor, positions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Let tokens and images see each other where each point has an image of its own.

    Args:
        transformer: sam2's.
        tokens: Shape (p, t, c), float32.
        image: Shape (p, n, c), float32 or of 16 bits.
        positions: Shape (1, n, c).

    Returns:
        Tokens, and the images, in the same shapes.
    """
    first, *others = transformer.layers
    positions = positions.to(image.dtype)
    asked = first.norm1(first.self_attn(q=tokens, k=tokens, v=tokens))
    asked, image = _meet(first, asked, tokens, image, positions)
    return _attend(transformer, others, asked, tokens, image, positions)


def _attend(
    transformer: Any,
    layers: list[Any],
    tokens: torch.Tensor,
    prompts: torch.Tensor,
    image: torch.Tensor,
    positions: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What follows the first layer."""
    for layer in layers:
        asking = tokens + prompts
        tokens = layer.norm1(tokens + layer.self_attn(q=asking, k=asking, v=tokens))
        tokens, image = _meet(layer, tokens, prompts, image, positions)
    last = transformer.final_attn_token_to_image
    seen = _look(last, tokens + prompts, image + positions, image)
    return transformer.norm_final_attn(tokens + seen), image


def _meet(
    layer: Any,
    tokens: torch.Tensor,
    prompts: torch.Tensor,
    image: torch.Tensor,
    positions: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens look at the image, and tell it what they know."""
    placed = image + positions
    seen = _look(layer.cross_attn_token_to_image, tokens + prompts, placed, image)
    tokens = layer.norm2(tokens + seen)
    tokens = layer.norm3(tokens + layer.mlp(tokens))
    weights = _weights(layer.cross_attn_image_to_token, tokens + prompts, placed)
    return tokens, _told(layer, weights, tokens, image)


def _look(
    block: Any, asking: torch.Tensor, placed: torch.Tensor, image: torch.Tensor
) -> torch.Tensor:
    """What tokens (p, t, c) see in an image (p, n, c) of their own."""
    query = _heads(block, block.q_proj(asking) * _scale(block))
    # The bias of the keys raises all scores of a token alike, which the softmax undoes.
    query = torch.einsum("pthd,hdc->phtc", query, _weight(block, block.k_proj))
    scores = torch.bmm(query.flatten(1, 2).to(image.dtype), placed.mT)
    seen = torch.bmm(scores.softmax(-1), image).float().unflatten(1, query.shape[1:3])
    seen = torch.einsum("phtc,hdc->pthd", seen, _weight(block, block.v_proj)).flatten(2)
    result: torch.Tensor = block.out_proj(seen + block.v_proj.bias)
    return result


def _weights(block: Any, asking: torch.Tensor, placed: torch.Tensor) -> torch.Tensor:
    """How much each token counts in each place of an image (p, n, c): shape (p, h, t, n)."""
    key = _heads(block, block.k_proj(asking) * _scale(block))
    bias = torch.einsum("pthd,hd->pht", key, block.q_proj.bias.view(block.num_heads, -1))
    key = torch.einsum("pthd,hdc->phtc", key, _weight(block, block.q_proj)).to(placed.dtype)
    scores = torch.baddbmm(
        bias.flatten(1)[:, :, None].to(placed.dtype), key.flatten(1, 2), placed.mT
    )
    weights: torch.Tensor = scores.unflatten(1, key.shape[1:3]).softmax(2)
    return weights


def _told(
    layer: Any, weights: torch.Tensor, tokens: torch.Tensor, image: torch.Tensor
) -> torch.Tensor:
    """The image (p or 1, n, c) after the tokens have told it what they know: (p, n, c)."""
    block = layer.cross_attn_image_to_token
    value = _heads(block, block.v_proj(tokens))
    out = block.out_proj.weight.view(-1, block.num_heads, value.shape[-1])
    told = torch.einsum("pthd,chd->phtc", value, out)
    # The weights of a head add up to 1, so each may bring its part of the bias.
    told = (told + block.out_proj.bias / block.num_heads).flatten(1, 2).to(image.dtype)
    weights = weights.flatten(1, 2).to(image.dtype)
    image = torch.baddbmm(image.expand(len(tokens), -1, -1), weights.mT, told)
    norm = layer.norm4
    weight, bias = norm.weight.to(image.dtype), norm.bias.to(image.dtype)
    return layer_norm(image, norm.normalized_shape, weight, bias, norm.eps)


def _heads(block: Any, projected: torch.Tensor) -> torch.Tensor:
    """(p, t, h*d) as (p, t, h, d)."""
    parted: torch.Tensor = projected.unflatten(2, (block.num_heads, -1))
    return parted


def _heads_first(block: Any, projected: torch.Tensor) -> torch.Tensor:
    """(1, n, h*d) as (h, n, d)."""
    return _heads(block, projected)[0].transpose(0, 1).contiguous()


def _weight(block: Any, projection: Any) -> torch.Tensor:
    """The weight of a projection to heads, as (h, d, c)."""
    weight: torch.Tensor = projection.weight
    return weight.view(block.num_heads, -1, weight.shape[1])


def _scale(block: Any) -> float:
    return float((block.internal_dim // block.num_heads) ** -0.5)
