"""Mask files in a drop are masks, and never images."""

import cv2
import numpy as np
import pytest

from tests.drops import RED, box_picture, write_document, write_picture
from tests.exports import read_back
from vision.masks import mask_to_png

BOX = (4, 4, 10, 8)
MASK = np.zeros((48, 64), bool)
MASK[4:12, 4:14] = True


def entry(**overrides):
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": list(BOX)} | overrides


def write_comic(folder, mask_name="masks/train/1.png", image_name="images/train/1.png", **files):
    write_picture(folder / image_name, box_picture([(BOX, RED)]))
    for name, data in ({mask_name: mask_to_png(MASK)} | files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    document = {
        "images": [
            {"id": 1, "file_name": image_name, "width": 64, "height": 48, "split": "val"},
        ],
        "annotations": [entry(segmentation_file=mask_name)],
        "categories": [{"id": 1, "name": "panel"}],
    }
    write_document(folder, document)
    return document


def rules(content):
    return [(found.rule, found.pointer) for found in content.findings]


def test_a_mask_file_is_read_and_is_no_image(tmp_path):
    write_comic(tmp_path)
    content = read_back(tmp_path)
    assert rules(content) == []
    assert content.notes == []
    ((image, annotation),) = content.annotations
    assert (image.file_name, image.split) == ("images/train/1.png", "val")
    assert annotation.area_px == 80
    assert len(content.images) == 1


@pytest.mark.parametrize("place", ["1.png", "train/1.png", "deep/masks/train/1.png"])
def test_a_mask_is_found_by_the_end_of_its_path(tmp_path, place):
    write_comic(tmp_path, image_name="page.png")
    (tmp_path / "masks/train/1.png").rename(tmp_path / "mask.tmp")
    target = tmp_path / "other" / place
    target.parent.mkdir(parents=True)
    (tmp_path / "mask.tmp").rename(target)
    path = tmp_path / "annotations.json"
    path.write_text(path.read_text().replace("masks/train/1.png", place))
    content = read_back(tmp_path)
    assert rules(content) == []
    assert (len(content.images), len(content.annotations)) == (1, 1)


def test_a_file_that_is_both_image_and_mask_is_an_image(tmp_path):
    document = write_comic(tmp_path)
    document["annotations"][0]["segmentation_file"] = "images/train/1.png"
    write_document(tmp_path, document)
    content = read_back(tmp_path)
    assert rules(content) == [("mask_png.mode", "/annotations/0/segmentation_file")]
    assert len(content.images) == 2  # the mask that nothing names is a picture like any other


def test_a_mask_that_is_missing_costs_its_annotation(tmp_path):
    write_comic(tmp_path)
    (tmp_path / "masks/train/1.png").unlink()
    content = read_back(tmp_path)
    assert rules(content) == [("mask_file.missing", "/annotations/0/segmentation_file")]
    assert len(content.images) == 1


def test_a_mask_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.drop_annotations.MAX_FILE_BYTES", 50)
    write_comic(tmp_path)
    assert rules(read_back(tmp_path)) == [
        ("mask_file.too_large", "/annotations/0/segmentation_file")
    ]


def test_a_path_out_of_the_drop_refuses_it(tmp_path):
    write_comic(tmp_path / "drop")
    cv2.imwrite(str(tmp_path / "outside.png"), MASK.astype(np.uint8) * 255)
    path = tmp_path / "drop" / "annotations.json"
    path.write_text(path.read_text().replace("masks/train/1.png", "../outside.png"))
    content = read_back(tmp_path / "drop")
    assert content.rejected
    assert rules(content) == [("path.parent", "/annotations/0/segmentation_file")]


@pytest.mark.parametrize("text", ['{"segmentation_file": ', "[]", '{"annotations": {"a": 1}}'])
def test_a_broken_document_names_no_masks_and_is_refused(tmp_path, text):
    write_comic(tmp_path)
    (tmp_path / "annotations.json").write_text(text)
    assert read_back(tmp_path).rejected
