"""A whole COCO file to mask PNGs, JSON included; loading JSON alone; and memory on a huge file.

    python -m benchmarks.coco_job --json FILE
    python -m benchmarks.coco_job --images 200 --rounds 1 --load-mb 5 --stream-mb 20   # quick

`peer` is what people run: `json.load`, then pycocotools' annToMask and cv2.imwrite for each
annotation, in two forked processes that share the images. SegMill's side is `convert_masks` with
two processes, from the call to its return: the start of its processes and the loading of the
compiled kernels are in it, and are also given apart. Each measurement has a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.coco_masks import coco_images, exact_mask
from benchmarks.measuring import peak_mb
from benchmarks.record import write_record

MAX_BYTES = 2**33
_MOLD_IMAGES = 1000


def write_coco(path: Path, images: int, seed: int) -> int:
    """Write a COCO file like instances_val2017.json; returns its annotations.

    A thousand different images are repeated, with ids of their own.
    """
    mold = coco_images(seed, min(images, _MOLD_IMAGES))
    document: dict[str, list[Any]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "thing"}],
    }
    for image_id, image in zip(range(1, images + 1), itertools.cycle(mold), strict=False):
        name = f"{image_id:012d}.jpg"
        size = {"width": image.width, "height": image.height}
        document["images"].append({"id": image_id, "file_name": name, **size})
        for segmentation in image.segmentations:
            document["annotations"].append(
                {
                    "segmentation": segmentation,
                    "area": 702.1057499999998,
                    "iscrowd": int(isinstance(segmentation, dict)),
                    "image_id": image_id,
                    "bbox": [473.07, 395.93, 38.65, 28.67],
                    "category_id": 1,
                    "id": len(document["annotations"]) + 1,
                }
            )
    path.write_text(json.dumps(document))
    return len(document["annotations"])


def write_dense(path: Path, size_bytes: int) -> int:
    """Write a COCO file of this size, of outlines with 5,000 points; returns its annotations."""
    angle = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    images = max(1, size_bytes // 1_000_000)
    count = 0
    with path.open("w") as file:
        entries = [
            {"id": n, "file_name": f"{n}.jpg", "width": 2000, "height": 2000}
            for n in range(1, images + 1)
        ]
        file.write(f'{{"images": {json.dumps(entries)}, "annotations": [')
        while file.tell() < size_bytes:
            radius = (
                300 + 100 * np.sin(7 * angle + count) + np.random.default_rng(count).random(5000)
            )
            ring = np.stack([1000 + radius * np.cos(angle), 1000 + radius * np.sin(angle)], 1)
            entry = {
                "id": count + 1,
                "image_id": 1 + count % images,
                "category_id": 1,
                "segmentation": [ring.round(2).ravel().tolist()],
            }
            file.write(("," if count else "") + json.dumps(entry))
            count += 1
        file.write('], "categories": [{"id": 1, "name": "thing"}]}')
    return count


def peer_job(document: Path, folder: Path) -> None:
    """Convert as people do, in two processes."""
    with document.open() as file:
        content = json.load(file)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    by_image: dict[int, list[Any]] = {}
    for annotation in content["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    ids = list(by_image)
    context = get_context("fork")
    workers = [
        context.Process(target=_peer_part, args=(ids[n::2], by_image, sizes, folder))
        for n in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _peer_part(
    ids: list[int],
    by_image: dict[int, list[Any]],
    sizes: dict[int, tuple[int, int]],
    folder: Path,
) -> None:
    import cv2

    cv2.setNumThreads(1)
    for image_id in ids:
        for annotation in by_image[image_id]:
            mask = exact_mask(annotation["segmentation"], *sizes[image_id])
            name = f"{image_id:012d}_{annotation['id']:012d}.png"
            cv2.imwrite(str(folder / name), mask * np.uint8(255))


def segmill_job(document: Path, folder: Path) -> None:
    """Convert as `segmill masks` does, in two processes."""
    from tasks.convert_masks import convert_masks

    result = convert_masks(document, folder, processes=2)
    if result.rejected:
        sys.exit(f"the benchmark's own file was refused: {result.findings}")


def segmill_start(document: Path, folder: Path) -> None:
    """What starting two processes with the kernels takes."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2, get_context("spawn"), _load_kernels) as pool:
        list(pool.map(abs, [1, 2]))


def _load_kernels() -> None:
    import tasks.convert_masks  # noqa: F401
    from vision.masks.choice import MASKS_WORTH_LOADING, expect_masks

    expect_masks(MASKS_WORTH_LOADING)


def load_json(document: Path, folder: Path) -> None:
    """Load a file as people do."""
    with document.open() as file:
        json.load(file)


def load_sections(document: Path, folder: Path) -> None:
    """Load a file as SegMill does: every entry found, none built."""
    from vision.coco.sections import Sections

    with document.open("rb") as file:
        Sections(file, MAX_BYTES)


def stream(document: Path, folder: Path) -> None:
    """Rasterise every annotation of a file, one after the other."""
    from vision.coco import CocoReader
    from vision.masks import expect_masks

    expect_masks(100_000)
    with document.open("rb") as file:
        for _ in CocoReader(file, document.name, MAX_BYTES).annotations():
            pass


Step = Callable[[Path, Path], None]


def _measured(pipe: Connection, step: Step, document: Path, folder: Path) -> None:
    import vision.coco  # noqa: F401

    folder.mkdir()
    before_mb = peak_mb()
    began = time.perf_counter()
    step(document, folder)
    pipe.send((time.perf_counter() - began, peak_mb() - before_mb, peak_mb()))


def measure(step: Step, document: Path, scratch: Path) -> tuple[float, float, float]:
    """Seconds, MB that the step added to the peak, and the peak in MB; in a new process."""
    context = get_context("spawn")
    pipe, theirs = context.Pipe()
    folder = scratch / "masks"
    process = context.Process(target=_measured, args=(theirs, step, document, folder))
    process.start()
    theirs.close()
    try:
        seconds, added_mb, peak_mb = pipe.recv()
    except EOFError:
        sys.exit(f"{step.__name__} did not finish")
    process.join()
    shutil.rmtree(folder)
    return seconds, added_mb, peak_mb


def in_turns(
    steps: tuple[Step, ...], document: Path, rounds: int, scratch: Path
) -> Iterator[tuple[float, float]]:
    """Median seconds and MB of each step, measured in turns."""
    found: dict[Step, list[tuple[float, float, float]]] = {step: [] for step in steps}
    for _ in range(rounds):
        for step in steps:
            found[step].append(measure(step, document, scratch))
    for outcomes in found.values():
        yield (
            statistics.median(seconds for seconds, _, _ in outcomes),
            statistics.median(added_mb for _, added_mb, _ in outcomes),
        )


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=5000, help="images of the whole job")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts")
    parser.add_argument("--load-mb", type=int, default=140, help="size of the file to load")
    parser.add_argument("--stream-mb", type=int, default=2000, help="size of the file to stream")
    parser.add_argument("--seed", type=int, default=900_000_000)
    parser.add_argument("--scratch", type=Path, help="where files are written (default: memory)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    shared_memory = Path("/dev/shm")
    base = options.scratch or (shared_memory if shared_memory.is_dir() else None)
    metrics: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=base) as name:
        scratch = Path(name)
        document = scratch / "coco.json"
        masks = write_coco(document, options.images, options.seed)
        job_mb = document.stat().st_size / 1e6
        steps = (peer_job, segmill_job, segmill_start)
        peer, segmill, start = in_turns(steps, document, options.rounds, scratch)
        metrics["whole_job_speedup"] = peer[0] / segmill[0]
        metrics["whole_job_speedup_without_start"] = peer[0] / (segmill[0] - start[0])
        metrics |= {"peer_job_s": peer[0], "segmill_job_s": segmill[0], "segmill_start_s": start[0]}
        large = scratch / "large.json"
        write_coco(large, max(1, round(options.images * options.load_mb / job_mb)), options.seed)
        theirs, ours = in_turns((load_json, load_sections), large, options.rounds, scratch)
        metrics["json_speedup"] = theirs[0] / ours[0]
        metrics["json_memory_share"] = ours[1] / theirs[1]
        metrics |= {"json_load_s": theirs[0], "sections_s": ours[0]}
        metrics |= {"json_load_mb": theirs[1], "sections_mb": ours[1]}
        large.unlink()
        dense = scratch / "dense.json"
        streamed = write_dense(dense, options.stream_mb * 1_000_000)
        seconds, added_mb, peak_mb = measure(stream, dense, scratch)
        metrics |= {"stream_s": seconds, "stream_added_mb": added_mb, "stream_peak_mb": peak_mb}
    method = (
        f"{masks} generated annotations on {options.images} images like COCO's "
        f"({job_mb:.0f} MB of JSON, seed {options.seed}); loading: {options.load_mb} MB of the "
        f"same; streaming: {options.stream_mb} MB with {streamed} outlines of 5,000 points, about "
        f"1 MB an image; files in {'memory' if base == shared_memory else 'a folder'}; a new "
        f"process each time, in turns, median of {options.rounds} rounds, streaming once; MB are "
        "what was added to the peak of the process"
    )
    packages = ["msgspec", "numba", "numpy", "opencv-python-headless", "pycocotools"]
    write_record("coco_job", metrics, method, packages, options.json)


if __name__ == "__main__":
    main()
