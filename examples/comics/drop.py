"""Writes generated pages as a drop: images, one COCO document, and ``_DONE`` last."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from examples.comics.page import CATEGORIES, ArtStyle, PageObject, generate_page

BROKEN_IMAGE = "images/page_broken.jpg"


@dataclass(frozen=True)
class WrittenDrop:
    """What ``write_drop`` wrote, as counts; the broken image and annotation are included."""

    images: int
    annotations: int


def write_drop(
    folder: Path,
    seeds: Sequence[int],
    *,
    broken: bool = False,
    size_px: int = 512,
    style: ArtStyle = "pen",
) -> WrittenDrop:
    """Write the pages of some seeds with their annotations.

    The images take turns between PNG and JPEG. The annotations use every form COCO has: polygons
    of one and of several parts, compressed and uncompressed run lengths, and ``iscrowd`` where a
    page shows a crowd. Same seeds, same bytes.

    Args:
        folder: made if missing; files of the same names are replaced.
        seeds: one page each.
        broken: also add a JPEG that ends halfway, listed in the document, and an annotation whose
            polygon has an odd number of coordinates, for showing how bad input is met.
        size_px: length of the longer side of the pages.
        style: how they are drawn.

    Returns:
        How much was written.

    Raises:
        ValueError: there are no seeds, or no such style.
    """
    if not seeds:
        raise ValueError("a drop needs at least one seed")
    done = folder / "_DONE"
    done.unlink(missing_ok=True)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, seed in enumerate(seeds, start=1):
        page = generate_page(seed, size_px, style)
        name = f"images/page_{number:04d}.{'png' if number % 2 else 'jpg'}"
        (folder / name).write_bytes(_encode(page.image, name))
        images.append(_image_entry(number, name, page.image.shape))
        for thing in page.objects:
            annotations.append(_annotation_entry(len(annotations) + 1, number, thing))
    if broken:
        page = generate_page(seeds[0], size_px, style)
        whole = _encode(page.image, BROKEN_IMAGE)
        (folder / BROKEN_IMAGE).write_bytes(whole[: len(whole) // 2])
        images.append(_image_entry(len(images) + 1, BROKEN_IMAGE, page.image.shape))
        annotations.append(_odd_annotation(len(annotations) + 1))
    document = {
        "info": {"description": "Generated comic pages", "version": "1"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(CATEGORIES, start=1)],
    }
    text = json.dumps(document, separators=(",", ":"))
    (folder / "annotations.json").write_text(text, encoding="utf-8")
    # written last: a drop counts as complete when this is there
    done.write_bytes(b"")
    return WrittenDrop(len(images), len(annotations))


def _encode(image: NDArray[np.uint8], name: str) -> bytes:
    suffix = Path(name).suffix
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix == ".jpg" else []
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), quality)
    if not ok:
        raise OSError(f"OpenCV could not encode {name}")
    return bytes(data)


def _image_entry(number: int, name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": shape[1], "height": shape[0]}


def _annotation_entry(number: int, image: int, thing: PageObject) -> dict[str, Any]:
    runs = coco_mask.encode(np.asfortranarray(thing.mask.view(np.uint8)))
    segmentation: Any
    if thing.iscrowd or (thing.polygons is None and number % 2):
        segmentation = {"counts": run_lengths(thing.mask), "size": list(thing.mask.shape)}
    elif thing.polygons is None:
        segmentation = {"counts": runs["counts"].decode("ascii"), "size": list(thing.mask.shape)}
    else:
        segmentation = thing.polygons
    return {
        "id": number,
        "image_id": image,
        "category_id": CATEGORIES.index(thing.category) + 1,
        "segmentation": segmentation,
        "area": int(coco_mask.area(runs)),
        "bbox": [float(value) for value in coco_mask.toBbox(runs)],
        "iscrowd": int(thing.iscrowd),
    }


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Return uncompressed COCO counts: column by column, the first run counts background."""
    columns = mask.ravel(order="F")
    edges = np.flatnonzero(columns[1:] != columns[:-1]) + 1
    lengths: list[int] = np.diff(np.concatenate([[0], edges, [columns.size]])).tolist()
    return [0, *lengths] if columns[0] else lengths


def _odd_annotation(number: int) -> dict[str, Any]:
    """Return an annotation of the first image whose last y coordinate is missing."""
    return {
        "id": number,
        "image_id": 1,
        "category_id": 1,
        "segmentation": [[10.0, 10.0, 90.0, 10.0, 90.0, 90.0, 10.0]],
        "area": 3200,
        "bbox": [10.0, 10.0, 80.0, 80.0],
        "iscrowd": 0,
    }
