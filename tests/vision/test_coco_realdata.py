"""Real annotations give the masks that pycocotools gives."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from pycocotools import mask as coco_mask

from vision.coco import check_document
from vision.images import decode_image

REAL = Path(os.environ.get("SEGMILL_REAL_DATA", "no-real-data"))

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(
        not (REAL / "coco_sample").is_dir(), reason="SEGMILL_REAL_DATA names no folder"
    ),
]


def test_coco_photos_and_their_annotations_are_all_usable():
    folder = REAL / "coco_sample"
    data = (folder / "annotations.json").read_bytes()
    decoded = {f.name: decode_image(f.read_bytes()) for f in (folder / "images").iterdir()}
    sizes = {name: (image.width_px, image.height_px) for name, image in decoded.items()}
    result = check_document(data, "annotations.json", sizes=sizes)

    assert {f.verdict for f in result.findings} <= {"note"}
    assert (len(result.images), len(result.annotations)) == (19, 165)
    kinds = Counter(a.segmentation_kind for a in result.annotations)
    assert kinds == {"polygon": 164, "uncompressed_rle": 1}
    raw = {entry["id"]: entry for entry in json.loads(data)["annotations"]}
    images = {image.id: image for image in result.images}
    for annotation in result.annotations:
        image = images[annotation.image_id]
        entry = raw[annotation.id]
        expected = coco_mask.frPyObjects(entry["segmentation"], image.height, image.width)
        if isinstance(expected, list):
            expected = coco_mask.merge(expected)
        assert annotation.rle == expected["counts"]
        assert annotation.area_px == coco_mask.area(expected)
        assert list(annotation.bbox_xywh) == coco_mask.toBbox(expected).tolist()


def test_panoptic_segments_as_compressed_masks_keep_their_stated_area():
    file = REAL / "panopticapi" / "panoptic_coco_detection_format.json"
    data = file.read_bytes()
    result = check_document(data, file.name)
    assert {f.verdict for f in result.findings} <= {"note"}
    assert len(result.annotations) == 50
    raw = {entry["id"]: entry for entry in json.loads(data)["annotations"]}
    assert all(a.area_px == raw[a.id]["area"] for a in result.annotations)


def test_panoptic_pngs_give_the_masks_of_the_same_segments():
    folder = REAL / "panopticapi"
    file = folder / "panoptic_examples.json"
    pngs = folder / "panoptic_examples"
    result = check_document(
        file.read_bytes(), file.name, read_file=lambda name: (pngs / name).read_bytes()
    )
    assert result.findings == []
    compressed = folder / "panoptic_coco_detection_format.json"
    other = check_document(compressed.read_bytes(), compressed.name)
    assert sorted(a.rle for a in result.annotations) == sorted(a.rle for a in other.annotations)


def test_boxes_without_masks_are_all_reported():
    file = REAL / "sahi" / "visdrone2019-det-train-first50image.json"
    result = check_document(file.read_bytes(), file.name)
    assert result.annotations == []
    assert Counter(f.rule for f in result.findings) == {"segmentation.empty": 3326}
