"""Drops for tests: pictures of coloured boxes on white, with COCO annotations that fit them."""

import json
from pathlib import Path

import cv2
import numpy as np

RED, GREEN, BLUE, GRAY = (220, 30, 30), (30, 220, 30), (30, 30, 220), (90, 90, 90)


def box_picture(boxes, width=64, height=48):
    """An RGB picture with filled boxes ((x, y, w, h), color)."""
    rgb = np.full((height, width, 3), 255, np.uint8)
    for (x, y, w, h), color in boxes:
        rgb[y : y + h, x : x + w] = color
    return rgb


def write_picture(path: Path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), rgb[..., ::-1])


def box_polygon(box):
    x, y, w, h = box
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def write_box_drop(folder: Path, pictures, *, done=True, split=None):
    """Write pictures, each a list of ((x, y, w, h), color), and one annotation a box.

    A split that is named is that of all of them.
    """
    images, annotations = [], []
    for number, boxes in enumerate(pictures, start=1):
        name = f"images/p{number}.png"
        rgb = box_picture(boxes)
        write_picture(folder / name, rgb)
        images.append(
            {"id": number, "file_name": name, "width": rgb.shape[1], "height": rgb.shape[0]}
            | ({} if split is None else {"split": split})
        )
        for box, _ in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "segmentation": [box_polygon(box)],
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "box"}],
    }
    write_document(folder, document)
    if done:
        (folder / "_DONE").touch()
    return document


def write_document(folder: Path, document):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "annotations.json").write_text(json.dumps(document))


def hold_back(folder, images):
    """Name the last images of a drop's document as those of the split val."""
    path = folder / "annotations.json"
    document = json.loads(path.read_text())
    for image in document["images"]:
        image["split"] = "train"
    for image in document["images"][-images:]:
        image["split"] = "val"
    path.write_text(json.dumps(document))
