"""A checkpoint to safetensors, in a process of its own: nothing in the file gets to run here.

python -m tasks.convert_weights CHECKPOINT SAFETENSORS
"""

import subprocess
import sys
from pathlib import Path

_LONGEST_S = 900


class ConversionError(ValueError):
    """A checkpoint that holds more than tensors, or none."""


def convert_weights(checkpoint: Path, target: Path) -> None:
    """Write the tensors of a checkpoint as safetensors.

    Args:
        checkpoint: A pickle, as torch saves it, or safetensors.
        target: What is written.

    Raises:
        ConversionError: It holds anything but tensors, is damaged, or has numbers not finite.
    """
    # -I: neither the environment nor the folder one is in decides what is imported.
    command = [sys.executable, "-I", "-m", "tasks.convert_weights", str(checkpoint), str(target)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConversionError(f"{checkpoint.name}: took longer than {_LONGEST_S} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["the process was killed"])[-1]
        raise ConversionError(last)


def _convert(checkpoint: Path, target: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    from vision.sam2.weights import WeightsFileError, read_tensors

    try:
        tensors = read_tensors(checkpoint)
    except (WeightsFileError, FileNotFoundError) as error:
        sys.exit(str(error))
    metadata = None
    if checkpoint.suffix == ".safetensors":
        with safe_open(checkpoint, framework="pt") as file:
            metadata = file.metadata()  # such as the image size the model was trained at
    # Tensors may share their memory, which safetensors does not store.
    own = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    save_file(own, target, metadata)


if __name__ == "__main__":
    _convert(Path(sys.argv[1]), Path(sys.argv[2]))
