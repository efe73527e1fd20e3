"""Which SAM 2 weights belong to, judged by their names and shapes; torch is not needed."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

DEMO_CONFIG = Path(__file__).parent / "configs" / "demo.yaml"

Shapes = Mapping[str, Sequence[int]]

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


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of the tensors of a safetensors file by their names.

    Raises:
        WeightsFileError: If it is no safetensors file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsFileError(path, f"cannot be read as safetensors ({error})") from error


def read_image_size(path: Path) -> int | None:
    """Return the `image_size` a safetensors file says in its metadata, if it does.

    Args:
        path: A weights file of any kind.
    """
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, framework="numpy") as file:
        said = (file.metadata() or {}).get("image_size", "")
    return int(said) if said.isascii() and said.isdigit() else None


def config_of(path: Path, shapes: Shapes) -> str:
    """Return the configuration weights belong to, judged by the shape of their image encoder.

    Weights without the modules for video are taken for 2.0: for images 2.1 is the same.

    Args:
        path: Where the weights come from, for messages.
        shapes: Shapes of the tensors by name.

    Returns:
        A configuration as `vision.sam2.config.build_model` takes it.

    Raises:
        WeightsFileError: If they are of no model this package knows.
    """
    blocks = {int(match[1]) for name in shapes if (match := _BLOCK.match(name))}
    if _PATCH_EMBEDDING not in shapes or not blocks:
        raise WeightsFileError(path, "holds no SAM 2 image encoder")
    shape = (shapes[_PATCH_EMBEDDING][0], len(blocks))
    if shape == _DEMO_SHAPE:
        return str(DEMO_CONFIG)
    if shape not in _RELEASED_SHAPES:
        raise WeightsFileError(
            path, f"holds an image encoder of unknown width and depth {shape[0]}, {shape[1]}"
        )
    version = "2.1" if _ONLY_IN_2_1 in shapes else "2"
    return f"configs/sam{version}/sam{version}_hiera_{_RELEASED_SHAPES[shape]}.yaml"
