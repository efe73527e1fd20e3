"""Weights files of SAM 2: read without running anything in them, and recognised by their shapes."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open

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
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise WeightsFileError(path, "holds more than tensors, or is damaged") from error
    except (SafetensorError, RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
        raise WeightsFileError(path, f"cannot be read as weights ({error})") from error
    tensors = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not all(
        isinstance(value, torch.Tensor) for value in tensors.values()
    ):
        raise WeightsFileError(path, "holds no state dict")
    return tensors


def guess_config(path: Path, tensors: Tensors) -> str:
    """Return the configuration weights belong to; see `vision.sam2.architecture.config_of`."""
    return config_of(path, {name: tensor.shape for name, tensor in tensors.items()})
