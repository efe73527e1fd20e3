"""SAM 2, through the `sam2` package: configurations, weights, automatic masks and prompts.

Importing this package does not import torch; `load_segmenter` and `load_prompted` do.
"""

from typing import TYPE_CHECKING

from vision.devices import chosen_device
from vision.models import resolve_model
from vision.sam2.parameters import PRESETS, GeneratorParams, Precision, params_id, preset
from vision.segmenter import Mask, Segmenter

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

    from vision.sam2.generator import AutomaticMaskGenerator
    from vision.sam2.prompted import PromptedSam2

__all__ = [
    "PRESETS",
    "GeneratorParams",
    "Mask",
    "Precision",
    "Segmenter",
    "load_prompted",
    "load_segmenter",
    "params_id",
    "preset",
]


def load_segmenter(
    reference: str,
    params: str | GeneratorParams = "sam2",
    device: str = "auto",
    image_size: int | None = None,
    compiled: bool = False,
) -> "AutomaticMaskGenerator":
    """Load the model a reference names and make a mask generator of it.

    Args:
        reference: `demo`, `file:PATH` or `hub:org/name`, as `vision.models.resolve_model` reads it.
        params: The name of a preset, or parameters of one's own.
        device: `cpu`, `cuda`, ...; `auto` takes an accelerator if there is one.
        image_size: Side in pixels of the square the model looks at; None takes the model's own.
        compiled: Compile the image encoder, which takes a minute or more on the first image of a
            machine, and seconds when it has done so before.

    Raises:
        ModelReferenceError: If the reference names no model, or the model is not there.
        WeightsFileError: If its weights are damaged or of no model known here.
        ValueError: If there is no such preset.
    """
    # Torch takes seconds to import, and who only reads parameters does not need it.
    from vision.sam2.compiling import compile_encoder
    from vision.sam2.generator import AutomaticMaskGenerator

    chosen = preset(params) if isinstance(params, str) else params
    model, model_id = _load(reference, device, image_size)
    if compiled:
        compile_encoder(model)
    return AutomaticMaskGenerator(model, chosen, model_id)


def load_prompted(
    reference: str,
    precision: Precision = "exact",
    device: str = "auto",
    image_size: int | None = None,
) -> "PromptedSam2":
    """Load the model a reference names, to be asked by clicks, boxes and masks.

    Args:
        reference: `demo`, `file:PATH` or `hub:org/name`, as `vision.models.resolve_model` reads it.
        precision: `exact` computes with 32 bits, `fast` with 16.
        device: `cpu`, `cuda`, ...; `auto` takes an accelerator if there is one.
        image_size: Side in pixels of the square the model looks at; None takes the model's own.

    Raises:
        ModelReferenceError: If the reference names no model, or the model is not there.
        WeightsFileError: If its weights are damaged or of no model known here.
    """
    from vision.sam2.prompted import PromptedSam2

    model, model_id = _load(reference, device, image_size)
    return PromptedSam2(model, model_id, fast=precision == "fast")


def _load(reference: str, device: str, image_size: int | None) -> "tuple[SAM2Base, str]":
    """The model and its id."""
    from vision.sam2.config import load_model

    source = resolve_model(reference)
    return load_model(source.path, image_size, chosen_device(device)), source.model_id
