"""SAM 2 in the layout of `transformers.Sam2Model`: the same weights under other names.

The names and fields are those of transformers' `models/sam2`, from version 5.3 on. What only video
tracking uses has no place there.
"""

import re
from itertools import pairwise
from typing import Any

import torch
from sam2.modeling.sam2_base import SAM2Base

from vision.sam2.config import VIDEO_PREFIXES
from vision.sam2.weights import Tensors

# Applied one after the other.
_NAMES = [
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.out_proj\.", ".o_proj."),
    # Perceptrons of two layers, and of three.
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    (r"(_head|_mlps\.\d)\.layers\.0\.", r"\1.proj_in."),
    (r"(_head|_mlps\.\d)\.layers\.1\.", r"\1.layers.0."),
    (r"(_head|_mlps\.\d)\.layers\.2\.", r"\1.proj_out."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
]
_FREQUENCIES = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_FREQUENCIES_THERE = (
    "prompt_encoder.shared_embedding.positional_embedding",
    "shared_image_embedding.positional_embedding",
)
_POINT = "sam_prompt_encoder.point_embeddings.{}.weight"
_POINTS_THERE = "prompt_encoder.point_embed.weight"
# Part of what tracking runs, but here also of the mask decoder.
_OBJECT_SCORE = "sam_mask_decoder.pred_obj_score_head."


def transformers_tensors(model: SAM2Base) -> Tensors:
    """The weights of a model as `transformers.Sam2Model.state_dict()` names them.

    Args:
        model: A SAM 2 model.
    """
    tensors = dict(model.state_dict())
    named: Tensors = {}
    frequencies = tensors.pop(_FREQUENCIES)
    for name in _FREQUENCIES_THERE:
        named[name] = frequencies.clone()
    points = [tensors.pop(_POINT.format(number)) for number in range(4)]
    named[_POINTS_THERE] = torch.cat(points)
    for name, tensor in tensors.items():
        if name.startswith(VIDEO_PREFIXES) and not name.startswith(_OBJECT_SCORE):
            continue
        for pattern, there in _NAMES:
            name = re.sub(pattern, there, name)
        named[name] = tensor.contiguous()
    return named


def transformers_config(model: SAM2Base) -> dict[str, Any]:
    """The arguments of `transformers.Sam2Config` for a model, as JSON values."""
    trunk, neck = model.image_encoder.trunk, model.image_encoder.neck
    ends = [-1, *trunk.stage_ends]
    first_blocks = [trunk.blocks[end + 1] for end in ends[:-1]]
    last_blocks = [trunk.blocks[end] for end in ends[1:]]
    side = model.image_size
    decoder = model.sam_mask_decoder
    return {
        "vision_config": {
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": first_blocks[0].dim,
                "num_attention_heads": first_blocks[0].attn.num_heads,
                "image_size": [side, side],
                "query_stride": list(trunk.q_stride),
                "window_positional_embedding_background_size": list(
                    trunk.window_pos_embed_bkg_spatial_size
                ),
                "num_query_pool_stages": len(trunk.q_pool_blocks),
                "blocks_per_stage": [last - first for first, last in pairwise(ends)],
                "embed_dim_per_stage": [block.dim_out for block in last_blocks],
                "num_attention_heads_per_stage": [block.attn.num_heads for block in last_blocks],
                "window_size_per_stage": list(trunk.window_spec),
                "global_attention_blocks": list(trunk.global_att_blocks),
            },
            "backbone_channel_list": list(neck.backbone_channel_list),
            "backbone_feature_sizes": [[side // stride] * 2 for stride in (4, 8, 16)],
            "fpn_hidden_size": neck.d_model,
            "fpn_top_down_levels": list(neck.fpn_top_down_levels),
        },
        "prompt_encoder_config": {"hidden_size": model.hidden_dim, "image_size": side},
        "mask_decoder_config": {
            "hidden_size": model.hidden_dim,
            "iou_head_hidden_dim": decoder.iou_prediction_head.layers[0].out_features,
            "mlp_dim": decoder.transformer.layers[0].mlp.layers[0].out_features,
        },
    }
