"""Compile the image encoder, and keep what was compiled for the next process."""

import os
from pathlib import Path

import torch
from sam2.modeling.sam2_base import SAM2Base


def compile_encoder(model: SAM2Base) -> None:
    """Replace the image encoder by one that is compiled when it is first used.

    The decoder stays as it is: the number of points that it draws masks of differs each time, and
    every other number would be compiled anew. `TORCHINDUCTOR_CACHE_DIR` says where compiled code
    is kept; torch's own default is a temporary folder.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(caches / "segmill" / "inductor"))
    model.image_encoder = torch.compile(model.image_encoder)
