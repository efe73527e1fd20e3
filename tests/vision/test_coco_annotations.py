"""The rows of the bad-input matrix that concern one annotation of a COCO file."""

from typing import Any

import numpy as np
import pytest

from tests.coco_documents import SQUARE, annotation, check, coco, compressed, found
from vision.coco.findings import MAX_VALUE_CHARACTERS
from vision.masks import mask_to_rle


@pytest.mark.parametrize(
    ("overrides", "rule", "place"),
    [
        ({"id": None}, "annotation.id", "/id"),
        ({"id": True}, "annotation.id", "/id"),
        ({"id": 1.5}, "annotation.id", "/id"),
        ({"image_id": 99}, "annotation.image_unknown", "/image_id"),
        ({"image_id": None}, "annotation.image_id", "/image_id"),
        ({"category_id": 99}, "annotation.category_unknown", "/category_id"),
        ({"category_id": [1]}, "annotation.category_id", "/category_id"),
        ({"segmentation": None}, "segmentation.null", "/segmentation"),
        ({"segmentation": []}, "segmentation.empty", "/segmentation"),
        ({"segmentation": "x"}, "segmentation.type", "/segmentation"),
        ({"segmentation": [[]]}, "polygon.too_short", "/segmentation/0"),
        ({"segmentation": [[1, 2, 3, 4]]}, "polygon.too_short", "/segmentation/0"),
        ({"segmentation": [SQUARE, [*SQUARE, 1]]}, "polygon.odd", "/segmentation/1"),
        ({"segmentation": [*SQUARE, 1]}, "polygon.odd", "/segmentation"),
        ({"segmentation": [[1, 2, "3", 4, 5, 6]]}, "polygon.value_type", "/segmentation/0/2"),
        ({"segmentation": [[1, 2, 2e8, 4, 5, 6]]}, "polygon.too_far", "/segmentation/0/2"),
        ({"segmentation": [[1.0, 2.0] * 10**6]}, "polygon.too_many_vertices", "/segmentation/0"),
        ({"segmentation": [SQUARE] * 10_000}, "polygon.too_many_parts", "/segmentation"),
        ({"segmentation": [[50, 1, 60, 1, 60, 9]]}, "polygon.outside", "/segmentation"),
        ({"segmentation": [[1, 1, 5, 1, 9, 1]]}, "polygon.zero_area", "/segmentation"),
        ({"bbox": [10, 10, -1, 10]}, "bbox.negative", "/bbox"),
        ({"bbox": [10, 10]}, "bbox.type", "/bbox"),
        ({"bbox": "10 10 10 10"}, "bbox.type", "/bbox"),
        ({"iscrowd": 2}, "annotation.iscrowd", "/iscrowd"),
        ({"iscrowd": None}, "annotation.iscrowd", "/iscrowd"),
        ({"score": "high"}, "annotation.score", "/score"),
        ({"score": float("nan")}, "annotation.not_finite", "/score"),
        ({"extra": [float("inf")]}, "annotation.not_finite", "/extra/0"),
        (
            {"segmentation": [[1, 2, float("nan"), 4, 5, 6]]},
            "annotation.not_finite",
            "/segmentation/0/2",
        ),
    ],
)
def test_a_bad_annotation_is_set_aside_with_its_pointer(
    overrides: dict[str, Any], rule: str, place: str
):
    bad = annotation(**{"id": 2} | overrides)
    result = check(coco(annotations=[annotation(), bad]))
    problems = [f for f in result.findings if f.verdict != "note"]
    assert [(f.rule, f.pointer) for f in problems] == [(rule, f"/annotations/1{place}")]
    assert problems[0].verdict == "annotation"
    assert len(problems[0].value) <= MAX_VALUE_CHARACTERS
    assert [a.id for a in result.annotations] == [1]


@pytest.mark.parametrize(
    ("size", "counts", "rule", "field"),
    [
        ([30, 40], [600, 599], "rle.short", "counts"),
        ([30, 40], [600, 601], "rle.long", "counts"),
        ([30, 40], compressed(600, 599), "rle.short", "counts"),
        ([30, 40], "o", "rle.unterminated", "counts"),
        ([30, 40], "~~", "rle.byte", "counts"),
        ([30, 40], [1300, -100], "rle.negative", "counts"),
        ([30, 40], [2**33], "rle.count_too_large", "counts"),
        ([30, 40], [1200.0], "rle.count_type", "counts"),
        ([30, 40], [600, None], "rle.count_type", "counts"),
        ([30, 40], [0] * 1300, "rle.too_many_runs", "counts"),
        ([30, 40], [], "rle.empty", "counts"),
        ([30, 40], 7, "rle.counts", "counts"),
        ([30, 40], [1200], "rle.empty_mask", ""),
        ([40, 30], [600, 600], "rle.size_swapped", "size"),
        ([31, 40], [640, 600], "rle.size_mismatch", "size"),
        ([0, 40], [0], "rle.size", "size"),
        ([30.0, 40], [600, 600], "rle.size", "size"),
        ([2**32 + 2, 40], [600, 600], "rle.too_large", "size"),
        ([65536, 65536], [600, 600], "rle.too_large", "size"),
    ],
)
def test_bad_rle_is_set_aside_with_its_pointer(size: Any, counts: Any, rule: str, field: str):
    bad = annotation(id=2, iscrowd=1, segmentation={"size": size, "counts": counts})
    result = check(coco(annotations=[annotation(), bad]))
    pointer = "/annotations/1/segmentation" + (f"/{field}" if field else "")
    assert found(result) == [(rule, pointer)]
    assert [a.id for a in result.annotations] == [1]


def test_both_annotations_of_one_id_are_set_aside():
    result = check(coco(annotations=[annotation(), annotation(), annotation(id=2)]))
    assert found(result) == [
        ("annotation.duplicate_id", "/annotations/0/id"),
        ("annotation.duplicate_id", "/annotations/1/id"),
    ]
    assert [a.id for a in result.annotations] == [2]


@pytest.mark.parametrize(
    ("overrides", "rule"),
    [
        ({"id": "7"}, "id.string"),
        ({"image_id": "1"}, "id.string"),
        ({"category_id": 1.0}, "id.float"),
        ({"segmentation": SQUARE}, "polygon.flat_list"),
        ({"segmentation": [SQUARE, SQUARE]}, "polygon.duplicate_ring"),
        ({"bbox": [0, 0, 40, 30]}, "bbox.differs"),
        ({"bbox": None}, "bbox.missing"),
        ({"area": 5}, "area.differs"),
        ({"area": "100"}, "area.differs"),
        ({"iscrowd": 1}, "annotation.crowd_polygon"),
    ],
)
def test_what_can_be_repaired_is_repaired_and_noted(overrides: dict[str, Any], rule: str):
    result = check(coco(annotations=[annotation(**overrides)]))
    assert [(f.rule, f.verdict) for f in result.findings] == [(rule, "note")]
    (repaired,) = result.annotations
    assert (repaired.area_px, repaired.bbox_xywh) == (100, (10, 10, 10, 10))


def test_polygons_are_clipped_to_the_image():
    ring = [-5, -5, 45, -5, 45, 35, -5, 35]
    bad = annotation(segmentation=[ring], bbox=[0, 0, 40, 30], area=1200)
    result = check(coco(annotations=[bad]))
    assert found(result) == [("polygon.clipped", "/annotations/0/segmentation/0")]
    assert result.annotations[0].area_px == 1200


def test_a_crossing_ring_follows_the_even_odd_rule():
    bow_tie = annotation(segmentation=[[10, 10, 20, 20, 20, 10, 10, 20]], area=50)
    result = check(coco(annotations=[bow_tie]))
    assert found(result) == [("polygon.crosses_itself", "/annotations/0/segmentation/0")]


def test_all_three_forms_of_a_mask_give_the_same_bytes():
    mask = np.zeros((30, 40), bool)
    mask[10:20, 10:20] = True
    rle = mask_to_rle(mask)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    forms = [
        [SQUARE],
        {"size": [30, 40], "counts": runs},
        {"size": [30, 40], "counts": rle.decode()},
    ]
    result = check(
        coco(annotations=[annotation(id=i, segmentation=form) for i, form in enumerate(forms)])
    )
    assert [a.rle for a in result.annotations] == [rle] * 3
    kinds = [a.segmentation_kind for a in result.annotations]
    assert kinds == ["polygon", "uncompressed_rle", "compressed_rle"]
    assert [(f.rule, f.value) for f in result.findings] == [
        ("annotation.instance_rle", "0 (and 1 more)")
    ]
