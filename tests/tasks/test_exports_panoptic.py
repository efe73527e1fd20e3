import json

import numpy as np
import pytest
from PIL import Image

from tasks.exports.dataset import export_dataset
from tasks.exports.panoptic import PanopticFormat
from tasks.exports.selection import Selection
from tests.exports import (
    Drawn,
    Page,
    awkward_pages,
    box,
    fill,
    masks_of_drop,
    masks_of_pages,
    read_back,
)
from vision.masks import mask_to_rle

HEIGHT, WIDTH = 20, 24


def rectangle(rows, columns, label="panel", **options):
    return Drawn(box(HEIGHT, WIDTH, rows, columns), label, **options)


def export(tmp_path, pages, form=None, source="annotations"):
    root = fill(tmp_path / "root", pages)
    output = tmp_path / "out"
    form = form or PanopticFormat()
    summary = export_dataset(root.lake, root.store, output, form, Selection(source=source))
    return root, summary, json.loads((output / "panoptic.json").read_text())


def test_masks_that_do_not_overlap_come_back_pixel_for_pixel(tmp_path):
    pages = awkward_pages()
    pages[1] = Page(33, 25, pages[1].drawn[:1], split="val")  # a crowd
    root, summary, _ = export(tmp_path, pages)
    content = read_back(tmp_path / "out")
    assert content.findings == []
    assert masks_of_drop(content) == masks_of_pages(root, pages)
    assert {image.split for image in content.images.values()} == {"train", "val"}
    assert (summary.objects, summary.limits) == (5, {})


def test_the_smaller_mask_hides_the_larger_and_this_is_told(tmp_path):
    large = rectangle(slice(0, 20), slice(0, 24))
    small = rectangle(slice(5, 10), slice(5, 10), "bubble")
    twin = rectangle(slice(5, 10), slice(5, 10), "text")
    _, summary, document = export(tmp_path, [Page(WIDTH, HEIGHT, [small, large, twin])])
    assert summary.limits == {"masks_hidden": 1, "masks_partly_hidden": 1}
    assert summary.objects == 2
    content = read_back(tmp_path / "out")
    assert content.findings == []
    ((_, entries),) = masks_of_drop(content).items()
    shown = {label: rle for label, _, rle in entries}
    assert shown["panel"] == mask_to_rle(large.mask & ~small.mask)
    assert len(shown) == 2
    (annotation,) = document["annotations"]
    with Image.open(tmp_path / "out" / "panoptic" / annotation["file_name"]) as image:
        assert image.mode == "RGB"
        red, green, blue = np.moveaxis(np.asarray(image).astype(int), -1, 0)
    ids = red + 256 * green + 65_536 * blue
    # panopticapi stops at an id that only one of PNG and JSON has.
    assert set(ids.ravel()) - {0} == {info["id"] for info in annotation["segments_info"]}
    for info in annotation["segments_info"]:
        assert (ids == info["id"]).sum() == info["area"]


def test_stuff_is_one_segment_an_image_and_marked_in_the_categories(tmp_path):
    drawn = [
        rectangle(slice(0, 4), slice(0, 24), "sky", isthing=False),
        rectangle(slice(8, 12), slice(0, 24), "sky", isthing=False),
        rectangle(slice(14, 16), slice(0, 5), "grass", isthing=True),
        rectangle(slice(14, 16), slice(9, 12), "grass", isthing=True),
        rectangle(slice(17, 20), slice(0, 5), "panel"),
        rectangle(slice(17, 20), slice(9, 12), "panel", isthing=True),
    ]
    form = PanopticFormat(stuff=["grass"])
    _, _, document = export(tmp_path, [Page(WIDTH, HEIGHT, drawn)], form, "segments")
    kinds = {category["name"]: category["isthing"] for category in document["categories"]}
    assert kinds == {"sky": 0, "grass": 0, "panel": 1}
    names = {category["id"]: category["name"] for category in document["categories"]}
    (annotation,) = document["annotations"]
    segments = sorted(names[info["category_id"]] for info in annotation["segments_info"])
    assert segments == ["grass", "panel", "panel", "sky"]


def test_the_document_has_what_panopticapi_asks_for(tmp_path):
    _, _, document = export(tmp_path, awkward_pages())
    for annotation in document["annotations"]:
        assert annotation["file_name"] == f"{annotation['image_id']:012d}.png"
        for info in annotation["segments_info"]:
            assert {"id", "category_id", "area", "bbox", "iscrowd"} <= set(info)
    for category in document["categories"]:
        assert len(category["color"]) == 3
        assert {"id", "name", "supercategory", "isthing"} <= set(category)
    flags = [
        info["iscrowd"] for entry in document["annotations"] for info in entry["segments_info"]
    ]
    assert sorted(flags) == [0] * (len(flags) - 1) + [1]


@pytest.mark.parametrize("stuff", [(), ("panel",)])
def test_an_image_without_masks_has_an_empty_png(tmp_path, stuff):
    root = fill(tmp_path / "root", awkward_pages())
    chosen = Selection(empty_images=True, dataset="street")
    export_dataset(root.lake, root.store, tmp_path / "out", PanopticFormat(stuff), chosen)
    content = read_back(tmp_path / "out")
    assert (content.findings, len(content.images)) == ([], 1)
