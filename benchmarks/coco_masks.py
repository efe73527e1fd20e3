"""COCO annotations to mask PNGs: how fast, how small and how exact, beside two other ways.

    python -m benchmarks.coco_masks --json FILE
    python -m benchmarks.coco_masks --images 20 --pages 2 --runs 3 --fuzz 1000      # a quick look

Two data sets, both from a seed: one like COCO's (640x480, about 7 annotations an image, a tenth of
several parts, some crowds) and generated comic pages (1536 px high). Each method has a process of
its own, and in each round all of them write the same annotations to files, one after the other;
the numbers are medians over the rounds. Loading the data and the libraries is not measured.

`naive` is the script that people copy: cv2.fillPoly on truncated coordinates, with its crashes on
crowds mended. `pycocotools` is what is exact: annToMask and cv2.imwrite.
"""

from __future__ import annotations

import argparse
import math
import os
import pickle
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.measuring import peak_mb
from benchmarks.record import write_record

Segmentation = Any
PASSES = {"naive": 1, "pycocotools": 1, "numpy": 1, "kernels": 5}


@dataclass(frozen=True)
class AnnotatedImage:
    """An image's size in pixels, and the `segmentation` of each of its annotations."""

    height: int
    width: int
    segmentations: list[Segmentation]


def coco_images(seed: int, count: int) -> list[AnnotatedImage]:
    """Images with as many, as large and as detailed annotations as COCO's have on average."""
    random = Random(f"coco masks {seed}")
    images = []
    for _ in range(count):
        width, height = (640, 480) if random.random() < 0.8 else (480, 640)
        annotations = max(1, round(random.gauss(7.05, 3)))
        objects = [_object(random, height, width) for _ in range(annotations)]
        images.append(AnnotatedImage(height, width, objects))
    return images


def comic_images(seed: int, count: int) -> list[AnnotatedImage]:
    """Generated comic pages, 1536 px high or wide; figures with holes are crowds."""
    from examples.comics import generate_page
    from vision.masks.rle import mask_to_runs

    images = []
    for page_seed in range(seed, seed + count):
        page = generate_page(page_seed, 1536)
        height, width = page.image.shape[:2]
        segmentations = [
            o.polygons or {"size": [height, width], "counts": mask_to_runs(o.mask).tolist()}
            for o in page.objects
        ]
        images.append(AnnotatedImage(height, width, segmentations))
    return images


def fuzz_images(seed: int, count: int) -> Iterator[AnnotatedImage]:
    """Small images with a segmentation each that tries to trip the rasteriser."""
    random = Random(f"mask fuzz {seed}")
    for _ in range(count):
        height, width = random.randint(1, 60), random.randint(1, 60)
        segmentation: Segmentation
        if random.random() < 0.1:
            segmentation = _crowd(random, height, width)
        else:
            draw: Callable[[], float] = random.choice(
                [
                    lambda: random.uniform(-8, 68),
                    lambda: random.randint(-10, 130) / 2,
                    lambda: random.randint(-20, 320) / 5 + random.choice((0, 0.1, -0.1)),
                    lambda: random.uniform(-300, 300),
                ]
            )
            reach = 4.0 * max(height, width)
            segmentation = [
                [min(reach, max(-reach, draw())) for _ in range(2 * random.randint(3, 9))]
                for _ in range(random.choice((1, 1, 2, 3)))
            ]
        yield AnnotatedImage(height, width, [segmentation])


def _object(random: Random, height: int, width: int) -> Segmentation:
    low, high = random.choices([(40, 1024), (1024, 9216), (9216, 120_000)], (39, 40, 21))[0]
    area = math.exp(random.uniform(math.log(low), math.log(high)))
    x, y = random.uniform(0, width), random.uniform(0, height)
    parts = random.choice((2, 3)) if random.random() < 0.105 else 1
    radius = math.sqrt(area / parts / 2.4)
    polygons = []
    for _ in range(parts):
        dx, dy = (random.gauss(0, radius), random.gauss(0, radius)) if parts > 1 else (0.0, 0.0)
        polygons.append(_outline(random, x + dx, y + dy, radius, height, width))
    if random.random() < 0.016:
        from vision.masks.polygons import check_polygons, rings_to_runs

        runs = rings_to_runs(check_polygons(polygons, height, width), height, width)
        return {"size": [height, width], "counts": runs.tolist()}
    return polygons


def _outline(
    random: Random, x: float, y: float, radius: float, height: int, width: int
) -> list[float]:
    """A wobbly closed curve inside the image, with COCO's two decimals."""
    stretch = math.exp(random.gauss(0, 0.35))
    detail = math.exp(random.gauss(3.1, 0.55)) * (radius / 35) ** 0.3
    waves = [(n, random.uniform(0.05, 0.3) / n, random.uniform(0, math.tau)) for n in (2, 3, 5, 7)]
    outline = []
    count = max(4, min(150, round(detail)))
    for i in range(count):
        angle = math.tau * i / count
        r = radius * (1 + sum(size * math.sin(n * angle + turn) for n, size, turn in waves))
        r *= random.uniform(0.95, 1.05)
        outline.append(round(min(width, max(0, x + stretch * r * math.cos(angle))), 2))
        outline.append(round(min(height, max(0, y + r / stretch * math.sin(angle))), 2))
    return outline


def _crowd(random: Random, height: int, width: int) -> Segmentation:
    left, counts = height * width, list[int]()
    longest = random.choice((2, 5, 100))
    while left:
        # More runs than pixels and one are refused, and each pixel left may need one.
        may_be_empty = len(counts) + left <= height * width and random.random() < 0.1
        least = 0 if may_be_empty or not counts else 1
        counts.append(min(left, random.randint(least, longest)))
        left -= counts[-1]
    return {"size": [height, width], "counts": counts}


def exact_mask(segmentation: Segmentation, height: int, width: int) -> np.ndarray[Any, Any]:
    """Draw a segmentation as pycocotools' annToMask does."""
    from pycocotools import mask as coco_mask

    rle = coco_mask.frPyObjects(segmentation, height, width)
    return np.asarray(coco_mask.decode(coco_mask.merge(rle) if isinstance(rle, list) else rle))


def write_naive(image: AnnotatedImage, folder: Path) -> None:
    """Write an image's masks as the copied script does."""
    import cv2

    for i, segmentation in enumerate(image.segmentations):
        if isinstance(segmentation, list):
            mask = np.zeros((image.height, image.width), dtype=np.uint8)
            for ring in segmentation:
                cv2.fillPoly(mask, [np.array(ring).reshape(-1, 2).astype(np.int32)], 255)
        else:
            mask = exact_mask(segmentation, image.height, image.width) * np.uint8(255)
        cv2.imwrite(f"{folder}_{i}.png", mask)


def write_pycocotools(image: AnnotatedImage, folder: Path) -> None:
    """Write an image's masks exactly."""
    import cv2

    for i, segmentation in enumerate(image.segmentations):
        mask = exact_mask(segmentation, image.height, image.width)
        cv2.imwrite(f"{folder}_{i}.png", mask * np.uint8(255))


def write_segmill(image: AnnotatedImage, folder: Path) -> None:
    """Write an image's masks by `vision.masks`."""
    from vision.masks import segmentations_to_pngs

    pngs = segmentations_to_pngs(image.segmentations, image.height, image.width)
    for i, png in enumerate(pngs):
        file = os.open(f"{folder}_{i}.png", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(file, png)
        os.close(file)


WRITERS: dict[str, Callable[[AnnotatedImage, Path], None]] = {
    "naive": write_naive,
    "pycocotools": write_pycocotools,
    "numpy": write_segmill,
    "kernels": write_segmill,
}


@dataclass(frozen=True)
class Outcome:
    """What a worker reports after each round.

    Attributes:
        began_s: When the round began, by a clock that all processes share.
        ended_s: When it ended.
        mask_s: Seconds for each mask.
        start_s: Seconds from the worker's first mask on until it could go on with the next.
        mask_bytes: Bytes of each mask on average.
        peak_mb: The most memory that the worker has held so far.
    """

    began_s: float
    ended_s: float
    mask_s: float
    start_s: float
    mask_bytes: float
    peak_mb: float


def work(pipe: Connection, method: str, data: Path, part: slice, scratch: Path) -> None:
    """Write masks whenever the pipe says so; the life of a worker process."""
    from vision.masks import masks_made_by

    images: list[AnnotatedImage] = pickle.loads(data.read_bytes())[part]
    masks = sum(len(image.segmentations) for image in images)
    with masks_made_by("kernels" if method == "kernels" else "numpy"):
        folder = Path(tempfile.mkdtemp(dir=scratch))
        began = time.perf_counter()
        WRITERS[method](images[0], folder / "first")
        start_s = time.perf_counter() - began
        while True:
            shutil.rmtree(folder)
            folder.mkdir()
            pipe.send("ready")
            if not pipe.recv():
                return
            began = time.perf_counter()
            for turn in range(PASSES[method]):
                for i, image in enumerate(images):
                    WRITERS[method](image, folder / f"{turn}_{i}")
            ended = time.perf_counter()
            mask_s = (ended - began) / PASSES[method] / masks
            size = sum(file.stat().st_size for file in folder.glob("0_*")) / masks
            pipe.send(Outcome(began, ended, mask_s, start_s, size, peak_mb()))


class Worker:
    """A process that writes masks by one method."""

    def __init__(self, method: str, data: Path, part: slice, scratch: Path) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, method, data, part, scratch)
        self._process = context.Process(target=work, args=arguments, daemon=True)
        self._process.start()
        self.wait()

    def wait(self) -> None:
        """Wait until it can begin."""
        self._pipe.recv()

    def begin(self) -> None:
        """Let it write everything once."""
        self._pipe.send(True)

    def end(self) -> Outcome:
        """Wait until it has."""
        outcome: Outcome = self._pipe.recv()
        return outcome

    def stop(self) -> None:
        """End the process."""
        self._pipe.send(False)
        self._process.join()


def compare_methods(data: Path, runs: int, scratch: Path) -> dict[str, list[Outcome]]:
    """Let all methods write the data, in turns."""
    workers = {method: Worker(method, data, slice(None), scratch) for method in WRITERS}
    outcomes: dict[str, list[Outcome]] = {method: [] for method in workers}
    for _ in range(runs):
        for method, worker in workers.items():
            worker.begin()
            outcomes[method].append(worker.end())
            worker.wait()
    for worker in workers.values():
        worker.stop()
    return outcomes


def two_worker_scaling(data: Path, runs: int, scratch: Path) -> float:
    """How much sooner two workers are through than one, from the parent's point of view."""
    one = [Worker("kernels", data, slice(None), scratch)]
    two = [Worker("kernels", data, slice(n, None, 2), scratch) for n in range(2)]
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(runs):
        for workers in (one, two):
            for worker in workers:
                worker.begin()
            ended = [worker.end() for worker in workers]
            for worker in workers:
                worker.wait()
            took_s = max(o.ended_s for o in ended) - min(o.began_s for o in ended)
            seconds[len(workers)].append(took_s)
    for worker in one + two:
        worker.stop()
    return statistics.median(seconds[1]) / statistics.median(seconds[2])


def count_mismatches(images: Iterator[AnnotatedImage] | list[AnnotatedImage]) -> tuple[int, int]:
    """Masks compared, of both makers, and those not read by OpenCV as pycocotools draws them."""
    import cv2

    from vision.masks import masks_made_by, segmentation_to_png

    compared = wrong = 0
    for image in images:
        size = image.height, image.width
        for segmentation in image.segmentations:
            expected = exact_mask(segmentation, *size) * np.uint8(255)
            for maker in ("numpy", "kernels"):
                with masks_made_by(maker):
                    png = segmentation_to_png(segmentation, *size)
                read = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
                compared += 1
                wrong += read is None or not np.array_equal(read, expected)
    return compared, wrong


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=500, help="images like COCO's")
    parser.add_argument("--pages", type=int, default=100, help="comic pages")
    parser.add_argument("--runs", type=int, default=7, help="rounds, of which the median counts")
    parser.add_argument("--fuzz", type=int, default=50_000, help="odd segmentations to compare")
    parser.add_argument("--seed", type=int, default=900_000_000)
    parser.add_argument("--scratch", type=Path, help="where masks are written (default: memory)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    sets = {
        "coco": coco_images(options.seed, options.images),
        "comic": comic_images(options.seed, options.pages),
    }
    shared_memory = Path("/dev/shm")
    base = options.scratch or (shared_memory if shared_memory.is_dir() else None)
    metrics: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=base) as scratch:
        for name, images in sets.items():
            data = Path(scratch) / name
            data.write_bytes(pickle.dumps(images))
            outcomes = compare_methods(data, options.runs, Path(scratch))
            metrics |= summarise(name, outcomes)
        metrics["two_worker_scaling"] = two_worker_scaling(
            Path(scratch) / "coco", options.runs, Path(scratch)
        )
    compared, wrong = count_mismatches([image for images in sets.values() for image in images])
    fuzzed, fuzz_wrong = count_mismatches(fuzz_images(options.seed, options.fuzz))
    metrics |= {"compared_masks": compared + fuzzed, "mismatched_masks": wrong + fuzz_wrong}
    masks = {name: sum(len(i.segmentations) for i in images) for name, images in sets.items()}
    method = (
        f"{masks['coco']} annotations on {options.images} generated images like COCO's and "
        f"{masks['comic']} on {options.pages} generated comic pages (seed {options.seed}), to "
        f"files in {'memory' if base == shared_memory else 'a folder'}; one process a method, "
        f"methods in turns, median of {options.runs} rounds, start-up not counted; both makers "
        f"compared with pycocotools on these and on {options.fuzz} fuzzed segmentations"
    )
    packages = ["numba", "numpy", "opencv-python-headless", "pycocotools"]
    write_record("coco_masks", metrics, method, packages, options.json)


def summarise(name: str, outcomes: dict[str, list[Outcome]]) -> dict[str, float]:
    """The metrics of one data set."""
    seconds = {
        method: statistics.median(outcome.mask_s for outcome in rounds)
        for method, rounds in outcomes.items()
    }
    size = {method: rounds[-1].mask_bytes for method, rounds in outcomes.items()}
    metrics = {
        f"{prefix}speedup_vs_{peer}_{name}": seconds[peer] / seconds[maker]
        for prefix, maker in (("", "kernels"), ("numpy_", "numpy"))
        for peer in ("naive", "pycocotools")
    }
    metrics |= {f"masks_per_s_{method}_{name}": 1 / value for method, value in seconds.items()}
    metrics[f"bytes_vs_naive_{name}"] = size["kernels"] / size["naive"]
    for method in ("naive", "numpy", "kernels"):
        metrics[f"peak_mb_{method}_{name}"] = outcomes[method][-1].peak_mb
    metrics[f"kernel_start_s_{name}"] = outcomes["kernels"][0].start_s
    return metrics


if __name__ == "__main__":
    main()
