"""Measure a CLIP's names on held-out comic pages.

    python -m examples.demo_models.evaluate_clip --pages 60
    python -m examples.demo_models.evaluate_clip --pages 20 --segmenter demo

The masks are the pages' objects (exactly and nearly) and made-up junk, or a segmenter's own. A mask
that overlaps an object by an IoU of 0.7 should get its name, one that overlaps none by 0.5 should
be `unknown`; those in between do not count.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from examples.comics import Page, generate_page
from examples.demo_models.clip_samples import page_masks, true_labels
from examples.demo_models.pages import FIRST_HELD_OUT_SEED
from vision.clip import UNKNOWN, Labeller, load_labeller
from vision.masks import mask_to_rle, rle_to_mask

Confusion = Counter[tuple[str, str]]
"""How often each (true label, given label) occurred."""


def count_names(
    labeller: Labeller, pages: Iterator[tuple[Page, list[NDArray[np.bool_]]]]
) -> Confusion:
    """Name the masks of pages and count what they got against what they are."""
    confusion: Confusion = Counter()
    for page, masks in pages:
        truth = true_labels(masks, page)
        clear = [(mask, true) for mask, true in zip(masks, truth, strict=True) if true]
        given = labeller.label(page.image, [mask_to_rle(mask) for mask, _ in clear])
        confusion.update(
            (true, result.label) for (_, true), result in zip(clear, given, strict=True)
        )
    return confusion


def shares(confusion: Confusion) -> dict[str, float]:
    """Right names among objects, per category and in all, and `unknown` among junk."""

    def share(wanted: set[str]) -> float:
        total = sum(n for (true, _), n in confusion.items() if true in wanted)
        right = sum(n for (true, got), n in confusion.items() if true in wanted and true == got)
        return right / total if total else float("nan")

    categories = {true for true, _ in confusion} - {UNKNOWN}
    named = {f"right_{category}": share({category}) for category in sorted(categories)}
    return {"right": share(categories), **named, "junk_unknown": share({UNKNOWN})}


def made_masks(
    count: int, first_seed: int, junk_per_page: int = 30
) -> Iterator[tuple[Page, list[NDArray[np.bool_]]]]:
    """Pages with their objects' masks, exactly and nearly, and junk."""
    for seed in range(first_seed, first_seed + count):
        page = generate_page(seed)
        yield page, page_masks(page, np.random.default_rng(seed), junk_per_page)


def found_masks(
    reference: str, count: int, first_seed: int
) -> Iterator[tuple[Page, list[NDArray[np.bool_]]]]:
    """Pages with the masks a SAM 2 finds on them."""
    from vision.sam2 import load_segmenter

    segmenter = load_segmenter(reference, "demo")
    for seed in range(first_seed, first_seed + count):
        page = generate_page(seed)
        found = segmenter.segment(page.image)
        yield page, [rle_to_mask(mask.rle, *page.image.shape[:2]) for mask in found]


def main() -> None:
    """Print the shares and the confusion table as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--labels", default="comic")
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--seed", type=int, default=FIRST_HELD_OUT_SEED + 50_000)
    parser.add_argument("--segmenter", help="name this model's own masks, such as demo")
    arguments = parser.parse_args()
    labeller = load_labeller(arguments.model, arguments.labels)
    if arguments.segmenter:
        pages = found_masks(arguments.segmenter, arguments.pages, arguments.seed)
    else:
        pages = made_masks(arguments.pages, arguments.seed)
    confusion = count_names(labeller, pages)
    table = {f"{true} -> {given}": n for (true, given), n in sorted(confusion.items())}
    print(json.dumps({**shares(confusion), "counts": table}, indent=1))


if __name__ == "__main__":
    main()
