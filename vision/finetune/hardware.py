"""Fill in what a run leaves to the machine, from the memory that is free.

The tiers are estimates for hiera_base_plus at 1,024 px and have not been measured on accelerators:
activations of the encoder take most in the lower tiers, those of the masks in the upper ones.
"""

import os
from dataclasses import dataclass
from typing import Any

from vision.finetune.config import PARTS, Auto, Part, TrainConfig
from vision.finetune.errors import ConfigError


@dataclass(frozen=True)
class Hardware:
    """What training can use.

    Attributes:
        device: `cpu` or `cuda`.
        free_gb: Memory of the device that nobody uses, in GB.
        cores: Processor cores.
        fast_bf16: Whether the device is fast in bfloat16.
    """

    device: str
    free_gb: float
    cores: int
    fast_bf16: bool


@dataclass(frozen=True)
class Preset:
    """What is chosen from so much memory on.

    Attributes:
        name: For the log.
        least_gb: The memory.
        batch_images: Images at once.
        accumulate: Batches a step.
        masks_per_image: Masks of each.
        mask_stride_px: Where masks are compared.
        train: What is trained.
    """

    name: str
    least_gb: float
    batch_images: int
    accumulate: int
    masks_per_image: int
    mask_stride_px: int
    train: tuple[Part, ...]


_WITHOUT_TRUNK: tuple[Part, ...] = ("decoder", "prompt_encoder", "neck")

# A tier begins somewhat below its name: a driver and a desktop take their part.
GPU_PRESETS = (
    Preset("80 GB", 60.0, 8, 1, 32, 1, PARTS),
    Preset("24 GB", 20.0, 2, 4, 16, 1, PARTS),
    Preset("16 GB", 13.0, 1, 8, 12, 1, PARTS),
    Preset("8 GB", 0.0, 1, 8, 6, 2, _WITHOUT_TRUNK),
)
CPU_PRESET = Preset("CPU", 0.0, 4, 1, 8, 2, PARTS)


def this_machine(device: str = "auto") -> Hardware:
    """Look at the machine.

    Args:
        device: `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: It has no accelerator, but one is asked for.
    """
    import torch

    cores = len(os.sched_getaffinity(0))
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("settings", ["device: found cuda, but this machine offers none"])
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        free, _ = torch.cuda.mem_get_info()
        return Hardware("cuda", free / 1e9, cores, torch.cuda.is_bf16_supported(False))
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Hardware("cpu", free / 1e9, cores, False)


def choose_preset(hardware: Hardware) -> Preset:
    """The preset for a machine."""
    if hardware.device == "cpu":
        return CPU_PRESET
    return next(preset for preset in GPU_PRESETS if hardware.free_gb >= preset.least_gb)


def known(value: Auto | int) -> int:
    """A setting that has been filled in."""
    if value == "auto":
        raise ValueError("expected a setting that `fill_in` has filled in, but found auto")
    return value


def fill_in(config: TrainConfig, hardware: Hardware, image_size: int) -> TrainConfig:
    """Replace each `auto` by a value.

    Args:
        config: The settings.
        hardware: The machine.
        image_size: The model's own, in pixels.
    """
    preset = choose_preset(hardware)
    # With adapters the trunk's weights stay, whatever the memory.
    train = preset.train if not config.model.lora_rank else _WITHOUT_TRUNK
    workers = 0 if hardware.device == "cpu" else min(8, max(1, hardware.cores - 1))
    chosen: dict[str, dict[str, Any]] = {
        "model": {"train": train},
        "data": {
            "image_size": image_size,
            "batch_images": preset.batch_images,
            "accumulate": preset.accumulate,
            "masks_per_image": preset.masks_per_image,
            "mask_stride_px": preset.mask_stride_px,
            "workers": workers,
        },
    }
    sections: dict[str, Any] = {}
    for name, values in chosen.items():
        section = getattr(config, name)
        asked = {key: value for key, value in values.items() if getattr(section, key) == "auto"}
        sections[name] = section.model_copy(update=asked)
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if hardware.fast_bf16 else "fp32"
    return config.model_copy(update=sections | {"precision": precision, "device": hardware.device})
