import json

import pytest

from tasks.exports.dataset import export_dataset
from tasks.exports.sa1b import Sa1bFormat
from tasks.exports.selection import Selection
from tests.exports import (
    masks_of_drop,
    masks_of_pages,
    read_back,
    relabelled,
)
from vision.coco.sa1b import CATEGORY


@pytest.mark.parametrize("source", ["annotations", "segments"])
def test_an_export_is_a_drop_with_the_same_masks(root, pages, tmp_path, source):
    output = tmp_path / "out"
    summary = export_dataset(root.lake, root.store, output, Sa1bFormat(), Selection(source))
    content = read_back(output)
    assert (content.findings, content.notes) == ([], [])
    names = dict.fromkeys((drawn.label for page in pages for drawn in page.drawn), CATEGORY)
    expected = relabelled(masks_of_pages(root, pages, crowds=False), names)
    assert masks_of_drop(content) == expected
    assert summary.limits == ({"crowds_not_marked": 1} if source == "annotations" else {})


def test_the_files_have_the_form_of_sa_1b(root, tmp_path):
    export_dataset(root.lake, root.store, tmp_path / "out", Sa1bFormat(), Selection())
    names = sorted(path.name for path in (tmp_path / "out").glob("[!.]*"))
    assert names == ["sa_1.json", "sa_1.png", "sa_2.json", "sa_2.png"]
    documents = [json.loads((tmp_path / "out" / f"sa_{n}.json").read_text()) for n in (1, 2)]
    ids = [entry["id"] for document in documents for entry in document["annotations"]]
    assert ids == list(range(1, 8))
    image = documents[0]["image"]
    assert image == {
        "image_id": 1,
        "width": image["width"],
        "height": image["height"],
        "file_name": "sa_1.png",
    }
    for document in documents:
        for entry in document["annotations"]:
            assert entry["segmentation"]["size"] == [
                document["image"]["height"],
                document["image"]["width"],
            ]
            assert set(entry) == {
                *("id", "segmentation", "bbox", "area", "predicted_iou", "stability_score"),
                *("crop_box", "point_coords"),
            }
            assert (entry["predicted_iou"], entry["stability_score"]) == (0.875, 0.9375)
            assert entry["point_coords"] == [[3, 4]]
            assert entry["crop_box"][2:] == [
                document["image"]["width"],
                document["image"]["height"],
            ]


def test_what_an_annotation_cannot_know_is_null(root, tmp_path):
    chosen = Selection(source="annotations", split="val")
    export_dataset(root.lake, root.store, tmp_path / "out", Sa1bFormat(), chosen)
    (entry, *_) = json.loads((tmp_path / "out" / "sa_1.json").read_text())["annotations"]
    assert (entry["predicted_iou"], entry["point_coords"]) == (None, [])
    assert entry["crop_box"] == [0, 0, 33, 25]
