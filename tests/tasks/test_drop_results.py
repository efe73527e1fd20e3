"""COCO results beside the document that has their images and categories."""

import json

import pytest

from tests.drops import RED, write_box_drop
from tests.exports import read_back

BOXES = [[((4, 4, 10, 8), RED)], [((20, 8, 6, 6), RED)]]


def result(**overrides):
    return {"image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.25} | overrides


def write(folder, name, content):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def drop(tmp_path):
    write_box_drop(tmp_path, BOXES)
    return tmp_path


def masks(content):
    return [(image.file_name, a.id, a.area_px) for image, a in content.annotations]


BOTH = [("images/p1.png", 1, 80), ("images/p2.png", 2, 36)]


@pytest.mark.parametrize("name", ["results.json", "segm_val_sam_results.json"])
@pytest.mark.parametrize("main", [True, False])
def test_results_belong_to_the_images_of_the_document(drop, name, main):
    if not main:
        (drop / "annotations.json").rename(drop / "z_instances.json")
    write(drop, name, [result(), result(image_id=7)])
    content = read_back(drop)
    found_id = f"{name.removesuffix('.json')}-1"
    assert masks(content) == [*BOTH, ("images/p2.png", found_id, 12)]
    assert [(f.file, f.pointer, f.rule) for f in content.findings] == [
        (name, "/1/image_id", "annotation.image_unknown")
    ]
    assert not content.rejected


@pytest.mark.parametrize(
    "content", [[1, 2], [], {"AP": 0.4}, [{"image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1]}]]
)
def test_other_results_beside_the_document_are_left_alone(drop, content):
    write(drop, "eval_results.json", content)
    assert masks(read_back(drop)) == BOTH


def test_results_that_are_cut_off_are_not_passed_over(drop):
    write(drop, "results.json", '[{"image_id": 1')
    content = read_back(drop)
    assert content.rejected
    assert content.findings[-1].rule == "json.truncated"


def test_a_list_without_images_refuses_the_drop(drop):
    (drop / "annotations.json").unlink()
    write(drop, "results.json", [result()])
    content = read_back(drop)
    assert content.rejected
    assert content.findings[-1].rule == "document.type"
