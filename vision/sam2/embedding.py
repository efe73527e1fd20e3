"""The first half of the model: an image becomes an embedding, once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch.nn.functional import interpolate

# The statistics of ImageNet, which every SAM 2 was trained with.
MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageEmbedding:
    """What the decoder needs to know of an image.

    Attributes:
        height_px: Height of the image it was made of.
        width_px: Width of the image it was made of.
        features: Shape (1, channels, side, side), stride 16; float32, float16 or bfloat16.
        positions: Positional encoding in the shape of `features`, float32.
        high_res_features: Features at stride 4 and 8; empty where the model uses none.
    """

    height_px: int
    width_px: int
    features: torch.Tensor
    positions: torch.Tensor
    high_res_features: list[torch.Tensor]


def model_input(rgb: npt.NDArray[np.uint8], image_size: int, device: torch.device) -> torch.Tensor:
    """Squash an image to the model's square and normalise it, as `SAM2Transforms` does.

    Args:
        rgb: Shape (height, width, 3), 0 to 255.
        image_size: Side of the square in pixels.
        device: Where the work is done.

    Returns:
        Shape (1, 3, image_size, image_size), float32.
    """
    # Torch warns of arrays that must not be written to, such as those of decoded images.
    image = torch.from_numpy(np.require(rgb, requirements=["C", "W"])).to(device)
    # A channel at a time: all of a large image's as float32 would take twelve times its bytes.
    channels = [
        interpolate(
            image[None, None, ..., channel].float().div_(255),
            (image_size, image_size),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        for channel in range(3)
    ]
    square = torch.cat(channels, dim=1)
    mean = torch.tensor(MEAN_RGB, device=device).view(1, 3, 1, 1)
    std = torch.tensor(STD_RGB, device=device).view(1, 3, 1, 1)
    return (square - mean) / std


def embed_image(model: SAM2Base, rgb: npt.NDArray[np.uint8], fast: bool = False) -> ImageEmbedding:
    """Run the image encoder on one image; see `embed_images`."""
    return embed_images(model, [rgb], fast)[0]


def embed_images(
    model: SAM2Base, images: Sequence[npt.NDArray[np.uint8]], fast: bool = False
) -> list[ImageEmbedding]:
    """Run the image encoder on all images at once; they need not be of one size.

    `SAM2ImagePredictor` does the same for images of 1024 pixels only.

    Args:
        model: A model in evaluation mode.
        images: At least one, shape (height, width, 3), 0 to 255.
        fast: Compute with 16 bits, and give features of that type; 32 bits where that overflows.
    """
    squares = torch.cat([model_input(rgb, model.image_size, model.device) for rgb in images])
    dtype = short_float(model.device) if fast else torch.float32
    with torch.autocast(model.device.type, dtype, enabled=fast):
        backbone = model.forward_image(squares)
    _, levels, _, sizes = model._prepare_backbone_features(backbone)
    if model.directly_add_no_mem_embed:
        levels[-1] = levels[-1] + model.no_mem_embed
    # Each level has the shape (pixels, images, channels).
    maps = [
        level.permute(1, 2, 0).unflatten(2, tuple(size)).to(dtype)
        for level, size in zip(levels, sizes, strict=True)
    ]
    positions = model.sam_prompt_encoder.get_dense_pe()
    embeddings = []
    for index, rgb in enumerate(images):
        own = [level[index : index + 1] for level in maps]
        if fast and not all(bool(level.isfinite().all()) for level in own):
            _log.warning("%s overflows in the image encoder; this image is done in float32", dtype)
            embeddings.append(embed_image(model, rgb))
            continue
        embeddings.append(ImageEmbedding(rgb.shape[0], rgb.shape[1], own[-1], positions, own[:-1]))
    return embeddings


def short_float(device: torch.device) -> torch.dtype:
    """The 16-bit type to compute with: the more exact one, or the one that a processor is fast in.

    float16 has three more bits for the value and far fewer for its size; few processors compute
    with it. docs/decisions/0006 has the numbers.
    """
    return torch.bfloat16 if device.type == "cpu" else torch.float16
