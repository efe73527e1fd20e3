"""Held-back pages that a real model is measured on within seconds, and models to measure."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from examples.comics import write_drop
from vision.models import DEMO_FOLDER
from vision.sam2 import PRESETS

PAGES = 3
OBJECTS = 3


def write_held_back(folder: Path, pages: int = PAGES, split: str = "test") -> None:
    """Write small pages of a split, each with its few largest objects annotated."""
    write_drop(folder, range(9101, 9101 + pages), size_px=128)
    path = folder / "annotations.json"
    document = json.loads(path.read_text())
    kept = []
    for image in document["images"]:
        image["split"] = split
        of_image = [
            each
            for each in document["annotations"]
            if each["image_id"] == image["id"] and not each["iscrowd"]
        ]
        kept += sorted(of_image, key=lambda each: -each["area"])[:OBJECTS]
    document["annotations"] = kept
    path.write_text(json.dumps(document))


def write_model(path: Path, noise: float) -> Path:
    """The demo model with noise on its decoder's weights, relative to their spread; NaN if NaN."""
    tensors = load_file(DEMO_FOLDER / "sam2.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name in sorted(tensors):
        tensor = tensors[name]
        if name.startswith("sam_mask_decoder") and tensor.is_floating_point() and tensor.ndim > 1:
            spread = tensor.float().std()
            drawn = torch.randn(tensor.shape, generator=generator) * spread * noise
            tensors[name] = (tensor.float() + drawn).to(tensor.dtype)
    save_file(tensors, path, {"image_size": "512"})
    return path


def few_points(monkeypatch) -> None:
    """Let the generator look at 16 points of an image, which takes a tenth of the time."""
    quick = replace(PRESETS["demo"], points_per_side=4, points_per_column=4)
    monkeypatch.setitem(PRESETS, "demo", quick)
