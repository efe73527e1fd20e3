"""COCO documents for tests: a good one, and what may be wrong in it."""

import json
from typing import Any

import numpy as np

from vision.coco import CheckedDocument, check_document
from vision.masks.runs import runs_to_rle

SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]


def coco(**overrides: Any) -> dict[str, Any]:
    """A good document: one 40 x 30 image, one panel."""
    document = {
        "images": [{"id": 1, "file_name": "page.png", "width": 40, "height": 30}],
        "annotations": [annotation()],
        "categories": [{"id": 1, "name": "panel"}],
    }
    return document | overrides


def annotation(**overrides: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "segmentation": [SQUARE],
        "bbox": [10, 10, 10, 10],
        "area": 100,
        "iscrowd": 0,
    } | overrides


def image(**overrides: Any) -> dict[str, Any]:
    return {"id": 2, "file_name": "other.png", "width": 40, "height": 30} | overrides


def check(document: Any, **options: Any) -> CheckedDocument:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return check_document(data, "annotations.json", **options)


def found(result: CheckedDocument) -> list[tuple[str, str]]:
    return [(finding.rule, finding.pointer) for finding in result.findings]


def without(entry: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in entry.items() if k != key}


def compressed(*runs: int) -> str:
    return runs_to_rle(np.array(runs, dtype=np.int64)).decode()


GOOD = json.dumps(coco()).encode()
