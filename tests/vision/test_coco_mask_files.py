"""Annotations whose mask lies in a PNG beside the document, as in the comic layout."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.coco_documents import annotation, check, coco, compressed, found, without
from vision.coco.mask_files import MaskFileError
from vision.masks import mask_to_png, mask_to_rle

MASK = np.zeros((30, 40), bool)
MASK[10:20, 10:20] = True
PNG = mask_to_png(MASK)


def comic(**overrides):
    entry = without(annotation(segmentation_file="masks/train/1.png"), "segmentation") | overrides
    return coco(annotations=[entry])


def files(**contents):
    def read(name):
        try:
            return contents[name]
        except KeyError:
            raise MaskFileError("mask_file.missing", name) from None

    return read


def check_file(data, **overrides):
    return check(comic(**overrides), read_file=files(**{"masks/train/1.png": data}))


def test_a_mask_is_read_from_its_file():
    result = check_file(PNG)
    assert result.findings == []
    (mask,) = result.annotations
    assert (mask.rle, mask.area_px, mask.segmentation_kind) == (mask_to_rle(MASK), 100, "mask_file")


@given(arrays(np.bool_, (30, 40)).filter(np.any), st.sampled_from([1, 8]))
def test_every_mask_comes_back_from_its_file(mask, bit_depth):
    (read,) = check_file(mask_to_png(mask, bit_depth)).annotations
    assert read.rle == mask_to_rle(mask)


@pytest.mark.parametrize("empty", [None, []])
def test_an_empty_segmentation_beside_a_file_is_no_segmentation(empty):
    assert check_file(PNG, segmentation=empty).annotations[0].segmentation_kind == "mask_file"


def test_of_a_segmentation_and_a_file_the_first_is_read():
    result = check_file(b"not read", segmentation=annotation()["segmentation"])
    assert found(result) == [("segmentation.file_not_read", "/annotations/0/segmentation_file")]
    assert result.annotations[0].segmentation_kind == "polygon"


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "mask_png.corrupt"),
        (b"<html>", "mask_png.corrupt"),
        (PNG[:40], "mask_png.corrupt"),
        (PNG[:-30] + b"\0" * 30, "mask_png.corrupt"),
        (mask_to_png(MASK.T), "mask_file.size_differs"),
        (PNG[:16] + b"\xff\xff\xff\xff" * 2 + PNG[24:], "mask_file.size_differs"),
        (mask_to_png(np.zeros((30, 40))), "mask_file.empty_mask"),
    ],
)
def test_a_file_that_is_no_mask_costs_its_annotation(data, rule):
    result = check_file(data)
    assert found(result) == [(rule, "/annotations/0/segmentation_file")]
    assert result.annotations == []


@given(st.binary(max_size=60), st.integers(0, len(PNG) - 1))
def test_damaged_files_never_crash(noise, place):
    result = check_file(PNG[:place] + noise + PNG[place + len(noise) :])
    assert not result.rejected


@pytest.mark.parametrize("name", [None, 7, ["a"], "masks/train/2.png"])
def test_a_missing_file_costs_its_annotation(name):
    result = check(comic(segmentation_file=name), read_file=files())
    rule = {str: "mask_file.missing", type(None): "segmentation.missing"}.get(
        type(name), "mask_file.name"
    )
    assert [finding.rule for finding in result.findings] == [rule]


def test_without_files_beside_it_a_document_has_no_mask_files():
    assert found(check(comic())) == [("mask_file.missing", "/annotations/0/segmentation_file")]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("../outside.png", "path.parent"),
        ("/etc/passwd", "path.absolute"),
        ("http://host/mask.png", "path.url"),
        ("a\\b.png", "path.backslash"),
        ("", "path.empty"),
    ],
)
def test_names_that_lead_out_of_the_drop_refuse_it(name, rule):
    def read(_):
        raise AssertionError("a file was opened")

    result = check(comic(segmentation_file=name), read_file=read)
    assert found(result) == [(rule, "/annotations/0/segmentation_file")]
    assert result.rejected


def test_a_crowd_may_have_a_file_and_no_note_is_made():
    assert check_file(PNG, iscrowd=1).findings == []
    rle = {"size": [30, 40], "counts": compressed(0, 1200)}
    assert found(check(coco(annotations=[annotation(segmentation=rle)])))
