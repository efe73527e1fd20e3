import pytest

from tests.coco_documents import check, compressed, found, without
from vision.coco.sa1b import CATEGORY


def mask(**overrides):
    return {
        "id": 7,
        "segmentation": {"size": [4, 5], "counts": compressed(4, 6, 10)},
        "bbox": [1, 0, 2, 4],
        "area": 6,
        "predicted_iou": 0.9,
        "stability_score": 0.95,
        "crop_box": [0, 0, 5, 4],
        "point_coords": [[1.5, 2.0]],
    } | overrides


def sa1b(*masks, **overrides):
    image = {"image_id": 11, "width": 5, "height": 4, "file_name": "sa_11.jpg"} | overrides
    return {"image": image, "annotations": list(masks or (mask(),))}


def test_masks_are_read_without_findings_and_share_a_category():
    result = check(sa1b(mask(id=1), mask(id=2)))
    assert result.findings == []
    assert [(a.id, a.image_id, a.category, a.area_px) for a in result.annotations] == [
        (1, 11, CATEGORY, 6),
        (2, 11, CATEGORY, 6),
    ]
    assert [(i.id, i.file_name, i.width, i.height) for i in result.images] == [
        (11, "sa_11.jpg", 5, 4)
    ]
    assert result.categories == {1: CATEGORY}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (sa1b(mask(id=None)), [("annotation.id", "/annotations/0/id")]),
        (
            sa1b(mask(id=1), mask(id=1)),
            [("annotation.duplicate_id", f"/annotations/{i}/id") for i in (0, 1)],
        ),
        (sa1b("mask"), [("annotation.type", "/annotations/0")]),
        (
            sa1b(mask(segmentation={"size": [4, 5], "counts": compressed(4, 6)})),
            [("rle.short", "/annotations/0/segmentation/counts")],
        ),
        (
            sa1b(mask(predicted_iou=float("nan"))),
            [("annotation.not_finite", "/annotations/0/predicted_iou")],
        ),
        (
            sa1b(width=0),
            [
                ("image.size", "/image"),
                ("annotation.image_quarantined", "/annotations/0/image_id"),
            ],
        ),
        (
            sa1b(width=float("inf")),
            [
                ("image.not_finite", "/image/width"),
                ("annotation.image_quarantined", "/annotations/0/image_id"),
            ],
        ),
        (
            sa1b(image_id=None),
            [
                ("image.id", "/image/image_id"),
                ("annotation.image_quarantined", "/annotations/0/image_id"),
            ],
        ),
    ],
)
def test_what_is_broken_is_set_aside(document, expected):
    result = check(document)
    assert found(result) == expected
    assert result.annotations == []
    assert not result.rejected


@pytest.mark.parametrize(
    ("document", "rule", "pointer"),
    [
        (without(sa1b(), "annotations"), "document.annotations", "/annotations"),
        (sa1b() | {"annotations": {}}, "document.annotations", "/annotations"),
        (sa1b(file_name="../up.jpg"), "path.parent", "/image/file_name"),
        (sa1b(image_id=2**63), "id.too_large", "/image/image_id"),
        (sa1b() | {"image": 7}, "document.no_categories", "/categories"),
        (sa1b() | {"info": float("nan")}, "json.not_finite", "/info"),
    ],
)
def test_documents_that_are_broken_as_such_are_refused(document, rule, pointer):
    result = check(document)
    assert found(result) == [(rule, pointer)]
    assert result.rejected


def test_the_size_of_the_image_is_filled_in_and_compared():
    bare = sa1b()
    del bare["image"]["width"]
    assert [rule for rule, _ in found(check(bare, sizes={"sa_11.jpg": (5, 4)}))] == [
        "image.size_filled"
    ]
    assert found(check(sa1b(), sizes={"sa_11.jpg": (6, 4)}))[0] == ("image.size_differs", "/image")
