"""What follows the model in automatic mask generation, beside sam2's own code: one page's masks.

    python -m benchmarks.postprocess --json FILE

The model is replaced by stored answers: smooth blobs at 256 x 256 with made-up ratings, three for
each of 256 points. sam2's side is SAM2AutomaticMaskGenerator itself with these answers; SegMill's
is the generator's code from the decoder's answers on. Encoding and clean-up are measured once more
by themselves, with the boxes known, as they are in either generator. All in one thread, in turns.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measuring import in_turns
from benchmarks.record import write_record
from vision.masks.rle import mask_to_runs, rle_to_mask
from vision.masks.runs import runs_to_rle
from vision.sam2.candidates import join, screen
from vision.sam2.cleanup import remove_small_regions
from vision.sam2.crops import Crop
from vision.sam2.finishing import finish
from vision.sam2.generator import best_of_crop
from vision.sam2.parameters import GeneratorParams
from vision.segmenter import Mask

Box = tuple[int, int, int, int]

HEIGHT, WIDTH = 1536, 1024
SIDE = 256
POINTS_PER_SIDE = 16
MIN_REGION_PX = 100
PARAMS = GeneratorParams(points_per_side=POINTS_PER_SIDE)
SPECKLED = 40
_COPIES = np.zeros((SPECKLED, HEIGHT, WIDTH), np.bool_)


def answers(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (points, 3, SIDE, SIDE) and ratings (points, 3) that a model might give."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    things = random.integers(0, SIDE, (60, 2))
    logits = np.empty((POINTS_PER_SIDE**2, 3, SIDE, SIDE), np.float32)
    for point, masks in enumerate(logits):
        y, x = things[point % len(things)]
        for size, mask in zip((6, 14, 40), masks, strict=True):
            tall, wide = size * random.uniform(0.7, 1.4, 2)
            distance = np.sqrt(((rows - y) / tall) ** 2 + ((columns - x) / wide) ** 2)
            noise = cv2.resize(random.normal(size=(16, 16)).astype(np.float32), (SIDE, SIDE))
            # How steep the edge is decides on the stability.
            mask[:] = (1 - distance) * random.choice((20, 60, 200)) + noise
    ratings = random.beta(8, 2.5, logits.shape[:2]).astype(np.float32)
    return torch.from_numpy(logits), torch.from_numpy(ratings)


class StoredAnswers:
    """Stands in for sam2's predictor."""

    device = torch.device("cpu")

    def __init__(self, logits: torch.Tensor, ratings: torch.Tensor) -> None:
        self._logits, self._ratings = logits, ratings
        self._next = 0
        self._transforms = SimpleNamespace(transform_coords=lambda points, **_: points)

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Begin again."""
        self._next = 0

    def reset_predictor(self) -> None:
        """Nothing to forget."""

    def _predict(self, points: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, ...]:
        part = slice(self._next, self._next + len(points))
        self._next = part.stop
        logits = self._logits[part]
        large = torch.nn.functional.interpolate(
            logits, (HEIGHT, WIDTH), mode="bilinear", align_corners=False
        )
        return large, self._ratings[part], logits


def sam2_stage(logits: torch.Tensor, ratings: torch.Tensor) -> list[dict[str, Any]]:
    """All that sam2 does after its model."""
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

    generator = SAM2AutomaticMaskGenerator.__new__(SAM2AutomaticMaskGenerator)
    generator.__dict__ |= vars(PARAMS) | {"output_mode": "coco_rle"}
    generator.predictor = StoredAnswers(logits, ratings)
    generator.point_grids = [_points() / (WIDTH, HEIGHT)]
    records: list[dict[str, Any]] = generator.generate(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return records


@torch.inference_mode()
def segmill_stage(logits: torch.Tensor, ratings: torch.Tensor) -> list[Mask]:
    """All that SegMill does after its model."""
    crop = Crop(0, 0, WIDTH, HEIGHT, 0)
    points = torch.from_numpy(_points()).float()
    parts = []
    for first in range(0, len(points), 8):  # as many points as are decoded at once
        batch = slice(first, first + 8)
        row, kind = torch.nonzero(ratings[batch] > PARAMS.pred_iou_thresh, as_tuple=True)
        parts.append(
            screen(
                points[batch][row],
                logits[batch][row, kind],
                ratings[batch][row, kind],
                HEIGHT,
                WIDTH,
                PARAMS,
            )
        )
    candidates = best_of_crop(join(parts), crop, HEIGHT, WIDTH, PARAMS)
    return [mask for mask, _ in finish(candidates, crop, HEIGHT, WIDTH, PARAMS)]


def _points() -> NDArray[np.float64]:
    from vision.sam2.crops import point_grid

    return point_grid(PARAMS, 0) * (WIDTH, HEIGHT)


def sam2_rle(masks: NDArray[np.bool_]) -> list[str]:
    """Encode masks as sam2 does, all at once."""
    from sam2.utils.amg import coco_encode_rle, mask_to_rle_pytorch

    return [coco_encode_rle(rle)["counts"] for rle in mask_to_rle_pytorch(torch.from_numpy(masks))]


def segmill_rle(masks: NDArray[np.bool_], boxes: list[Box]) -> list[str]:
    """Encode masks one by one."""
    return [
        runs_to_rle(mask_to_runs(mask, box)).decode()
        for mask, box in zip(masks, boxes, strict=True)
    ]


def sam2_cleanup(masks: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Fill holes and remove islands as sam2's code, which comes from SAM 1, does."""
    from sam2.utils.amg import remove_small_regions as remove

    return [
        remove(remove(mask, MIN_REGION_PX, mode="holes")[0], MIN_REGION_PX, mode="islands")[0]
        for mask in masks
    ]


def segmill_cleanup(masks: NDArray[np.bool_], boxes: list[Box]) -> NDArray[np.bool_]:
    """Fill holes and remove islands as SegMill does, of copies: it works in place."""
    copies = _COPIES[: len(masks)]
    for copy, mask, box in zip(copies, masks, boxes, strict=True):
        np.copyto(copy, mask)
        remove_small_regions(copy, MIN_REGION_PX, box)
    return copies


def boxes_of(masks: NDArray[np.bool_]) -> list[Box]:
    """The smallest box (x, y, width, height) around each mask."""
    found = (cv2.boundingRect(mask.view(np.uint8)) for mask in masks)
    return [(x, y, width, height) for x, y, width, height in found]


def speckled(seed: int, count: int) -> NDArray[np.bool_]:
    """Masks with small holes and islands in a part of the page."""
    random = np.random.default_rng(seed)
    masks = np.zeros((count, HEIGHT, WIDTH), np.bool_)
    for mask in masks:
        height, width = random.integers(40, 500, 2)
        y, x = random.integers(0, (HEIGHT - height, WIDTH - width))
        coarse = random.normal(size=(height // 8 + 2, width // 8 + 2)).astype(np.float32)
        mask[y : y + height, x : x + width] = cv2.resize(coarse, (width, height)) > -0.8
    return masks


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    given = answers(options.seed)
    (sam2_s, records), (segmill_s, masks) = in_turns(
        options.rounds, lambda: sam2_stage(*given), lambda: segmill_stage(*given)
    )
    smooth = np.stack([rle_to_mask(mask.rle, HEIGHT, WIDTH) for mask in masks])
    smooth_boxes = boxes_of(smooth)
    (sam2_rle_s, expected), (segmill_rle_s, found) = in_turns(
        options.rounds,
        lambda: sam2_rle(smooth),
        lambda: segmill_rle(smooth, smooth_boxes),
    )
    spots = speckled(options.seed, SPECKLED)
    boxes = boxes_of(spots)
    (sam2_clean_s, clean), (segmill_clean_s, ours) = in_turns(
        options.rounds, lambda: sam2_cleanup(spots), lambda: segmill_cleanup(spots, boxes)
    )
    metrics = {
        "speedup": sam2_s / segmill_s,
        "rle_mismatches": _differing(records, masks)
        + sum(a != b for a, b in zip(expected, found, strict=True)),
        "rle_speedup": sam2_rle_s / segmill_rle_s,
        "cleanup_speedup": sam2_clean_s / segmill_clean_s,
        "cleanup_mismatches": sum(
            not np.array_equal(a, b) for a, b in zip(clean, ours, strict=True)
        ),
        "sam2_s": sam2_s,
        "segmill_s": segmill_s,
        "passed_rating": int((given[1] > PARAMS.pred_iou_thresh).sum()),
        "masks_kept": len(records),
        "rle_ms": 1000 * segmill_rle_s / len(smooth),
        "cleanup_ms": 1000 * segmill_clean_s / len(spots),
    }
    method = (
        f"{given[1].numel()} candidates of {WIDTH} x {HEIGHT} px from stored answers (seed "
        f"{options.seed}); RLE of the {len(smooth)} masks kept; clean-up of {len(spots)} speckled "
        f"ones, {spots.mean():.1%} of the page on average; one thread, in turns, median of "
        f"{options.rounds}"
    )
    packages = ["torch", "torchvision", "numpy", "opencv-python-headless"]
    write_record("postprocess", metrics, method, packages, options.json)


def _differing(records: list[dict[str, Any]], masks: list[Mask]) -> int:
    """Masks that differ from sam2's in anything; sam2's boxes end with the last pixel."""
    theirs = {
        (
            record["segmentation"]["counts"],
            tuple(record["bbox"][:2] + [side + 1 for side in record["bbox"][2:]]),
            record["predicted_iou"],
            record["stability_score"],
            record["area"],
        )
        for record in records
    }
    ours = {
        (
            mask.rle.decode(),
            mask.bbox_xywh,
            mask.predicted_iou,
            mask.stability_score,
            mask.area_px,
        )
        for mask in masks
    }
    return len(theirs ^ ours)


if __name__ == "__main__":
    main()
