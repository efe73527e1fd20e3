"""Checkpoints, as torch pickles them, to safetensors: read in a process of their own.

    python vision/checkpoints.py CHECKPOINT SAFETENSORS

A pickle is a program. torch is asked to run nothing but what makes tensors; should that fail one
day, what runs is a process without secrets in its environment, whose result is plain tensors.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_LONGEST_S = 900
# What a process needs to start, and nothing that is secret.
_ENVIRONMENT = (
    "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "OMP_NUM_THREADS",
)  # fmt: skip


class ConversionError(ValueError):
    """A checkpoint that holds more than tensors, or none.

    Attributes:
        reason: What is wrong, without the name of the file.
    """

    def __init__(self, checkpoint: Path, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{checkpoint.name}: {reason}")


def convert_weights(checkpoint: Path, target: Path) -> None:
    """Write the tensors of a checkpoint as safetensors.

    Args:
        checkpoint: A pickle, as torch saves it, or safetensors. Its tensors may stand under the
            key `model`.
        target: What is written.

    Raises:
        ConversionError: It holds anything but tensors, is damaged, or has numbers not finite.
    """
    # -I: neither the environment nor the folder one is in decides what is imported.
    command = [sys.executable, "-I", __file__, str(checkpoint), str(target)]
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise ConversionError(checkpoint, f"took longer than {_LONGEST_S} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["the process was killed"])[-1]
        raise ConversionError(checkpoint, last)


def _convert(checkpoint: Path, target: Path) -> None:
    from safetensors.torch import save_file

    tensors, metadata = _read(checkpoint)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            sys.exit(f"{name} holds numbers that are not finite")
    # Tensors may share their memory, which safetensors does not store.
    own = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    save_file(own, target, metadata)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str] | None]:
    from pickle import UnpicklingError

    import torch
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                # Metadata such as the image size the model was trained at.
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        sys.exit("holds more than tensors, or is damaged")
    except (SafetensorError, RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
        sys.exit(f"cannot be read as weights ({' '.join(str(error).split())})")
    tensors = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not all(
        isinstance(value, torch.Tensor) for value in tensors.values()
    ):
        sys.exit("holds no state dict")
    return tensors, None


if __name__ == "__main__":
    _convert(Path(sys.argv[1]), Path(sys.argv[2]))
