"""Weights files of SAM 2: read without running anything in them, and recognised by their shapes."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError, safe_open

from vision.checkpoints import ConversionError, convert_weights
from vision.sam2.architecture import DEMO_CONFIG, WeightsFileError, config_of, read_image_size

__all__ = [
    "DEMO_CONFIG",
    "Tensors",
    "WeightsFileError",
    "WeightsMismatchError",
    "guess_config",
    "read_image_size",
    "read_tensors",
]

Tensors = dict[str, torch.Tensor]


class WeightsMismatchError(WeightsFileError):
    """The weights do not belong to the model's configuration.

    Attributes:
        missing: Parameters of the model the file lacks.
        unexpected: Tensors of the file the model has no place for, or of another shape.
    """

    def __init__(self, path: Path, missing: list[str], unexpected: list[str]) -> None:
        self.missing = missing
        self.unexpected = unexpected
        parts = [
            f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for kind, names in (("missing", missing), ("unexpected", unexpected))
            if names
        ]
        super().__init__(path, f"does not fit the model: {'; '.join(parts)}")


def read_tensors(path: Path) -> Tensors:
    """Read a safetensors file, or a checkpoint as `sam2` publishes and trains them (`.pt`).

    A checkpoint is read in a process of its own each time: `segmill models pull file:PATH` makes
    safetensors of it once.

    Args:
        path: Tensors bear the names of `SAM2Base.state_dict()`; in a checkpoint they may stand
            under the key `model`.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightsFileError: If it is neither, holds anything but tensors, or a number in them is not
            finite.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    tensors = _read(path)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise WeightsFileError(path, f"{name} holds numbers that are not finite")
    return tensors


def _read(path: Path) -> Tensors:
    if path.suffix != ".safetensors":
        with TemporaryDirectory(prefix="segmill-weights-") as folder:
            converted = Path(folder) / "model.safetensors"
            try:
                convert_weights(path, converted)
            except ConversionError as error:
                raise WeightsFileError(path, error.reason) from None
            return _read(converted)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
        raise WeightsFileError(path, f"cannot be read as weights ({error})") from error


def guess_config(path: Path, tensors: Tensors) -> str:
    """Return the configuration weights belong to; see `vision.sam2.architecture.config_of`."""
    return config_of(path, {name: tensor.shape for name, tensor in tensors.items()})
