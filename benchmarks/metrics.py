"""How long it takes to score masks, beside COCOeval: 100 images with 100 objects and masks each.

    python -m benchmarks.metrics --json FILE

Objects are ellipses of all sizes with wavy edges, masks the same ones shifted and with other waves.
Both sides get compressed RLE and score at 100 and 1000 masks an image and four ranges of area;
COCOeval's side is loading, evaluating and accumulating, without printing a summary. Seconds are of
one process, its own time and not what others took of the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.record import write_record
from vision.masks import polygons_to_rle, rle_area
from vision.metrics import (
    ImageMasks,
    ImageObjects,
    boundary_f,
    label_precision,
    mask_agreement,
    mask_health,
    mask_recall,
    paired_bootstrap,
)
from vision.metrics.clicks import correction_clicks
from vision.metrics.recall import AREAS

HEIGHT, WIDTH = 600, 800
LABELS = ("bubble", "character", "panel", "text")
MAX_MASKS = (100, 1000)


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--masks", type=int, default=100, help="objects and masks an image")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    truth, predicted = scene(options.images, options.masks)
    label_free = [_unlabelled(objects) for objects in truth]
    label_free_masks = [_unlabelled(masks) for masks in predicted]
    # Whoever scores so many masks has loaded the kernels, or does so once.
    mask_recall(label_free, label_free_masks)

    recall_s, recall = seconds(lambda: mask_recall(label_free, label_free_masks, MAX_MASKS))
    coco_recall_s, (_, expected) = seconds(lambda: coco_eval(truth, predicted, MAX_MASKS, False))
    precision_s, precision = seconds(lambda: label_precision(truth, predicted))
    coco_precision_s, (curves, _) = seconds(lambda: coco_eval(truth, predicted, (100,), True))
    theirs = expected.mean(axis=0)[0].T
    ours = [[recall.at(count, area) for area in AREAS] for count in MAX_MASKS]
    health_s, _ = seconds(lambda: mask_health(predicted))
    agreement_s, _ = seconds(lambda: mask_agreement(predicted, predicted[::-1]))
    values = recall.object_recall[0, 0]
    bootstrap_s, _ = seconds(
        lambda: paired_bootstrap(values, values[::-1], recall.image_of_object, seed=0)
    )
    one, other = blob(0), blob(40)
    f_s, _ = seconds(lambda: boundary_f(one, other))
    pair = np.repeat(one[None], 20, axis=0), np.repeat(other[None], 20, axis=0)
    clicks_s, _ = seconds(lambda: correction_clicks(*pair))

    metrics = {
        "recall_seconds": recall_s,
        "cocoeval_recall_seconds": coco_recall_s,
        "recall_speedup": coco_recall_s / recall_s,
        "recall_largest_difference": float(np.abs(np.array(ours) - theirs).max()),
        "precision_seconds": precision_s,
        "cocoeval_precision_seconds": coco_precision_s,
        "precision_speedup": coco_precision_s / precision_s,
        "precision_difference": abs(precision.ap() - float(curves[..., 0, 0].mean())),
        "health_seconds": health_s,
        "agreement_seconds": agreement_s,
        "bootstrap_10000_seconds": bootstrap_s,
        "boundary_f_1080p_milliseconds": f_s * 1000,
        "correction_click_1080p_milliseconds": clicks_s / 20 * 1000,
    }
    method = (
        f"{options.images} images of {WIDTH} x {HEIGHT} px with {options.masks} objects and masks "
        "each; seconds of the process, best of 2; differences are those of AR and AP to COCOeval's"
    )
    write_record("metrics", metrics, method, ["numpy", "pycocotools"], options.json)


def seconds(step: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of this process, the better of two, and the result."""
    taken = []
    for _ in range(2):
        began = time.process_time()
        result = step()
        taken.append(time.process_time() - began)
    return min(taken), result


def blob(shift_px: int) -> NDArray[np.bool_]:
    """A large mask in a frame of 1920 x 1080 px."""
    y, x = np.mgrid[:1080, :1920]
    inside: NDArray[np.bool_] = np.hypot(x - 900 - shift_px, y - 540) + 40 * np.sin(x / 30) < 400
    return inside


def wavy(
    middle_xy: NDArray[np.float64], radii: NDArray[np.float64], rng: np.random.Generator
) -> bytes:
    """An ellipse whose edge is wavy, as RLE."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    waves = 1 + 0.1 * np.sin(5 * angles + rng.uniform(0, 6)) + rng.normal(0, 0.01, 60)
    points = middle_xy + (radii * waves[:, None]) * np.stack([np.cos(angles), np.sin(angles)], 1)
    return polygons_to_rle([points.ravel().tolist()], HEIGHT, WIDTH)


def scene(images: int, masks: int) -> tuple[list[ImageObjects], list[ImageMasks]]:
    """Objects of all sizes, and masks near them."""
    rng = np.random.default_rng(0)
    truth, predicted = [], []
    for image in range(images):
        middles = rng.uniform((60, 60), (WIDTH - 60, HEIGHT - 60), (masks, 2))
        radii = rng.uniform(8, 90, (masks, 2))
        labels = rng.choice(LABELS, masks).tolist()
        shifts = rng.normal(0, 2, (masks, 2))
        rles = [wavy(*each, rng) for each in zip(middles, radii, strict=True)]
        found = [wavy(*each, rng) for each in zip(middles + shifts, radii, strict=True)]
        name = f"{image:04d}"
        scores = rng.random(masks).tolist()
        truth.append(ImageObjects(name, HEIGHT, WIDTH, rles, labels))
        predicted.append(ImageMasks(name, HEIGHT, WIDTH, found, scores, labels))
    return truth, predicted


def coco_eval(
    truth: list[ImageObjects],
    predicted: list[ImageMasks],
    max_masks: tuple[int, ...],
    use_labels: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """COCOeval's arrays of precision and recall."""

    def entries(image: ImageObjects | ImageMasks, number: int) -> list[dict[str, Any]]:
        size = [image.height_px, image.width_px]
        return [
            {
                "image_id": number,
                "category_id": LABELS.index(image.labels[place]) + 1 if use_labels else 1,
                "segmentation": {"size": size, "counts": rle},
            }
            for place, rle in enumerate(image.rles)
        ]

    annotations = [
        entry | {"area": rle_area(entry["segmentation"]["counts"]), "iscrowd": 0}
        for number, image in enumerate(truth)
        for entry in entries(image, number)
    ]
    results = [
        entry | {"score": score}
        for number, image in enumerate(predicted)
        for entry, score in zip(entries(image, number), image.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [
                {"id": number, "height": image.height_px, "width": image.width_px}
                for number, image in enumerate(truth)
            ],
            "annotations": [entry | {"id": i + 1} for i, entry in enumerate(annotations)],
            "categories": [{"id": i + 1, "name": label} for i, label in enumerate(LABELS)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.params.useCats = int(use_labels)
        evaluation.params.maxDets = list(max_masks)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


def _unlabelled(image: Any) -> Any:
    return type(image)(**(vars(image) | {"labels": ()}))


if __name__ == "__main__":
    main()
