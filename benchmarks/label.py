"""Labelling beside the one-segment-at-a-time loop: the host's work, the whole, and the labels.

    python -m benchmarks.label --json FILE

The loop is what is copied around: for each segment the whole image with everything else dimmed,
cropped to a square around the segment, open_clip's own preprocessing, one call of the model.
SegMill looks at the segment's box alone, and embeds the crops in batches. Both use the demo CLIP,
the label set's crop and the same text embeddings, in one thread, in turns.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from benchmarks.measuring import in_turns
from benchmarks.record import write_record
from examples.comics import generate_page
from vision.clip import load_label_set
from vision.clip.crops import crop_segment
from vision.clip.labeller import ClipLabeller, normalised
from vision.clip.loading import load_clip
from vision.masks.rle import mask_to_rle, rle_to_box_mask, rle_to_mask

Step = Callable[[NDArray[np.uint8], list[bytes]], Any]

PAGE_PX = 1536


def page_with_segments(seed: int) -> tuple[NDArray[np.uint8], list[bytes]]:
    """A generated page and the masks of what is drawn on it."""
    page = generate_page(seed, PAGE_PX)
    return page.image, [mask_to_rle(thing.mask) for thing in page.objects if thing.mask.any()]


class Loop:
    """One segment at a time."""

    def __init__(self, labeller: ClipLabeller) -> None:
        self._labeller = labeller
        model = labeller.clip.model
        preprocessing = PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))
        self._preprocess = image_transform_v2(preprocessing, is_train=False)

    def host(self, rgb: NDArray[np.uint8], masks: list[bytes]) -> list[torch.Tensor]:
        """All that comes before the model."""
        style = self._labeller.label_set.crop[0]
        inputs = []
        for counts in masks:
            mask = rle_to_mask(counts, *rgb.shape[:2])
            plain = np.full_like(rgb, style.outside_rgb)
            dimmed = cv2.addWeighted(rgb, 1 - style.dim, plain, style.dim, 0)
            painted = Image.fromarray(np.where(mask[..., None], rgb, dimmed).astype(np.uint8))
            x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
            side = max(width, height) * style.context
            left, top = round(x + (width - side) / 2), round(y + (height - side) / 2)
            crop = Image.new("RGB", (round(side), round(side)), style.outside_rgb)
            crop.paste(painted, (-left, -top))
            inputs.append(self._preprocess(crop))
        return inputs

    @torch.inference_mode()
    def label(self, rgb: NDArray[np.uint8], masks: list[bytes]) -> list[int]:
        """The number of the best label of each segment."""
        best = []
        for image in self.host(rgb, masks):
            pixels = image[None].to(self._labeller.clip.device)
            embedding = self._labeller.clip.model.encode_image(pixels, normalize=True)
            cosines = embedding @ self._labeller.texts.T
            best.append(int(cosines[0, : len(self._labeller.label_set.labels)].argmax()))
        return best


def segmill_host(
    labeller: ClipLabeller, rgb: NDArray[np.uint8], masks: list[bytes]
) -> list[torch.Tensor]:
    """All that comes before the model."""
    size_px, style = labeller.clip.image_size_px, labeller.label_set.crop[0]
    crops = np.empty((len(masks), size_px, size_px, 3), np.uint8)
    for crop, counts in zip(crops, masks, strict=True):
        inside, box_xywh = rle_to_box_mask(counts, *rgb.shape[:2])
        crop[:] = crop_segment(rgb, inside, box_xywh, style, size_px)
    return [normalised(crops, labeller.clip)]


def segmill_label(labeller: ClipLabeller, rgb: NDArray[np.uint8], masks: list[bytes]) -> list[int]:
    """The number of the best label of each segment."""
    logits = labeller.logits_of(rgb, masks)[:, : len(labeller.label_set.labels)]
    return [int(best) for best in logits.argmax(axis=1)]


def on_pages(step: Step, pages: list[tuple[NDArray[np.uint8], list[bytes]]]) -> list[Any]:
    """The results of a step on each page."""
    return [step(*page) for page in pages]


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pages", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--seed", type=int, default=900_000_000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    labeller = ClipLabeller(load_clip("demo", options.device), load_label_set("comic"))
    loop = Loop(labeller)
    pages = [page_with_segments(options.seed + number) for number in range(options.pages)]
    segments = sum(len(masks) for _, masks in pages)
    (loop_host_s, _), (host_s, _) = in_turns(
        options.rounds,
        partial(on_pages, loop.host, pages),
        partial(on_pages, partial(segmill_host, labeller), pages),
    )
    (loop_s, expected), (segmill_s, found) = in_turns(
        options.rounds,
        partial(on_pages, loop.label, pages),
        partial(on_pages, partial(segmill_label, labeller), pages),
    )
    pairs = list(zip(chain.from_iterable(expected), chain.from_iterable(found), strict=True))
    metrics = {
        "speedup": loop_host_s / host_s,
        "speedup_with_model": loop_s / segmill_s,
        "top1_agreement": statistics.fmean(a == b for a, b in pairs),
        "loop_host_ms_per_segment": 1000 * loop_host_s / segments,
        "segmill_host_ms_per_segment": 1000 * host_s / segments,
    }
    height, width = pages[0][0].shape[:2]
    method = (
        f"{segments} segments of {options.pages} generated pages of {width} x {height} px (seed "
        f"{options.seed}), demo CLIP ({labeller.clip.image_size_px} px), one thread, in "
        f"turns, median of {options.rounds} rounds; speedup is the host's side alone; the model on "
        f"{options.device}"
    )
    packages = ["torch", "open_clip_torch", "numpy", "opencv-python-headless"]
    write_record("label", metrics, method, packages, options.json)


if __name__ == "__main__":
    main()
