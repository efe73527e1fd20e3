"""How well the demo models cut and name pages they have never seen.

    python -m benchmarks.demo_quality --seed-start 900000000 --pages 100 --json FILE

For every ground-truth object of at least 100 px: the best IoU over the page's automatic masks,
averaged per category. A mask is matched if it has an IoU of at least 0.7 with some object; the
label of a matched mask should be that object's category, that of the others `unknown`.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.progress import track

from benchmarks.record import write_record
from examples.comics import Page, generate_page
from vision.clip import UNKNOWN, load_labeller
from vision.masks.rle import mask_to_rle, rle_iou
from vision.sam2 import load_segmenter
from vision.segmenter import Mask

CATEGORIES = ("panel", "bubble", "character", "text")
MIN_AREA_PX = 100
MATCH_IOU = 0.7


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed-start", type=int, default=900_000_000)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--clip", default="demo")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    segmenter = load_segmenter(options.model, options.preset)
    labeller = load_labeller(options.clip, "comic")
    best: dict[str, list[float]] = defaultdict(list)
    confusion: Counter[tuple[str, str]] = Counter()
    masks_seen = 0
    seeds = range(options.seed_start, options.seed_start + options.pages)

    def cut(seed: int) -> tuple[Page, list[Mask]]:
        page = generate_page(seed)
        return page, segmenter.segment(page.image)

    threads = ThreadPoolExecutor(os.cpu_count())  # a model may cut several pages at once
    for page, masks in track(threads.map(cut, seeds), description="pages", total=len(seeds)):
        height, width = page.image.shape[:2]
        objects = [o for o in page.objects if o.mask.sum() >= MIN_AREA_PX and not o.iscrowd]
        masks_seen += len(masks)
        truth = [mask_to_rle(o.mask) for o in objects]
        iou = np.zeros((len(masks), len(truth)))
        if masks and truth:
            iou = rle_iou([m.rle for m in masks], truth, height, width)
        for column, page_object in enumerate(objects):
            best[page_object.category].append(float(iou[:, column].max(initial=0)))
        for row, result in enumerate(labeller.label(page.image, masks)):
            found = iou[row].max(initial=0) >= MATCH_IOU
            wanted = objects[int(iou[row].argmax())].category if found else UNKNOWN
            confusion[wanted, result.label] += 1

    matched = sum(n for (wanted, _), n in confusion.items() if wanted != UNKNOWN)
    unmatched = sum(n for (wanted, _), n in confusion.items() if wanted == UNKNOWN)
    right = sum(n for (wanted, got), n in confusion.items() if wanted == got != UNKNOWN)
    metrics = {f"{name}_iou": float(np.mean(best[name] or [0.0])) for name in CATEGORIES}
    metrics |= {
        "label_accuracy": right / max(1, matched),
        "unknown_rate_unmatched": confusion[UNKNOWN, UNKNOWN] / max(1, unmatched),
        "masks_per_page": masks_seen / options.pages,
        "unmatched_share": unmatched / max(1, masks_seen),
    }
    for (wanted, got), count in sorted(confusion.items()):
        print(f"{wanted:10s} labelled {got:10s} {count:6d}")
    method = (
        f"pages generated from seeds {seeds.start} to {seeds.stop - 1}, none trained on; best IoU "
        f"over the automatic masks (preset {options.preset}) per object of {MIN_AREA_PX} px or "
        f"more; masks matched at IoU {MATCH_IOU}"
    )
    write_record(
        "demo_quality", metrics, method, ["torch", "sam2", "open_clip_torch"], options.json
    )


if __name__ == "__main__":
    main()
