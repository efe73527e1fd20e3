"""What the segment flow costs beside its models: reading, decoding, rows, commits, Prefect.

    python -m benchmarks.segment_flow --json FILE

The demo models are timed on some pages. Then the flow runs on all images, on a Prefect server, with
stand-ins for the models that return as many masks at once: all the time it takes is overhead. In a
real run most of it passes while the models compute.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from prefect.testing.utilities import prefect_test_harness

from benchmarks.record import write_record
from examples.comics.drop import write_drop
from examples.comics.page import generate_page
from flows.ingest import run_ingest
from flows.requests import IngestRequest, SegmentRequest
from flows.running import InProcess
from flows.segment import segment
from storage.lake import Lake
from storage.session import connect
from storage.settings import Settings, get_settings
from tasks.models import Compute, LoadedModels, choose_models, compute_slots, load_models
from tasks.segment_batch import Pixels, segment_images
from vision.clip import LabelResult, RankedLabel
from vision.masks import mask_to_rle
from vision.segmenter import Mask

FIRST_SEED = 900_100_000
DATASET = "pages"
SIZE_PX = 1024


class NoWork:
    """Stands in for segmenter and labeller: returns masks that were made for each size before."""

    points_per_batch = images_per_batch = 1
    device_name = "none"

    def __init__(self, sizes: Iterable[tuple[int, int]], masks_an_image: int) -> None:
        self._masks = {size: _ellipses(*size, masks_an_image) for size in sizes}

    def segment_many(self, images: list[Pixels]) -> list[list[Mask]]:
        """Return ellipses."""
        return [self._masks[rgb.shape[0], rgb.shape[1]] for rgb in images]

    def label_many(self, images: list[tuple[Pixels, list[Mask]]]) -> list[list[LabelResult]]:
        """Return one of four labels for each mask."""
        return [[_LABELS[number % 4] for number in range(len(masks))] for _, masks in images]


_LABELS = [
    LabelResult(name, 0.9, 0.8, (RankedLabel(name, 0.3, 0.9), RankedLabel("unknown", 0.1, 0.1)))
    for name in ("panel", "bubble", "character", "text")
]


def _ellipses(height: int, width: int, count: int) -> list[Mask]:
    rng = np.random.default_rng(height * width)
    masks = []
    for _ in range(count):
        pixels = np.zeros((height, width), np.uint8)
        axes = rng.integers(5, 120, 2).tolist()
        center = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.ellipse(pixels, center, axes, float(rng.integers(180)), 0, 360, 1, -1)
        x, y, w, h = (float(value) for value in cv2.boundingRect(pixels))
        rle = mask_to_rle(pixels.astype(bool))
        area = int(pixels.sum())
        whole = (0.0, 0.0, float(width), float(height))
        masks.append(Mask(rle, area, (x, y, w, h), 0.9, 0.9, (x, y), whole))
    return masks


def model_seconds(settings: Settings, pages: int) -> tuple[float, int]:
    """Seconds an image takes in one slot of this machine, and how many masks it has."""
    request = SegmentRequest(dataset=DATASET, model="demo")
    models = load_models(choose_models.fn(**request.models(settings)), Compute.of(settings))
    images = [generate_page(FIRST_SEED + number, SIZE_PX).image for number in range(pages)]
    segment_images(models, images[:1])
    started = time.perf_counter()
    masks = sum(len(segment_images(models, [rgb])[0]) for rgb in images)
    return (time.perf_counter() - started) / pages, masks // pages


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--pages", type=int, default=20, help="to time the models on")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SEGMILL_ROOT"] = f"{folder}/root"
        settings = get_settings()
        one, masks = model_seconds(settings, options.pages)
        slots = compute_slots(Compute.of(settings)).count
        drop = Path(folder) / "drop"
        write_drop(drop, range(FIRST_SEED, FIRST_SEED + options.images), size_px=SIZE_PX)
        run_ingest(IngestRequest(dataset=DATASET, source=str(drop)), settings, InProcess())
        with connect(Lake.open(settings.root)) as session:
            sizes = session.execute("SELECT DISTINCT height_px, width_px FROM images").fetchall()
        no_work = NoWork(sizes, masks)
        with prefect_test_harness(server_startup_timeout=120):
            segment(SegmentRequest(dataset="empty"))
            flow_s, segments = _flow_seconds(no_work)
    models_s = one * options.images / slots
    metrics: dict[str, float | None] = {
        "overhead_share": flow_s / models_s,
        "flow_without_models_s": flow_s,
        "models_s": models_s,
        "images": options.images,
        "segments": segments,
    }
    method = (
        f"the segment flow on a Prefect server that runs already, {options.images} generated pages "
        f"of {SIZE_PX} px in a local root in batches of {settings.batch_images}, with stand-ins "
        f"that return {masks} masks at once; against the demo models' time on "
        f"{options.pages} of them, shared by {slots} slots of one thread"
    )
    write_record("segment_flow", metrics, method, ["prefect", "deltalake", "torch"], options.json)


def _flow_seconds(no_work: NoWork) -> tuple[float, int]:
    with patch("tasks.segment_batch.load_models") as load:
        load.return_value = LoadedModels(no_work, no_work)  # type: ignore[arg-type]
        started = time.perf_counter()
        summary = segment(SegmentRequest(dataset=DATASET, model="demo"))
        return time.perf_counter() - started, summary.segments


if __name__ == "__main__":
    main()
