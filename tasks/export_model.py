"""Weights in the forms that other programs load: a checkpoint of `sam2`, a folder of transformers.

Importing this imports no torch; the functions do.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from tasks.exports.folder import OutputFolderError, whole_folder
from tasks.live_model import local_reference, resolve_reference
from vision.models import resolve_model

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

Form = Literal["sam2-pt", "hf"]


class TransformersMissingError(RuntimeError):
    """The package `transformers` is not there, or too old to know SAM 2."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"--format hf needs transformers 5.3 or newer ({reason}): "
            "pip install 'segmill[panoptic]'"
        )


@dataclass(frozen=True)
class ExportedModel:
    """What was written.

    Attributes:
        model_id: The model.
        output: The file or folder.
        form: Its form.
        config: The configuration that `sam2.build_sam.build_sam2` takes with it.
        image_size_px: Side of the square that the model looks at.
        usage: A line of Python that loads it.
    """

    model_id: str
    output: str
    form: Form
    config: str
    image_size_px: int
    usage: str


def export_model(root: str, reference: str, form: Form, output: Path) -> ExportedModel:
    """Write a segmenter for other programs; what is written appears whole or not at all.

    Args:
        root: The data root, for `promoted` and `model:ID`.
        reference: The model.
        form: `sam2-pt`, a checkpoint that `build_sam2(config, ckpt_path)` loads; `hf`, a folder
            that `transformers.Sam2Model.from_pretrained` loads, without what only tracks videos.
        output: The file or folder, which is not there yet.

    Raises:
        ModelReferenceError: If the reference names no model.
        WeightsFileError: If its weights are damaged or of no model known here.
        OutputFolderError: If there is something at `output`.
        TransformersMissingError: If `hf` is asked for where transformers cannot be imported.
    """
    if output.exists() or output.is_symlink():
        raise OutputFolderError(output, "is there already; choose another name")
    found = resolve_reference(reference, root)
    weights = resolve_model(local_reference(found.reference, root)).path
    from vision.sam2.config import config_name, image_size_overrides, load_model
    from vision.sam2.weights import guess_config, read_image_size

    model = load_model(weights)
    config = config_name(guess_config(weights, model.state_dict()))
    if form == "hf":
        _write_transformers(model, output)
        usage = f"transformers.Sam2Model.from_pretrained({str(output)!r})"
    else:
        _write_checkpoint(model, output)
        own = read_image_size(weights)  # which is not in the checkpoint any more
        size = f", hydra_overrides_extra={image_size_overrides(own)!r}" if own else ""
        # Its default is "cuda", which not every machine has.
        usage = f"sam2.build_sam.build_sam2({config!r}, {str(output)!r}, device='cpu'{size})"
    return ExportedModel(found.model_id, str(output), form, config, model.image_size, usage)


def _write_checkpoint(model: "SAM2Base", output: Path) -> None:
    import torch

    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.{uuid4().hex[:12]}.tmp")
    try:
        torch.save({"model": model.state_dict()}, temporary)
        temporary.rename(output)
    finally:
        temporary.unlink(missing_ok=True)


def _write_transformers(model: "SAM2Base", output: Path) -> None:
    try:
        from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor
    except ImportError as error:
        raise TransformersMissingError(str(error)) from None
    from vision.sam2.transformers_layout import transformers_config, transformers_tensors

    other = Sam2Model(Sam2Config(**transformers_config(model)))
    other.load_state_dict(transformers_tensors(model), strict=True)
    side = model.image_size
    processor = Sam2ImageProcessor(
        size={"height": side, "width": side},
        mask_size={"height": side // 4, "width": side // 4},
    )
    with whole_folder(output, overwrite=False) as unfinished:
        other.save_pretrained(unfinished)
        Sam2Processor(image_processor=processor, target_size=side).save_pretrained(unfinished)
