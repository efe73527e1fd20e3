"""What the segment flow costs beside its models: reading, decoding, rows, commits, Prefect.

    python -m benchmarks.segment_flow --json FILE

The demo models are timed on some pages. Then the flow runs on all images, on Prefect's own server,
with stand-ins for the models that return what was found on those pages at once: all the time it
takes is overhead. In a real run most of it passes while the models compute, so this is an upper
bound.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from itertools import cycle
from pathlib import Path
from unittest.mock import patch

from prefect.testing.utilities import prefect_test_harness

from benchmarks.record import write_record
from examples.comics.drop import write_drop
from examples.comics.page import generate_page
from flows.ingest import run_ingest
from flows.requests import IngestRequest, SegmentRequest
from flows.running import InProcess
from flows.segment import segment
from storage.settings import Settings, get_settings
from tasks.models import Compute, LoadedModels, choose_models, compute_slots, load_models
from tasks.segment_batch import Pixels, segment_images
from tasks.segment_rows import Segments
from vision.clip import LabelResult
from vision.segmenter import Mask

FIRST_SEED = 900_100_000
DATASET = "pages"
SIZE_PX = 1024


class Replay:
    """Stands in for segmenter and labeller: returns what was found before, again and again."""

    def __init__(self, found: list[Segments]) -> None:
        self.points_per_batch = self.images_per_batch = 1
        self._found = cycle(found)
        self._label = found[0][0][1]

    def segment_many(self, images: list[Pixels]) -> list[list[Mask]]:
        """Return the masks of other pages; the labels are kept with them."""
        return [[mask for mask, _ in next(self._found)] for _ in images]

    def label_many(self, images: list[tuple[Pixels, list[Mask]]]) -> list[list[LabelResult]]:
        """Return a label for each mask."""
        return [[self._label] * len(masks) for _, masks in images]


def model_seconds(settings: Settings, pages: int) -> tuple[float, list[Segments]]:
    """Seconds an image takes in one slot of this machine, and what was found on the pages."""
    request = SegmentRequest(dataset=DATASET, model="demo")
    models = load_models(choose_models.fn(**request.models(settings)), Compute.of(settings))
    images = [generate_page(FIRST_SEED + number, SIZE_PX).image for number in range(pages)]
    segment_images(models, images[:1])
    started = time.perf_counter()
    found = [segment_images(models, [rgb])[0] for rgb in images]
    return (time.perf_counter() - started) / pages, [one for one in found if one]


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
        one, found = model_seconds(settings, options.pages)
        slots = compute_slots(Compute.of(settings)).count
        drop = Path(folder) / "drop"
        write_drop(drop, range(FIRST_SEED, FIRST_SEED + options.images), size_px=SIZE_PX)
        run_ingest(IngestRequest(dataset=DATASET, source=str(drop)), settings, InProcess())
        with prefect_test_harness(server_startup_timeout=120):
            segment(SegmentRequest(dataset="empty"))
            flow_s, segments = _flow_seconds(Replay(found))
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
        f"that return the masks of {options.pages} pages at once; against the demo models' time on "
        f"those, shared by {slots} slots of one thread"
    )
    write_record("segment_flow", metrics, method, ["prefect", "deltalake", "torch"], options.json)


def _flow_seconds(replay: Replay) -> tuple[float, int]:
    with patch("tasks.segment_batch.load_models") as load:
        load.return_value = LoadedModels(replay, replay)  # type: ignore[arg-type]
        started = time.perf_counter()
        summary = segment(SegmentRequest(dataset=DATASET, model="demo"))
        return time.perf_counter() - started, summary.segments


if __name__ == "__main__":
    main()
