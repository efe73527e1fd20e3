"""CLIP names segments: label sets, crops, and the labeller.

Importing this package imports no torch; `load_labeller` does when called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vision.clip.label_set import LabelSet, LabelSetError, load_label_set
from vision.clip.results import UNKNOWN, Labeller, LabelResult, RankedLabel

if TYPE_CHECKING:
    from vision.clip.labeller import ClipLabeller

__all__ = [
    "UNKNOWN",
    "LabelResult",
    "LabelSet",
    "LabelSetError",
    "Labeller",
    "RankedLabel",
    "load_label_set",
    "load_labeller",
]


def load_labeller(
    reference: str, label_set: LabelSet | str = "comic", device: str = "auto"
) -> ClipLabeller:
    """Load a CLIP and prepare it for one label set.

    Args:
        reference: `demo`, `hub:org/name` (an open_clip model on the Hugging Face hub), or
            `file:PATH` to a folder with `open_clip_config.json` and one weights file, or to that
            file.
        label_set: A label set, its name in `configs/labels/`, or the path of its YAML file.
        device: `auto` (an accelerator where there is one), `cpu`, `cuda`, `mps`.

    Raises:
        ModelReferenceError: The reference names no model that can be loaded.
        LabelSetError: The label set cannot be read, or a prompt is too long for this CLIP.
    """
    from vision.clip.labeller import ClipLabeller  # torch and open_clip take seconds to import
    from vision.clip.loading import load_clip

    chosen = label_set if isinstance(label_set, LabelSet) else load_label_set(label_set)
    return ClipLabeller(load_clip(reference, device), chosen)
