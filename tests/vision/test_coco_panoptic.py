from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tests.coco_documents import check, found, without
from vision.coco.mask_files import MaskFileError
from vision.coco.panoptic_png import SegmentMasks, ids_to_png, paint_masks, png_to_ids
from vision.masks import mask_to_rle

IDS = np.zeros((4, 6), np.uint32)
IDS[:, :2] = 7
IDS[1:3, 3:5] = 70_000
PNG = ids_to_png(IDS)
ID_ARRAYS = arrays(np.uint32, (5, 7), elements=st.sampled_from([0, 1, 2, 256, 65_536, 2**24 - 1]))


def segment(number, category=1, **overrides):
    return {"id": number, "category_id": category, "iscrowd": 0} | overrides


def panoptic(*segments, **overrides):
    entry = {"image_id": 1, "file_name": "1.png"} | overrides
    entry.setdefault("segments_info", list(segments))
    return {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 6, "height": 4}],
        "annotations": [entry],
        "categories": [
            {"id": 1, "name": "sky", "isthing": 0},
            {"id": 2, "name": "panel", "isthing": 1},
        ],
    }


def read(document, data=PNG):
    def read_file(name):
        if name != "1.png":
            raise MaskFileError("mask_file.missing", name)
        return data

    result = check(document, read_file=read_file)
    notes = ("bbox.missing",)
    return result, [(rule, at) for rule, at in found(result) if rule not in notes]


def encoded(pixels, mode="RGB"):
    buffer = BytesIO()
    Image.fromarray(pixels, mode=None).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


@given(ID_ARRAYS)
def test_ids_come_back_from_the_png(ids):
    data = ids_to_png(ids)
    assert np.array_equal(png_to_ids(data), ids)
    with Image.open(BytesIO(data)) as image:
        assert (image.mode, image.size) == ("RGB", (7, 5))
        red, green, blue = np.moveaxis(np.asarray(image).astype(int), -1, 0)
        assert np.array_equal(red + 256 * green + 65_536 * blue, ids)


def test_an_id_that_no_png_can_hold_is_refused():
    with pytest.raises(ValueError, match="16777216"):
        ids_to_png(np.full((1, 1), 2**24, np.uint32))


@given(ID_ARRAYS)
def test_the_masks_are_where_the_ids_are(ids):
    masks = SegmentMasks(ids)
    assert masks.ids == sorted(set(ids.ravel().tolist()) - {0})
    for number in masks.ids:
        assert masks.rle(number) == mask_to_rle(ids == number)


@given(st.lists(arrays(np.bool_, (4, 5)), max_size=4))
def test_the_smaller_mask_lies_on_top(masks):
    ids = paint_masks([mask_to_rle(mask) for mask in masks], 4, 5)
    assert np.array_equal(ids > 0, np.any(masks, axis=0) if masks else np.zeros((4, 5)))
    for y, x in zip(*np.nonzero(ids), strict=True):
        shown = masks[ids[y, x] - 1]
        assert shown[y, x]
        assert shown.sum() == min(mask.sum() for mask in masks if mask[y, x])


def test_each_segment_becomes_an_annotation():
    result, findings = read(panoptic(segment(7), segment(70_000, 2, iscrowd=1)))
    assert findings == []
    assert [
        (a.id, a.category, a.iscrowd, a.area_px, a.pointer, a.segmentation_kind)
        for a in result.annotations
    ] == [
        (7, "sky", False, 8, "/annotations/0/segments_info/0", "panoptic_png"),
        (70_000, "panel", True, 4, "/annotations/0/segments_info/1", "panoptic_png"),
    ]
    assert result.annotations[0].rle == mask_to_rle(IDS == 7)


AT = "/annotations/0/segments_info"


@pytest.mark.parametrize(
    ("document", "expected", "kept"),
    [
        (
            panoptic(segment(7), segment(70_000), segment(9)),
            [("panoptic.segment_missing", f"{AT}/2/id")],
            2,
        ),
        (
            panoptic(segment(7), segment(70_000), segment(0)),
            [("panoptic.segment_missing", f"{AT}/2/id")],
            2,
        ),
        (panoptic(segment(7)), [("panoptic.id_unknown", "/annotations/0/file_name")], 1),
        (
            panoptic(segment(7), segment(7), segment(70_000)),
            [("annotation.duplicate_id", f"{AT}/{j}/id") for j in (0, 1)],
            1,
        ),
        (
            panoptic(segment(7, 5), segment(70_000)),
            [("annotation.category_unknown", f"{AT}/0/category_id")],
            1,
        ),
        (
            panoptic(segment(7), segment(70_000), "segment"),
            [("annotation.type", f"{AT}/2")],
            2,
        ),
        (
            panoptic(segment(7), segment(70_000), segment(None)),
            [("annotation.id", f"{AT}/2/id")],
            2,
        ),
        (
            panoptic(segment(7), segment(70_000), segment("x", segmentation=[[0, 0, 4, 0, 4, 4]])),
            [("segmentation.missing", f"{AT}/2")],
            2,
        ),
        (
            panoptic(segment(7), segment(70_000), file_name="2.png"),
            [("mask_file.missing", "/annotations/0/file_name")] * 2,
            0,
        ),
        (
            panoptic(segment(7), file_name=None),
            [("mask_file.name", "/annotations/0/file_name")],
            0,
        ),
        (
            panoptic(segment(7), image_id=5),
            [("annotation.image_unknown", "/annotations/0/image_id")],
            0,
        ),
        (
            panoptic(segment(7), segment(70_000, area=float("inf"))),
            [("annotation.not_finite", f"{AT}/1/area")] * 2,
            0,
        ),
        (panoptic(segments_info={}), [("panoptic.segments", AT)], 0),
        (panoptic(segments_info=None), [("panoptic.segments", AT)], 0),
    ],
)
def test_what_is_broken_is_set_aside(document, expected, kept):
    result, findings = read(document)
    assert sorted(findings) == sorted(expected)
    assert len(result.annotations) == kept
    assert not result.rejected


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "mask_png.corrupt"),
        (PNG[:50], "mask_png.corrupt"),
        (encoded(np.zeros((4, 6), np.uint8), "L"), "panoptic.png_mode"),
        (encoded(np.zeros((4, 6, 3), np.uint8), "RGBA"), "panoptic.png_mode"),
        (encoded(np.zeros((4, 6, 3), np.uint8), "P"), "panoptic.png_mode"),
        (ids_to_png(IDS.T), "mask_file.size_differs"),
    ],
)
def test_a_png_that_cannot_be_read_costs_its_segments(data, rule):
    result, findings = read(panoptic(segment(7), segment(70_000)), data)
    assert findings == [(rule, "/annotations/0/file_name")] * 2
    assert (result.annotations, result.rejected) == ([], False)


def test_a_path_out_of_the_drop_refuses_it():
    result, findings = read(panoptic(segment(7), file_name="../1.png"))
    assert findings == [("path.parent", "/annotations/0/file_name")]
    assert result.rejected


def test_a_wrong_box_or_area_is_noted():
    document = panoptic(segment(7, bbox=[3, 3, 1, 1], area=99), segment(70_000, bbox=[3, 1, 2, 2]))
    result, findings = read(document)
    assert findings == [("bbox.differs", f"{AT}/0/bbox"), ("area.differs", f"{AT}/0/area")]
    assert len(result.annotations) == 2


def test_categories_are_asked_for():
    _, findings = read(without(panoptic(segment(7)), "categories"))
    assert findings == [("document.no_categories", "/categories")]
