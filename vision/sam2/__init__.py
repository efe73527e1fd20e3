"""SAM 2, through the `sam2` package: configurations, weights and the automatic mask generator.

Importing this package does not import torch; `load_segmenter` does.
"""

from typing import TYPE_CHECKING

from vision.devices import chosen_device
from vision.models import resolve_model
from vision.sam2.parameters import PRESETS, GeneratorParams, Precision, params_id, preset
from vision.segmenter import Mask, Segmenter

if TYPE_CHECKING:
    from vision.sam2.generator import AutomaticMaskGenerator

__all__ = [
    "PRESETS",
    "GeneratorParams",
    "Mask",
    "Precision",
    "Segmenter",
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
    from vision.sam2.config import load_model
    from vision.sam2.generator import AutomaticMaskGenerator

    chosen = preset(params) if isinstance(params, str) else params
    source = resolve_model(reference)
    model = load_model(source.path, image_size, chosen_device(device))
    if compiled:
        compile_encoder(model)
    return AutomaticMaskGenerator(model, chosen, source.model_id)
