"""Weights files of SAM 2: read without running anything in them, and recognised by their shapes."""

import re
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open

DEMO_CONFIG = Path(__file__).parent / "configs" / "demo.yaml"

Tensors = dict[str, torch.Tensor]

_PATCH_EMBEDDING = "image_encoder.trunk.patch_embed.proj.weight"
_BLOCK = re.compile(r"image_encoder\.trunk\.blocks\.(\d+)\.")
_ONLY_IN_2_1 = "no_obj_embed_spatial"

# The width of the encoder's first stage and the number of its blocks tell the models apart.
_DEMO_SHAPE = (32, 7)
_RELEASED_SHAPES = {(96, 12): "t", (96, 16): "s", (112, 24): "b+", (144, 48): "l"}


class WeightsFileError(ValueError):
    """A file that holds no weights of a SAM 2 model.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(f"{path.name}: {reason}")


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


def read_image_size(path: Path) -> int | None:
    """Return the `image_size` a safetensors file says in its metadata, if it does.

    Args:
        path: A weights file of any kind.
    """
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, framework="pt") as file:
        said = (file.metadata() or {}).get("image_size", "")
    return int(said) if said.isascii() and said.isdigit() else None


def guess_config(path: Path, tensors: Tensors) -> str:
    """Return the configuration weights belong to, judged by the shape of their image encoder.

    Weights without the modules for video are taken for 2.0: for images 2.1 is the same.

    Args:
        path: Where the weights come from, for messages.
        tensors: The weights.

    Returns:
        A configuration as `vision.sam2.config.build_model` takes it.

    Raises:
        WeightsFileError: If they are of no model this package knows.
    """
    blocks = {int(match[1]) for name in tensors if (match := _BLOCK.match(name))}
    if _PATCH_EMBEDDING not in tensors or not blocks:
        raise WeightsFileError(path, "holds no SAM 2 image encoder")
    shape = (tensors[_PATCH_EMBEDDING].shape[0], len(blocks))
    if shape == _DEMO_SHAPE:
        return str(DEMO_CONFIG)
    if shape not in _RELEASED_SHAPES:
        raise WeightsFileError(
            path, f"holds an image encoder of unknown width and depth {shape[0]}, {shape[1]}"
        )
    version = "2.1" if _ONLY_IN_2_1 in tensors else "2"
    return f"configs/sam{version}/sam{version}_hiera_{_RELEASED_SHAPES[shape]}.yaml"
