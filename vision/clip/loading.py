"""CLIP models by reference: the demo model, the hub, or a local folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import download_pretrained_from_hf
from safetensors import SafetensorError

from vision.models import ModelReferenceError, resolve_model

DEMO_CONFIG = Path(__file__).with_name("configs") / "segmill-demo-clip.json"
DEMO_FILE = "clip.safetensors"


@dataclass(frozen=True)
class LoadedClip:
    """A CLIP ready to embed images and texts.

    Attributes:
        model: open_clip's model, in evaluation mode, on `device`.
        tokenize: Sentences to int64 token ids, shape (n, context_length); cuts what is longer.
        context_length: Tokens per sentence, start and end tokens included.
        image_size_px: Side of the square the image tower takes.
        mean_rgb: Mean of each channel, on a scale of 0 to 1.
        std_rgb: Standard deviation of each channel, on the same scale.
        model_id: Short name and 12 hex digits of the SHA-256 of the weights: of their file, or of
            their content for a model of the hub.
        device: Where the model lives.
    """

    model: open_clip.CLIP
    tokenize: Callable[[list[str]], torch.Tensor]
    context_length: int
    image_size_px: int
    mean_rgb: tuple[float, float, float]
    std_rgb: tuple[float, float, float]
    model_id: str
    device: torch.device


def demo_clip() -> open_clip.CLIP:
    """The demo model's architecture, with random weights."""
    open_clip.add_model_config(DEMO_CONFIG)
    with _quiet_about_missing_weights():
        model: open_clip.CLIP = open_clip.create_model(DEMO_CONFIG.stem, load_weights=False)
    return model


@contextmanager
def _quiet_about_missing_weights() -> Iterator[None]:
    """Random weights are meant here; open_clip warns of them on the root logger."""

    def wanted(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("No pretrained weights loaded")

    root = logging.getLogger()
    root.addFilter(wanted)
    try:
        yield
    finally:
        root.removeFilter(wanted)


def load_clip(reference: str, device: str = "auto") -> LoadedClip:
    """Load a CLIP.

    Args:
        reference: `demo`, `hub:org/name`, or `file:PATH` to a folder with `open_clip_config.json`
            and one weights file, or to that file.
        device: `auto` (an accelerator where there is one), `cpu`, `cuda`, `mps`.

    Raises:
        ModelReferenceError: The reference has another form, its files are missing, or the weights
            do not fit the model.
    """
    place = torch.device(_device_name(device))
    kind, _, rest = reference.partition(":")
    if kind == "hub" and rest.count("/") == 1 and all(rest.split("/")):
        _require_safetensors(reference, _fetched(reference, rest))
        model = _create(reference, f"hf-hub:{rest}")
        model_id = f"{rest.split('/')[1]}-{_state_digest(model)[:12]}"
        return prepare_clip(model, f"hf-hub:{rest}", model_id, place)
    found = resolve_model(reference, DEMO_FILE)
    if found.kind == "demo":
        open_clip.add_model_config(DEMO_CONFIG)
        model = _create(reference, DEMO_CONFIG.stem, pretrained=str(found.path))
        return prepare_clip(model, DEMO_CONFIG.stem, found.model_id, place)
    folder = found.path.parent
    if not (folder / "open_clip_config.json").is_file():
        raise ModelReferenceError(reference, f"no open_clip_config.json in {folder}")
    _require_safetensors(reference, found.path)
    model = _create(reference, f"local-dir:{folder}")
    return prepare_clip(model, f"local-dir:{folder}", found.model_id, place)


def prepare_clip(
    model: open_clip.CLIP, source: str, model_id: str, device: torch.device
) -> LoadedClip:
    """Put a model into evaluation mode and gather what embedding needs.

    Args:
        model: An open_clip model with its final weights.
        source: What open_clip knows the model's tokenizer by.
        model_id: Names the weights.
        device: Where the model shall live.
    """
    preprocessing: dict[str, Any] = open_clip.get_model_preprocess_cfg(model)
    size = preprocessing["size"]
    tower = getattr(model, "text", model)
    context_length = int(tower.context_length)
    return LoadedClip(
        model=model.eval().to(device),
        tokenize=open_clip.get_tokenizer(source, context_length=context_length),
        context_length=context_length,
        image_size_px=int(size if isinstance(size, int) else size[0]),
        mean_rgb=tuple(preprocessing["mean"]),
        std_rgb=tuple(preprocessing["std"]),
        model_id=model_id,
        device=device,
    )


def _fetched(reference: str, name: str) -> Path:
    """The weights file of the hub that open_clip takes: safetensors, where there are any."""
    try:
        return Path(download_pretrained_from_hf(name))
    except OSError as error:
        raise ModelReferenceError(reference, str(error)) from error


def _require_safetensors(reference: str, path: Path) -> None:
    """Refuse a pickle, which open_clip would read in this process."""
    if path.suffix != ".safetensors":
        source = reference if reference.startswith("hub:") else f"file:{path}"
        raise ModelReferenceError(
            reference, f"{path.name} is a pickle; segmill models pull {source} converts it once"
        )


def _create(reference: str, source: str, pretrained: str | None = None) -> open_clip.CLIP:
    try:
        model: open_clip.CLIP = open_clip.create_model(
            source, pretrained=pretrained, require_pretrained=True
        )
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise ModelReferenceError(reference, str(error)) from error
    return model


def _state_digest(model: open_clip.CLIP) -> str:
    """SHA-256, hex, of all weights with their names, as float32."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _device_name(device: str) -> str:
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
