"""Small weights files, and roots with models in them."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from storage.model_store import ModelStore, StoredModel


def weights_file(path: Path, number: float = 0.0, size: int = 8) -> Path:
    """Write a safetensors file that another number makes another one of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weight": np.full(size, number, np.float32)}, path)
    return path


def put_models(root: str, folder: Path, names: str = "abc") -> list[StoredModel]:
    """Register a model for each letter."""
    store = ModelStore(root)
    return [
        store.put(name, weights_file(folder / f"{name}.safetensors", ord(name)), {})[0]
        for name in names
    ]
