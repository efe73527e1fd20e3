"""Fine-tuning a published SAM 2 model: SegMill beside sam2's own package `training`.

    python -m benchmarks.finetune_sam2 --weights FILE --folder FOLDER --json FILE

Both train all of the model on the same generated comic pages, a page a step, with the same number
of masks, the same prompts, correction clicks, losses, rates and clipping. Each has a process and a
processor core (without a GPU) of its own, at the same time. Then the model that both began with and
the two that came of it are measured on pages that nothing was trained on. See
`benchmarks.sam2_training` for what sam2's package needs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.finetune import held_out
from benchmarks.measuring import peak_mb
from benchmarks.record import write_record
from benchmarks.sam2_training import train_with_sam2
from examples.comics import generate_page
from vision.finetune import TrainingImage, read_config
from vision.finetune.run import finetune
from vision.masks import mask_to_rle
from vision.metrics import evaluate_prompts
from vision.metrics.image_values import automatic_values
from vision.sam2 import load_prompted, load_segmenter

FIRST_SEED = 980_000_000
FIRST_HELD_OUT_SEED = 990_000_000
MASKS_PER_PAGE = 8
MASKS_A_STEP = 3  # as sam2's recipe has it
MODEL_CONFIG = "configs/sam2/sam2_hiera_t.yaml"
TRAINERS = ("segmill", "sam2")
# What differs between the recipes by default is set to what sam2's has.
AS_SAM2 = [
    "model.train=[decoder,prompt_encoder,neck,trunk]",
    "data.batch_images=1",
    "data.accumulate=1",
    f"data.masks_per_image={MASKS_A_STEP}",
    "data.mask_stride_px=1",
    "data.val_share=0",
    "optimizer.warmup_steps=0",
    "ema.decay=0",
]


def main() -> None:
    """Read the command line; measure, or do the part of a child process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", type=Path, required=True, help="Hiera-Tiny, safetensors")
    parser.add_argument("--steps", type=int, default=40, help="steps, of a page each")
    parser.add_argument("--pages", type=int, default=12, help="held-out pages for clicks")
    parser.add_argument("--automatic-pages", type=int, default=4, help="and for automatic masks")
    parser.add_argument("--folder", type=Path, help="keep pages and models here")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        part(options, *options.part.split(":", 1))
        return
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = options.folder or Path(temporary)
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Train with both, measure three models, and keep the numbers."""
    pages = options.folder / "pages"
    write_pages(pages, options.steps)
    metrics: dict[str, float | None] = {"steps": options.steps}
    metrics |= side_by_side(options, [f"train:{name}" for name in TRAINERS])
    models = {"before": options.weights, "segmill": "segmill", "sam2": "sam2"}
    metrics |= side_by_side(options, [f"measure:{name}" for name in models])
    for name in TRAINERS:
        metrics[f"{name}_images_per_s"] = options.steps / (metrics[f"{name}_seconds"] or 1)
    metrics["speedup"] = (metrics["sam2_seconds"] or 0) / (metrics["segmill_seconds"] or 1)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "one core each"
    method = (
        f"Hiera-Tiny of 2024, {options.steps} steps of a comic page each (seeds from {FIRST_SEED}) "
        f"with up to {MASKS_A_STEP} masks, 1024 px, point or box and 7 correction clicks, all "
        f"parameters, rates 5e-6 and 3e-6; {device}, both at the same time, with reading and "
        f"writing; mean IoU of one click in the middle (rated best; of the best of three) on "
        f"{options.pages} pages from seed {FIRST_HELD_OUT_SEED}, recall of automatic masks on "
        f"{options.automatic_pages}; peak memory of the process"
    )
    write_record("finetune_sam2", metrics, method, ["torch", "sam2", "accelerate"], options.json)


def side_by_side(options: argparse.Namespace, parts: list[str]) -> dict[str, float | None]:
    """Run parts in processes of their own, one on each core; their numbers together."""
    cores = sorted(os.sched_getaffinity(0))
    numbers: dict[str, float | None] = {}
    with ThreadPoolExecutor(min(len(cores), len(TRAINERS))) as at_once:
        for found in at_once.map(partial(in_child, options), parts):
            numbers |= found
    return numbers


def in_child(options: argparse.Namespace, name: str) -> dict[str, float | None]:
    """Do a part in a new process with one thread."""
    arguments = [
        "--weights", str(options.weights), "--steps", str(options.steps),
        "--pages", str(options.pages), "--automatic-pages", str(options.automatic_pages),
        "--folder", str(options.folder), "--part", name,
    ]  # fmt: skip
    log = options.folder / f"{name.replace(':', '-')}.log"
    with log.open("w") as lines:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.finetune_sam2", *arguments],
            check=True, stdout=lines, stderr=lines, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    numbers: dict[str, float | None] = json.loads(log.read_text().splitlines()[-1])
    return numbers


def part(options: argparse.Namespace, kind: str, name: str) -> None:
    """What a child process does: train with one of both, or measure a model; prints numbers."""
    folder: Path = options.folder / name
    if kind == "train":
        began = time.perf_counter()
        if name == "segmill":
            with_segmill(options, folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            train_with_sam2(
                options.weights, MODEL_CONFIG, options.folder / "pages", folder, MASKS_A_STEP, 7
            )
        numbers = {"seconds": time.perf_counter() - began, "peak_mb": peak_mb()}
        if torch.cuda.is_available():
            numbers["gpu_peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
    else:
        model = {"before": options.weights, "sam2": folder / "checkpoints" / "checkpoint.pt"}
        numbers = qualities(f"file:{model.get(name, folder)}", options)
    print(json.dumps({f"{name}_{key}": value for key, value in numbers.items()}))


def write_pages(folder: Path, count: int) -> None:
    """Write pages and some masks of each as SA-1B has them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        page = generate_page(FIRST_SEED + number)
        things = [thing for thing in page.objects if not thing.iscrowd]
        drawn = np.random.default_rng(number).permutation(len(things))[:MASKS_PER_PAGE]
        height, width = page.image.shape[:2]
        annotations = [
            {
                "id": int(place),
                "area": int(things[place].mask.sum()),
                "segmentation": {
                    "size": [height, width],
                    "counts": mask_to_rle(things[place].mask).decode(),
                },
            }
            for place in drawn
        ]
        pixels = np.ascontiguousarray(page.image[..., ::-1])
        cv2.imwrite(str(folder / f"sa_{number}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
        document = {
            "image": {"image_id": number, "height": height, "width": width},
            "annotations": annotations,
        }
        (folder / f"sa_{number}.json").write_text(json.dumps(document))


def with_segmill(options: argparse.Namespace, folder: Path) -> None:
    """Train on the same files."""
    images = []
    for file in sorted((options.folder / "pages").glob("*.json")):
        document = json.loads(file.read_text())
        annotations = document["annotations"]
        images.append(
            TrainingImage(
                image_id=file.stem,
                pixels=file.with_suffix(".jpg"),
                height_px=document["image"]["height"],
                width_px=document["image"]["width"],
                rles=tuple(each["segmentation"]["counts"].encode() for each in annotations),
                labels=tuple("object" for _ in annotations),
            )
        )
    settings = [*AS_SAM2, f"model.base=file:{options.weights}", f"limits.steps={options.steps}"]
    finetune(read_config(None, settings), images, folder)


def qualities(reference: str, options: argparse.Namespace) -> dict[str, float]:
    """What a model is worth on held-out pages."""
    seeds = range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + options.pages)
    scores = evaluate_prompts(load_prompted(reference), held_out("pen", seeds), (1,), ("centre",))
    numbers = {
        "miou1": float(scores.iou(1).mean()),
        "miou1_oracle": float(scores.iou(1, oracle=True).mean()),
    }
    segmenter = load_segmenter(reference, "demo")
    found: dict[str, list[float]] = {}
    for sample in held_out("pen", seeds[: options.automatic_pages]):
        for name, values in automatic_values(segmenter, sample).items():
            found.setdefault(name, []).extend(values)
    for name in ("ar@100", "ar@1000", "masks_per_image"):
        numbers[name] = float(np.mean(found[name]))
    return numbers


if __name__ == "__main__":
    main()
