"""The model that training begins with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sam2
import torch
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base

from vision.models import resolve_model
from vision.sam2.config import BACKBONE_STRIDE, load_model
from vision.sam2.weights import guess_config, read_tensors


@dataclass(frozen=True)
class BaseModel:
    """A model to train, with what is needed to build it again.

    Attributes:
        model: sam2's `SAM2Base`; training changes it.
        config: Its configuration: a name in the `sam2` package or the path of a YAML file.
        model_id: Names its weights.
    """

    model: SAM2Base
    config: str
    model_id: str


def load_base_model(reference: str, image_size: int | None, seed: int) -> BaseModel:
    """Load the model that a reference names.

    Args:
        reference: As `vision.models.resolve_model` reads it.
        image_size: Side in pixels of the square the model shall look at; None for its own.
        seed: Of the weights that only video needs, where the file lacks them.

    Raises:
        ModelReferenceError: The reference names no model, or the model is not there.
        WeightsFileError: Its weights are damaged or of no model known here.
    """
    source = resolve_model(reference)
    torch.manual_seed(seed)
    model = load_model(source.path, image_size)
    return BaseModel(model, guess_config(source.path, read_tensors(source.path)), source.model_id)


def config_text(base: BaseModel) -> str:
    """The configuration, with the image size in force, as a YAML file that `build_sam2` takes."""
    path = Path(base.config)
    if not path.is_file():
        path = Path(sam2.__file__).parent / base.config
    tree: Any = OmegaConf.load(path)
    tree.model.image_size = base.model.image_size
    side = base.model.image_size // BACKBONE_STRIDE
    layer = tree.model.memory_attention.layer
    layer.self_attention.feat_sizes = [side, side]
    layer.cross_attention.feat_sizes = [side, side]
    return "# @package _global_\n" + OmegaConf.to_yaml(tree)
