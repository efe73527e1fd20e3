"""segmill predict by clicks, boxes and masks: files, scores, and what is refused."""

import json

import cv2
import pytest
from pycocotools import mask as coco_mask

from examples.comics import write_drop
from vision.masks import png_to_mask


@pytest.fixture
def page(tmp_path):
    """The name of an image of 128 px."""
    write_drop(tmp_path / "pages", [11], size_px=128)
    (image,) = (tmp_path / "pages" / "images").iterdir()
    return image.relative_to(tmp_path)


def test_each_object_gets_masks_a_picture_and_results(command, page, tmp_path):
    told = command(
        "predict", "--image", page, "--model", "demo", "--output-dir", "out",
        "--points", "40,40", "--points", "30,30 60,80,0", "--json",
    )  # fmt: skip
    assert told.code == 0, told.err
    answer = told.json()
    assert answer["model_id"].startswith("demo-")
    found = json.loads((tmp_path / answer["results"]).read_text())
    assert found == answer["masks"]
    assert [(item["object"], item["rank"]) for item in found] == [(1, 1), (1, 2), (1, 3), (2, 1)]
    assert found[0]["score"] >= found[1]["score"] >= found[2]["score"]
    for item in found:
        mask = png_to_mask((tmp_path / "out" / item["mask_file"]).read_bytes())
        counts = item["segmentation"] | {"counts": item["segmentation"]["counts"].encode()}
        assert (coco_mask.decode(counts) == mask).all()
        assert coco_mask.toBbox(counts).tolist() == item["bbox"]
        assert coco_mask.area(counts) == item["area"] == mask.sum()
    assert cv2.imread(str(tmp_path / answer["overlay"])).shape[:2] == mask.shape
    # A mask that was answered may be asked with.
    first = f"out/{found[0]['mask_file']}"
    again = command("predict", "--image", page, "--mask", first, "--multimask", "--output-dir", "o")
    assert again.code == 0, again.err
    assert "3 masks of 1 object" in again.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--points", "4"], "expected clicks as X,Y (or X,Y,0 beside the object), but got '4'"),
        (["--points", "4,5,2"], "but got '4,5,2'"),
        (["--points", " "], "--points has no click"),
        (["--points", "999,4"], "is outside of the image"),
        (["--boxes", "1,2,3"], "expected a box as LEFT,TOP,RIGHT,BOTTOM, but got '1,2,3'"),
        (["--boxes", "9,9,3,3"], "expected a box as left,top,right,bottom"),
        (["--points", "4,4", "--points", "5,5", "--boxes", "1,1,9,9"], "as many of each"),
        (["--multimask"], "are of clicks, boxes and masks"),
        (["--points", "4,4", "--dir", "pages/images"], "are of one --image"),
        (["--mask", "pages/annotations.json"], "expected a mask as PNG"),
        (["--points", "4,4", "--labels", "nope.yaml"], "are of whole images"),
        (["--boxes", "1,1,9,9", "--clip-model", "demo"], "are of whole images"),
        (["--points", "4,4", "--preset", "fast"], "are of whole images"),
    ],
)
def test_prompts_that_make_no_sense_are_wrong_use(command, page, arguments, told):
    found = command(
        "predict", "--image", page, "--model", "demo", "--output-dir", "out", *arguments
    )
    assert found.code == 2, found.err
    assert told in found.err
