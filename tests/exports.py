"""A root with awkward masks on small images, and what a drop says that was exported from it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from storage.lake import Lake
from storage.objects import ObjectStore, open_store
from tasks.drop_annotations import DropContent, match_documents
from tasks.drop_images import store_images
from tasks.drops import place_of
from tasks.seal_drops import read_drop
from vision.masks import mask_to_rle, rle_area, rle_bbox

NOW = datetime(2026, 5, 4, 2, 0, tzinfo=UTC)
ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Drawn:
    """A mask on an image, with what the tables say of it."""

    mask: np.ndarray
    label: str
    score: float | None = 0.5
    iscrowd: bool = False
    isthing: bool | None = None
    model: str = "demo-1"

    @property
    def rle(self) -> bytes:
        return mask_to_rle(self.mask)


@dataclass(frozen=True)
class Page:
    """An image with its masks; with an orientation the file is a JPEG that lies on its side."""

    width: int
    height: int
    drawn: Sequence[Drawn]
    split: str = "train"
    dataset: str = "comics"
    orientation: int = 1

    def file(self, number: int) -> bytes:
        pixels = np.random.default_rng(number).integers(0, 255, (self.height, self.width, 3))
        pixels = pixels.astype(np.uint8)
        buffer = BytesIO()
        if self.orientation == 1:
            Image.fromarray(pixels).save(buffer, "PNG")
        else:
            exif = Image.Exif()
            exif[ORIENTATION_TAG] = self.orientation
            sideways = pixels.transpose(1, 0, 2) if self.orientation >= 5 else pixels
            Image.fromarray(np.ascontiguousarray(sideways)).save(buffer, "JPEG", exif=exif)
        return buffer.getvalue()


@dataclass(frozen=True)
class Root:
    """A filled root."""

    path: Path
    lake: Lake
    store: ObjectStore
    images: list[str]


def box(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = True
    return mask


def awkward_pages() -> list[Page]:
    """Plain masks, masks with a hole, in parts, joined at corners, crowds, and one pixel."""
    plain = box(30, 40, slice(2, 12), slice(3, 20))
    holed = box(30, 40, slice(14, 28), slice(4, 30))
    holed[18:22, 10:16] = False
    parts = box(30, 40, slice(0, 3), slice(30, 40)) | box(30, 40, slice(20, 30), slice(35, 40))
    diagonal = np.zeros((30, 40), bool)
    diagonal[range(5, 12), range(22, 29)] = True
    noise = np.random.default_rng(5).random((25, 33)) < 0.5
    dot = box(25, 33, slice(24, 25), slice(32, 33))
    whole = np.ones((25, 33), bool)
    return [
        Page(
            40,
            30,
            [
                Drawn(plain, "panel", 0.9),
                Drawn(holed, "bubble", 0.8),
                Drawn(parts, "panel", 0.3),
                Drawn(diagonal, "漫画 / text", None),
            ],
        ),
        Page(
            33,
            25,
            [
                Drawn(noise, "bubble", 0.6, iscrowd=True),
                Drawn(dot, "panel", 0.7),
                Drawn(whole, "sky", 0.4, isthing=False),
            ],
            split="val",
        ),
        Page(20, 16, [], dataset="street"),
    ]


def fill(path: Path, pages: Sequence[Page]) -> Root:
    """Write pages as images, and their masks both as annotations and as segments."""
    lake, store = Lake.open(str(path)), open_store(str(path))
    images, annotations, segments, ids = [], [], [], []
    for number, page in enumerate(pages, start=1):
        data = page.file(number)
        image_id = hashlib.sha256(data).hexdigest()
        key = f"images/{image_id[:2]}/{image_id}.{'png' if page.orientation == 1 else 'jpg'}"
        store.write(key, data)
        ids.append(image_id)
        images.append(
            {
                "image_id": image_id,
                "dataset": page.dataset,
                "source_id": str(number),
                "file_name": f"pages/{number}.png",
                "uri": key,
                "width_px": page.width,
                "height_px": page.height,
                "exif_orientation": page.orientation,
                "split": page.split,
                "drop_id": "drop",
                "ingested_at": NOW,
            }
        )
        for drawn in page.drawn:
            both = {
                "image_id": image_id,
                "bbox_xywh": list(map(float, rle_bbox(drawn.rle, page.height, page.width))),
                "area_px": rle_area(drawn.rle),
                "rle": drawn.rle.decode(),
            }
            annotations.append(
                both
                | {
                    "dataset": page.dataset,
                    "annotation_id": str(len(annotations) + 1),
                    "category": drawn.label,
                    "iscrowd": drawn.iscrowd,
                    "source": "coco",
                }
            )
            segments.append(
                both
                | {
                    "segment_id": hashlib.sha256(str(len(segments)).encode()).hexdigest(),
                    "source": "automatic",
                    "model_id": drawn.model,
                    "params_id": "params",
                    "label_set_id": "labels",
                    "label": drawn.label,
                    "score": drawn.score,
                    "top": [],
                    "isthing": drawn.isthing,
                    "predicted_iou": 0.875,
                    "stability_score": 0.9375,
                    "point_xy": [3.0, 4.0],
                    "crop_box_xywh": [0.0, 0.0, float(page.width), float(page.height)],
                    "created_at": NOW,
                }
            )
    lake.append("images", images, "ingest")
    lake.append("annotations", annotations, "ingest")
    lake.commit_unit(stage="ingest", unit_id="ingest", subject="drop", inputs=1, outputs=1)
    for model in sorted({row["model_id"] for row in segments} or {"demo-1"}):
        unit = f"segment-{model}"
        lake.append("segments", [row for row in segments if row["model_id"] == model], unit)
        lake.commit_unit(
            stage="segment",
            unit_id=unit,
            subject="batch",
            inputs=len(ids),
            outputs=len(segments),
            image_ids=ids,
            model_id=model,
            params_id="params",
            label_set_id="labels",
        )
    return Root(path, lake, store, ids)


def read_back(folder: Path) -> DropContent:
    """Read an export as a drop, the way `segmill ingest` and `segmill check` do."""
    drop = read_drop(place_of(str(folder), "default"))
    source = open_store(drop.place.root)
    images = store_images(source, None, drop, max_px=10**8, max_bytes=10**8)
    return match_documents(source, drop, images, max_bytes=10**8)


Masks = dict[str, list[tuple[str, bool, bytes]]]


def masks_of_drop(content: DropContent) -> Masks:
    """Category, crowd flag and mask of every annotation, by the hash of the image's bytes."""
    found: Masks = {image.stored.image_id: [] for image in content.images.values()}
    for image, annotation in content.annotations:
        entry = (annotation.category, annotation.iscrowd, annotation.rle)
        found[image.stored.image_id].append(entry)
    return {image_id: sorted(masks) for image_id, masks in found.items()}


def masks_of_pages(root: Root, pages: Sequence[Page], crowds: bool = True) -> Masks:
    """What `masks_of_drop` should answer, for the pages that have masks."""
    return {
        image_id: sorted((d.label, crowds and d.iscrowd, d.rle) for d in page.drawn)
        for image_id, page in zip(root.images, pages, strict=True)
        if page.drawn
    }


def relabelled(masks: Masks, names: Mapping[str, str]) -> Masks:
    """The same masks under other category names."""
    return {
        image_id: sorted((names.get(label, label), crowd, rle) for label, crowd, rle in entries)
        for image_id, entries in masks.items()
    }
