import json

import pytest

from tests.coco_documents import SQUARE, check, coco, compressed, image
from vision.coco.results import check_results, is_list

RLE = {"size": [30, 40], "counts": compressed(100, 7, 1093)}


def result(**overrides):
    return {"image_id": 1, "category_id": 1, "segmentation": RLE, "score": 0.5} | overrides


def read(*entries, references=None, data=None):
    if references is None:
        references = [check(coco())]
    data = json.dumps(list(entries)).encode() if data is None else data
    return check_results(data, "deep/results.json", references, 10**6)


def found(result):
    return [(finding.rule, finding.pointer) for finding in result.findings]


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"[]", True), (b" \n[", True), (b"\xef\xbb\xbf[", True), (b"{}", False), (b"", False)],
)
def test_lists_are_told_from_documents(data, expected):
    assert is_list(data) is expected


def test_masks_are_those_of_the_images_of_another_document():
    reference = check(coco())
    no_bbox = ("bbox.missing", "/0")
    checked, chosen = read(result(), result(segmentation=[SQUARE]), references=[reference])
    assert chosen is reference
    assert found(checked) == [no_bbox]
    assert [(a.id, a.image_id, a.category, a.area_px, a.pointer) for a in checked.annotations] == [
        ("results-1", 1, "panel", 7, "/0"),
        ("results-2", 1, "panel", 100, "/1"),
    ]


def test_a_box_alone_is_the_mask():
    entry = result(bbox=[2, 3, 4, 5])
    del entry["segmentation"]
    checked, _ = read(entry)
    assert found(checked) == [("result.box_only", "/0")]
    (annotation,) = checked.annotations
    assert (annotation.area_px, annotation.bbox_xywh) == (20, (2, 3, 4, 5))


def test_of_several_documents_the_one_with_the_images_is_meant():
    other = check(coco(images=[image(id=5)], annotations=[]))
    right = check(coco())
    checked, chosen = read(result(), result(image_id=5), result(), references=[other, right])
    assert chosen is other  # it knows as many of them, and comes first
    both = check(coco(images=[image(id=5), image(id=1, file_name="p.png")], annotations=[]))
    checked, chosen = read(result(), result(image_id=5), references=[right, both])
    assert chosen is both
    assert len(checked.annotations) == 2


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (result(image_id=9), ("annotation.image_unknown", "/1/image_id")),
        (result(image_id=None), ("annotation.image_id", "/1/image_id")),
        (result(category_id=9), ("annotation.category_unknown", "/1/category_id")),
        (result(score=float("nan")), ("annotation.not_finite", "/1/score")),
        (result(score="high"), ("annotation.score", "/1/score")),
        (result(segmentation=None), ("segmentation.null", "/1/segmentation")),
        (
            result(segmentation={"size": [30, 40], "counts": "0"}),
            ("rle.short", "/1/segmentation/counts"),
        ),
        (
            {"image_id": 1, "category_id": 1, "bbox": [0, 0, -1, 2], "score": 1},
            ("bbox.negative", "/1/bbox"),
        ),
        ({"image_id": 1, "category_id": 1, "bbox": "box", "score": 1}, ("bbox.type", "/1/bbox")),
    ],
)
def test_what_is_broken_is_set_aside(entry, expected):
    checked, _ = read(result(bbox=[3, 10, 1, 7]), entry)
    findings = [finding for finding in checked.findings if finding.verdict != "note"]
    assert [(finding.rule, finding.pointer) for finding in findings] == [expected]
    assert len(checked.annotations) == 1


def test_an_image_that_was_set_aside_is_named_so():
    reference = check(coco(images=[image(id=1, width=0), image(file_name="p.png")]))
    checked, _ = read(result(), references=[reference])
    assert ("annotation.image_quarantined", "/0/image_id") in found(checked)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"[]", "document.type"),
        (b"[1, 2]", "document.type"),
        (b'[{"image_id": 1, "keypoints": []}]', "document.type"),
        (b'[{"image_id": 77, "category_id": 1, "bbox": [1, 1, 2, 2]}]', "document.type"),
        (b'[{"image_id": 1', "json.truncated"),
        (b'[{"image_id": 1, "image_id": 1, "category_id": 1, "bbox": []}]', "json.duplicate_key"),
    ],
)
def test_a_list_that_is_no_results_is_refused(data, rule):
    checked, _ = read(data=data)
    assert [finding.rule for finding in checked.findings] == [rule]
    assert checked.rejected


def test_without_another_document_results_are_refused():
    checked, _ = read(result(), references=[])
    assert [finding.rule for finding in checked.findings] == ["document.type"]
