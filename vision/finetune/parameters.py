"""Which parameters learn, and how fast: one rate for the decoder, falling ones down the trunk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from vision.finetune.config import OptimizerSection, Part

TRUNK = "image_encoder.trunk."
PREFIXES: dict[Part, str] = {
    "decoder": "sam_mask_decoder.",
    "prompt_encoder": "sam_prompt_encoder.",
    "neck": "image_encoder.neck.",
    "trunk": TRUNK,
}
ADAPTER = ".lora_"
"""Part of the names of parameters that LoRA adds."""

_ENCODER = "image_encoder."
_POSITIONS = "pos_embed"


def choose_parameters(
    model: Any, train: tuple[Part, ...], adapters: bool = False
) -> dict[str, torch.nn.Parameter]:
    """Let some parts of a model learn and hold the others still.

    Args:
        model: sam2's `SAM2Base`.
        train: The parts.
        adapters: Whether the adapters of the trunk learn as well.

    Returns:
        The parameters that learn, by name, in the model's order.
    """
    prefixes = tuple(PREFIXES[part] for part in train)
    chosen = {}
    for name, parameter in model.named_parameters():
        learns = name.startswith(prefixes) or (adapters and ADAPTER in name)
        parameter.requires_grad_(learns)
        if learns:
            chosen[name] = parameter
    return chosen


def parameter_groups(
    model: Any, parameters: Mapping[str, torch.nn.Parameter], settings: OptimizerSection
) -> list[dict[str, Any]]:
    """Sort parameters into groups of one rate and one weight decay, for AdamW.

    As in SAM 2's training, a block of the trunk learns by `layer_decay` slower than the next one,
    embeddings of positions at the full rate, and biases and norms do not decay.

    Args:
        model: sam2's `SAM2Base`.
        parameters: Those that learn, by name.
        settings: The rates.

    Returns:
        Groups with `params`, `names`, `lr`, `full_lr` and `weight_decay`.
    """
    norms = _norm_parameters(model)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in parameters.items():
        rate = learning_rate(model, name, settings)
        plain = parameter.ndim <= 1 or "bias" in name or name in norms
        decay = 0.0 if plain else settings.weight_decay
        group = groups.setdefault(
            (rate, decay),
            {"params": [], "names": [], "lr": rate, "full_lr": rate, "weight_decay": decay},
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def learning_rate(model: Any, name: str, settings: OptimizerSection) -> float:
    """The full rate of a parameter."""
    if not name.startswith(_ENCODER):
        return settings.lr
    if not name.startswith(TRUNK) or _POSITIONS in name:
        return settings.encoder_lr
    trunk = model.image_encoder.trunk
    above: int = trunk.get_num_layers() + 1 - trunk.get_layer_id(name.removeprefix(TRUNK))
    return float(settings.encoder_lr * settings.layer_decay**above)


def _norm_parameters(model: Any) -> set[str]:
    return {
        f"{place}.{name}"
        for place, module in model.named_modules()
        if "Norm" in type(module).__name__
        for name, _ in module.named_parameters(recurse=False)
    }


def rate_factor(progress: float, step: int, settings: OptimizerSection) -> float:
    """What learning rates are multiplied by.

    Args:
        progress: How much of the training is done, 0 to 1.
        step: Number of the step, from 0.
        settings: Warm-up, which counts steps, and the share that is left in the end.
    """
    warm = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    last = settings.final_lr_share
    return warm * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
