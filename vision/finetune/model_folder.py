"""What a run gives: a model's folder that this project and the `sam2` package load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from vision.finetune.base_model import BaseModel, config_text
from vision.finetune.config import TrainConfig
from vision.finetune.lora import merged_state
from vision.finetune.tensor_files import write_file

WEIGHTS, SAM2_CONFIG, SETTINGS, MANIFEST = (
    "model.safetensors", "sam2.yaml", "config.json", "manifest.json",
)  # fmt: skip

_PACKAGES = ("torch", "sam2", "accelerate")


def write_model(
    folder: Path, base: BaseModel, config: TrainConfig, facts: Mapping[str, Any]
) -> None:
    """Write a model; its manifest, with the SHA-256 of each file, comes last.

    Args:
        folder: Where to.
        base: The model, with the weights that it has learnt.
        config: The settings, without `auto`.
        facts: What the manifest tells of the training and the data.

    Raises:
        NoSpaceError: The disk is full.
    """
    (folder / MANIFEST).unlink(missing_ok=True)
    state = {name: value.cpu().contiguous() for name, value in merged_state(base.model).items()}
    files = {
        # One entry only: the order of several would differ from one process to the next.
        WEIGHTS: save(state, {"image_size": str(base.model.image_size)}),
        SAM2_CONFIG: config_text(base).encode(),
        SETTINGS: (json.dumps(config.model_dump(mode="json"), indent=2) + "\n").encode(),
    }
    for name, data in files.items():
        write_file(folder / name, data)
    listed = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in files.items()
    }
    manifest = {
        "files": listed,
        "base_model": base.model_id,
        **facts,
        "versions": {package: version(package) for package in _PACKAGES},
    }
    write_file(folder / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished model; None if there is none, or its weights are not whole."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        data = (folder / WEIGHTS).read_bytes()
    except (OSError, ValueError):
        return None
    whole = hashlib.sha256(data).hexdigest() == manifest["files"][WEIGHTS]["sha256"]
    return manifest if whole else None


def count_parameters(parameters: Mapping[str, torch.nn.Parameter]) -> int:
    """How many numbers learn."""
    return sum(parameter.numel() for parameter in parameters.values())
