"""Build SAM 2 models of the `sam2` package, for any image size, and fill them with weights."""

from pathlib import Path

import torch
from sam2.build_sam import build_sam2
from sam2.modeling.sam2_base import SAM2Base

from vision.sam2.weights import (
    DEMO_CONFIG,
    Tensors,
    WeightsMismatchError,
    guess_config,
    read_image_size,
    read_tensors,
)

__all__ = ["DEMO_CONFIG", "build_model", "demo_model", "load_model", "load_weights"]

DEMO_IMAGE_SIZE = 512

BACKBONE_STRIDE = 16
# Every feature map down to the coarsest one (stride 32) must come out even.
IMAGE_SIZE_MULTIPLE = 32

# What only video tracking runs or reads, so that weights published for images may lack it.
VIDEO_PREFIXES = (
    "memory_attention.",
    "memory_encoder.",
    "maskmem_tpos_enc",
    "no_mem_pos_enc",
    "no_obj_embed_spatial",
    "no_obj_ptr",
    "mask_downsample.",
    "obj_ptr_proj.",
    "obj_ptr_tpos_proj.",
    "sam_mask_decoder.pred_obj_score_head.",
)


def build_model(
    config: str | Path,
    image_size: int | None = None,
    device: str | torch.device = "cpu",
) -> SAM2Base:
    """Build a SAM 2 model with fresh weights, in evaluation mode.

    Args:
        config: A configuration the `sam2` package ships (`configs/sam2.1/sam2.1_hiera_t.yaml`) or
            the path of another YAML file, whose first line is `# @package _global_`.
        image_size: Side in pixels of the square the model looks at, a multiple of 32;
            None keeps the configuration's own. The weights do not depend on it.
        device: Where the parameters live.

    Raises:
        ValueError: If `image_size` is not a positive multiple of 32.
    """
    model: SAM2Base = build_sam2(
        config_name(config),
        ckpt_path=None,
        device=str(device),
        mode="eval",
        hydra_overrides_extra=[] if image_size is None else image_size_overrides(image_size),
        apply_postprocessing=False,
    )
    return model


def config_name(config: str | Path) -> str:
    """What `sam2.build_sam.build_sam2` calls a configuration: its own, or a file."""
    path = Path(config)
    # Hydra takes "//" as "an absolute path, outside the package's own configurations".
    return f"/{path.resolve()}" if path.is_file() else str(config)


def image_size_overrides(image_size: int) -> list[str]:
    """What makes `build_sam2` build a model for images of another size: `hydra_overrides_extra`.

    Raises:
        ValueError: If `image_size` is not a positive multiple of 32.
    """
    if image_size <= 0 or image_size % IMAGE_SIZE_MULTIPLE:
        raise ValueError(
            f"image_size must be a positive multiple of {IMAGE_SIZE_MULTIPLE}, but got {image_size}"
        )
    side = image_size // BACKBONE_STRIDE
    layer = "model.memory_attention.layer"
    return [
        f"model.image_size={image_size}",
        f"{layer}.self_attention.feat_sizes=[{side},{side}]",
        f"{layer}.cross_attention.feat_sizes=[{side},{side}]",
    ]


def demo_model(image_size: int = DEMO_IMAGE_SIZE, device: str | torch.device = "cpu") -> SAM2Base:
    """Build the small demo model with fresh weights, in evaluation mode.

    Args:
        image_size: Side in pixels of the square the model looks at, a multiple of 32. The state
            dict is the same at every size, so a model may be trained at one and used at another.
        device: Where the parameters live.
    """
    return build_model(DEMO_CONFIG, image_size, device)


def load_weights(model: SAM2Base, path: Path, strict: bool = True) -> None:
    """Fill `model` with the tensors of a weights file.

    Args:
        model: A model whose configuration the weights belong to.
        path: A safetensors file or a checkpoint; its tensors bear the names of
            `model.state_dict()`.
        strict: If false, what only video tracking uses may be missing in the file; it keeps the
            values it has.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightsFileError: If the file cannot be read.
        WeightsMismatchError: If names or shapes differ.
    """
    _fill(model, read_tensors(path), path, strict)


def load_model(
    path: Path, image_size: int | None = None, device: str | torch.device = "cpu"
) -> SAM2Base:
    """Build the model a weights file belongs to and fill it, for work on images.

    Args:
        path: Weights of a released SAM 2 or 2.1 model of any size, or of the demo model.
        image_size: Side in pixels of the square the model looks at; None takes what the file says
            in its metadata, else the configuration's own.
        device: Where the parameters live.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightsFileError: If the file cannot be read, or is of no model known here.
        WeightsMismatchError: If names or shapes differ.
    """
    tensors = read_tensors(path)
    config = guess_config(path, tensors)
    model = build_model(config, image_size or read_image_size(path), "cpu")
    _fill(model, tensors, path, strict=False)
    return model.to(device)


def _fill(model: SAM2Base, tensors: Tensors, path: Path, strict: bool) -> None:
    own = model.state_dict()
    missing = sorted(
        name
        for name in own.keys() - tensors.keys()
        if strict or not name.startswith(VIDEO_PREFIXES)
    )
    unexpected = sorted(
        name for name, value in tensors.items() if name not in own or own[name].shape != value.shape
    )
    if missing or unexpected:
        raise WeightsMismatchError(path, missing, unexpected)
    model.load_state_dict(tensors, strict=False)
