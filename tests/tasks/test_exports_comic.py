import json

import cv2
import numpy as np
import pytest

from tasks.exports.comic import ComicFormat
from tasks.exports.dataset import export_dataset
from tasks.exports.entries import split_folder
from tasks.exports.selection import Selection
from tests.exports import (
    Drawn,
    Page,
    box,
    fill,
    masks_of_drop,
    masks_of_pages,
    read_back,
)

ANNOTATIONS = Selection(source="annotations")


@pytest.mark.parametrize("bit_depth", [1, 8])
@pytest.mark.parametrize("inside", [False, True])
def test_an_export_is_a_drop_with_the_same_masks(root, pages, tmp_path, bit_depth, inside):
    output = tmp_path / "out"
    summary = export_dataset(root.lake, root.store, output, ComicFormat(bit_depth), ANNOTATIONS)
    content = read_back(output / "data" if inside else output)
    assert (content.findings, content.notes) == ([], [])
    assert masks_of_drop(content) == masks_of_pages(root, pages)
    assert {image.split for image in content.images.values()} == {"train", "val"}
    assert (summary.images, summary.objects) == (2, 7)


def test_the_layout_is_that_of_the_comic_fine_tuning(root, tmp_path):
    export_dataset(root.lake, root.store, tmp_path / "out", ComicFormat(), ANNOTATIONS)
    data = tmp_path / "out" / "data"
    document = json.loads((data / "annotations.json").read_text())
    assert {image["split"] for image in document["images"]} == {"train", "val"}
    by_id = {image["id"]: image for image in document["images"]}
    for entry in document["annotations"]:
        image = by_id[entry["image_id"]]
        name = f"{image['id']:012d}_{entry['id']:012d}.png"
        assert entry["segmentation_file"] == f"masks/{image['split']}/{name}"
        assert "segmentation" not in entry
        assert image["file_name"] == f"images/{image['split']}/{image['id']:012d}.png"
        assert (data / image["file_name"]).is_file()
        pixels = cv2.imread(str(data / entry["segmentation_file"]), cv2.IMREAD_UNCHANGED)
        assert pixels.shape == (image["height"], image["width"])
        assert set(np.unique(pixels)) <= {0, 255}
        assert (pixels > 127).sum() == entry["area"]


@pytest.mark.parametrize(
    ("split", "folder"),
    [
        ("train", "train"),
        ("train2017", "train"),
        ("val", "val"),
        ("valid", "val"),
        ("Validation", "val"),
        ("test", "test"),
        ("../../up", "up"),
        ("", "x"),
    ],
)
def test_splits_have_safe_folders(split, folder):
    assert split_folder(split) == folder


def test_another_split_has_folders_of_its_own(tmp_path):
    mask = box(6, 8, slice(1, 3), slice(2, 5))
    root = fill(tmp_path / "root", [Page(8, 6, [Drawn(mask, "panel")], split="../test")])
    export_dataset(root.lake, root.store, tmp_path / "out", ComicFormat(), ANNOTATIONS)
    ((image, _),) = read_back(tmp_path / "out").annotations
    assert image.file_name == "images/test/000000000001.png"
