import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from storage.lake import Lake
from storage.objects import ObjectStore, open_store
from tests.exports import awkward_pages, fill
from vision.masks.rle import mask_to_rle

NOW = datetime(2026, 5, 4, 2, 0, tzinfo=UTC)
HEIGHT, WIDTH = 60, 80


@dataclass
class Filled:
    """A root with two pages of one dataset, one of another, and their segments."""

    root: str
    lake: Lake
    store: ObjectStore
    images: list[str]


def disc(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def segment_row(number, image_id, label, score, mask, model="demo-1"):
    return {
        "segment_id": hashlib.sha256(f"segment {number}".encode()).hexdigest(),
        "image_id": image_id,
        "source": "automatic",
        "model_id": model,
        "params_id": "params-1",
        "label_set_id": "comic-1",
        "label": label,
        "score": score,
        "top": [],
        "area_px": int(mask.sum()),
        "bbox_xywh": [0.0, 0.0, 1.0, 1.0],
        "created_at": NOW,
        "rle": mask_to_rle(mask).decode(),
    }


@pytest.fixture
def filled(tmp_path) -> Filled:
    root = str(tmp_path / "root")
    lake, store = Lake.open(root), open_store(root)
    images, rows = [], []
    for number in range(3):
        buffer = BytesIO()
        pixels = np.full((HEIGHT, WIDTH, 3), 60 * number + 40, np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        image_id = hashlib.sha256(buffer.getvalue()).hexdigest()
        key = f"images/{image_id[:2]}/{image_id}.png"
        store.write(key, buffer.getvalue())
        images.append(image_id)
        rows.append(
            {
                "image_id": image_id,
                "dataset": "comics" if number < 2 else "street",
                "file_name": f"page_{number}.png",
                "uri": key,
                "width_px": WIDTH,
                "height_px": HEIGHT,
                "exif_orientation": 1,
                "split": "train",
                "drop_id": "drop-1" if number < 2 else "drop-2",
                "ingested_at": NOW,
            }
        )
    refused = {
        "dataset": "comics",
        "drop_id": "drop-1",
        "file": "broken.jpg",
        "pointer": "",
        "rule": "image.truncated",
        "value": "17 bytes",
        "stage": "ingest",
        "at": NOW,
    }
    lake.append("images", rows, "ingest-1")
    lake.append("quarantine", [refused], "ingest-1")
    lake.append(
        "drops",
        [
            {
                "drop_id": "drop-1",
                "dataset": "comics",
                "prefix": "inbox/a/",
                "sealed_at": NOW,
                "objects": 3,
                "bytes": 10,
                "files": [],
            }
        ],
        "drop-1",
    )
    lake.commit_unit(stage="ingest", unit_id="ingest-1", subject="drop-1", inputs=4, outputs=3)
    first, second, third = images
    segments = [
        segment_row(1, first, "bubble", 0.9, disc(20, 20, 10)),
        segment_row(2, first, "bubble", 0.7, disc(60, 40, 12)),
        segment_row(3, second, "speech / text", 0.8, disc(30, 30, 5)),
        segment_row(4, second, "unknown", 0.2, disc(50, 20, 6)),
        segment_row(5, third, "bubble", None, disc(40, 30, 8)),
    ]
    lake.append("segments", segments, "segment-1")
    lake.commit_unit(
        stage="segment",
        unit_id="segment-1",
        subject="3 images",
        inputs=3,
        outputs=len(segments),
        image_ids=images,
        model_id="demo-1",
        params_id="params-1",
        label_set_id="comic-1",
    )
    return Filled(root, lake, store, images)


@pytest.fixture
def pages():
    return awkward_pages()


@pytest.fixture
def root(tmp_path, pages):
    return fill(tmp_path / "root", pages)
