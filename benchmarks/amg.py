"""Automatic mask generation beside sam2's own generator: speed, memory and agreement.

    python -m benchmarks.amg --weights WEIGHTS --photos FOLDER --json FILE
    python -m benchmarks.amg --pages 1 --points 8        # the demo model alone, quick

Each way to cut has a process of its own, with the same weights, and all cut the same images in
turns: `sam2` is SAM2AutomaticMaskGenerator, `exact` and `fast` are SegMill's two precisions. The
first image is cut once more before the clock starts. Two masks agree if their IoU is at least 0.99;
recall counts sam2's masks that have such a partner, precision SegMill's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from inspect import signature
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import peak_mb
from benchmarks.record import write_record
from vision.sam2.parameters import GeneratorParams

Image = NDArray[np.uint8]

AGREE_IOU = 0.99
PACKAGES = ["torch", "torchvision", "numpy", "opencv-python-headless"]
WAYS = ("sam2", "exact", "fast")
_MAX_PHOTO_PX = 100_000_000


@dataclass(frozen=True)
class Job:
    """What is measured.

    Attributes:
        reference: The model.
        device: Where it runs.
        params: How images are cut, in either precision.
        threads: Of torch, in each process.
    """

    reference: str
    device: str
    params: GeneratorParams
    threads: int


@dataclass
class Outcome:
    """What one way gave.

    Attributes:
        seconds: For each image.
        masks: For each image the compressed counts of its masks.
        peak_mb: The most memory held, of the process or of the accelerator.
    """

    seconds: list[float] = field(default_factory=list)
    masks: list[list[bytes]] = field(default_factory=list)
    peak_mb: float = 0.0


def _cutter(way: str, job: Job) -> Callable[[Image], list[bytes]]:
    from vision.sam2 import load_segmenter

    precision: Any = "fast" if way == "fast" else "exact"
    ours = load_segmenter(job.reference, replace(job.params, precision=precision), job.device)
    if way != "sam2":
        return lambda rgb: [mask.rle for mask in ours.segment(rgb)]
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

    known = signature(SAM2AutomaticMaskGenerator.__init__).parameters
    given = {name: value for name, value in asdict(job.params).items() if name in known}
    # sam2 asks 64 points at once; more would take it more memory than most accelerators have.
    given["points_per_batch"] = min(job.params.points_per_batch, 64)
    theirs = SAM2AutomaticMaskGenerator(ours.model, output_mode="coco_rle", **given)
    side = ours.model.image_size  # sam2 itself only expects 1024
    theirs.predictor._bb_feat_sizes = [(side // stride,) * 2 for stride in (4, 8, 16)]

    def cut(rgb: Image) -> list[bytes]:
        return [record["segmentation"]["counts"].encode() for record in theirs.generate(rgb)]

    return cut


def work(pipe: Connection, way: str, job: Job) -> None:
    """Cut the images that come through the pipe; the life of a process."""
    import torch

    torch.set_num_threads(job.threads)
    cut = _cutter(way, job)
    while (rgb := pipe.recv()) is not None:
        began = time.perf_counter()
        masks = cut(rgb)
        if job.device == "cuda":
            torch.cuda.synchronize()
        pipe.send((time.perf_counter() - began, masks, _peak_mb(job.device)))


def _peak_mb(device: str) -> float:
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return peak_mb()


def compare(job: Job, images: list[Image]) -> dict[str, Outcome]:
    """Let all ways cut the images, in turns."""
    context = get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for way in WAYS:
        pipes[way], theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, way, job), daemon=True)
        process.start()
        theirs.close()
        processes.append(process)
    outcomes = {way: Outcome() for way in WAYS}
    try:
        for number, image in enumerate([images[0], *images]):
            for way, outcome in outcomes.items():
                pipes[way].send(image)
                seconds, masks, outcome.peak_mb = pipes[way].recv()
                if number:
                    outcome.seconds.append(seconds)
                    outcome.masks.append(masks)
                    print(f"{job.reference} {way}: {len(masks)} masks in {seconds:.2f} s")
        for pipe in pipes.values():
            pipe.send(None)
    except EOFError:
        sys.exit("a process did not finish")
    for process in processes:
        process.join()
    return outcomes


@dataclass(frozen=True)
class Agreement:
    """How far the masks of one way are those of sam2.

    Attributes:
        recall: Share of sam2's masks that have a partner.
        precision: Share of the way's masks that have one.
        mean_iou: Of each of sam2's masks and the way's best for it.
        other_count_share: Share of images with another number of masks.
    """

    recall: float
    precision: float
    mean_iou: float
    other_count_share: float


def agreement(theirs: Outcome, ours: Outcome, images: list[Image]) -> Agreement:
    """Compare the masks of two ways."""
    from vision.masks import rle_iou

    of_theirs: list[float] = []
    of_ours: list[float] = []
    for expected, found, image in zip(theirs.masks, ours.masks, images, strict=True):
        if not expected or not found:
            of_theirs += [0.0] * len(expected)
            of_ours += [0.0] * len(found)
            continue
        overlaps = rle_iou(expected, found, *image.shape[:2])
        of_theirs += overlaps.max(axis=1).tolist()
        of_ours += overlaps.max(axis=0).tolist()
    counts = zip(theirs.masks, ours.masks, strict=True)
    return Agreement(
        recall=_share(of_theirs),
        precision=_share(of_ours),
        mean_iou=statistics.fmean(of_theirs) if of_theirs else 1.0,
        other_count_share=statistics.fmean(len(a) != len(b) for a, b in counts),
    )


def _share(best: list[float]) -> float:
    return statistics.fmean(iou >= AGREE_IOU for iou in best) if best else 1.0


def measure(name: str, job: Job, images: list[Image]) -> dict[str, float]:
    """The metrics of one model on one device, each with its name at the end."""
    outcomes = compare(job, images)
    theirs = outcomes["sam2"]
    sam2_s = sum(theirs.seconds)
    metrics = {"sam2_s_per_image": sam2_s / len(images), "sam2_peak_mb": theirs.peak_mb}
    metrics["sam2_masks_per_image"] = statistics.fmean(map(len, theirs.masks))
    for way in ("exact", "fast"):
        ours = outcomes[way]
        found = agreement(theirs, ours, images)
        metrics |= {
            f"{way}_speedup": sam2_s / sum(ours.seconds),
            f"{way}_memory_ratio": ours.peak_mb / theirs.peak_mb,
            f"{way}_recall_iou99": found.recall,
            f"{way}_precision_iou99": found.precision,
            f"{way}_mean_iou": found.mean_iou,
            f"{way}_other_count_share": found.other_count_share,
        }
    return {f"{metric}_{name}": value for metric, value in metrics.items()}


def comic_pages(seed: int, count: int) -> list[Image]:
    """Generated pages of 1024 by about 1536 pixels."""
    from examples.comics import generate_page

    return [generate_page(seed + number, 1536).image for number in range(count)]


def photos(folder: Path, count: int) -> list[Image]:
    """The first photos of a folder, by name."""
    from vision.images import decode_image

    files = sorted(folder.glob("*.jpg"))[:count]
    return [decode_image(file.read_bytes(), _MAX_PHOTO_PX).rgb for file in files]


def main() -> None:
    """Read the command line, measure and print."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--points", type=int, help="per side (default: 16, on a GPU 32)")
    parser.add_argument("--pages", type=int, default=4, help="generated pages for the demo model")
    parser.add_argument("--weights", type=Path, help="of a released SAM 2, to be measured as well")
    parser.add_argument("--photos", type=Path, help="folder of photos for it")
    parser.add_argument("--photo-count", type=int, default=4)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=900_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if bool(options.weights) != bool(options.photos):
        parser.error("--weights and --photos go together")

    on_cpu = options.device == "cpu"
    points = options.points or (16 if on_cpu else 32)
    shared: dict[str, Any] = {"points_per_side": points, "points_per_batch": 64 if on_cpu else 1024}
    # A small model's logits are small too, and it rates small things low even where it is right.
    small = GeneratorParams(
        pred_iou_thresh=0.2,
        stability_score_thresh=0.5,
        stability_score_offset=0.3,
        mask_threshold=-0.3,
        box_nms_thresh=0.85,
        **shared,
    )
    demo = Job("demo", options.device, small, options.threads)
    metrics = measure("demo", demo, comic_pages(options.seed, options.pages))
    what = f"{options.pages} generated pages of 1536 px with the demo model"
    if options.weights:
        reference = f"file:{options.weights}"
        released = Job(reference, options.device, GeneratorParams(**shared), options.threads)
        cut = photos(options.photos, options.photo_count)
        metrics |= measure("hiera_tiny", released, cut)
        what += f", {len(cut)} photos with {options.weights.stem} and sam2's thresholds"
    method = (
        f"{what}; {points} x {points} points, {options.threads} threads of torch on "
        f"{options.device}; a process each, image by image in turns after one to warm up"
    )
    write_record("amg", _headline(metrics, on_cpu) | metrics, method, PACKAGES, options.json)


def _headline(metrics: dict[str, float], on_cpu: bool) -> dict[str, float | None]:
    """The numbers that are watched; None for what was not measured."""
    worst = {
        name: [value for key, value in metrics.items() if key.startswith(f"exact_{name}")]
        for name in ("recall_iou99", "precision_iou99", "memory_ratio")
    }
    speedup = {name: metrics.get(f"exact_speedup_{name}") for name in ("demo", "hiera_tiny")}
    return {
        "cpu_speedup_demo": speedup["demo"] if on_cpu else None,
        "cpu_speedup_hiera_tiny": speedup["hiera_tiny"] if on_cpu else None,
        "gpu_speedup": None if on_cpu else speedup["hiera_tiny"],
        "recall_iou99": min(worst["recall_iou99"]),
        "precision_iou99": min(worst["precision_iou99"]),
        "peak_memory_ratio": max(worst["memory_ratio"]),
    }


if __name__ == "__main__":
    main()
