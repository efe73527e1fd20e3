"""Adapters of low rank on the trunk's attention (LoRA), through `peft`."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import torch

from vision.finetune.errors import MissingExtraError

_ATTENTION = r"blocks\.\d+\.attn\.(qkv|proj)"


def add_adapters(model: Any, rank: int, alpha: int | None, seed: int) -> None:
    """Put adapters on the projections of all attention in the trunk; at first they change nothing.

    Args:
        model: sam2's `SAM2Base`; it is changed.
        rank: Of the adapters.
        alpha: They count alpha / rank; None for twice the rank.
        seed: Of their initial values.

    Raises:
        MissingExtraError: `peft` is not installed.
    """
    if find_spec("peft") is None:
        raise MissingExtraError("peft", "lora", "model.lora_rank")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its optional companions
        from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(seed)
    settings = LoraConfig(
        r=rank, lora_alpha=alpha or 2 * rank, target_modules=_ATTENTION, lora_dropout=0.0
    )
    inject_adapter_in_model(settings, model.image_encoder.trunk)


def merged_state(model: Any) -> dict[str, torch.Tensor]:
    """The model's weights with its adapters, if any, added in, under sam2's own names.

    Args:
        model: sam2's `SAM2Base`; its adapters are merged.
    """
    for module in model.modules():
        if hasattr(module, "lora_A") and hasattr(module, "merge"):
            module.merge()
    return {
        name.replace(".base_layer.", "."): value.detach()
        for name, value in model.state_dict().items()
        if ".lora_" not in name
    }
