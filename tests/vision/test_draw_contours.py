import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vision.draw.contours import Box, mask_box, mask_outlines, svg_path

SMALL_MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def filled(outlines, height, width, scale=8):
    canvas = np.zeros((height * scale, width * scale), np.uint8)
    shapes = [np.round(outline * scale - 0.5).astype(np.int32) for outline in outlines]
    if shapes:
        cv2.fillPoly(canvas, shapes, 1)
    return canvas[scale // 2 :: scale, scale // 2 :: scale].astype(bool)


@given(SMALL_MASKS)
def test_filling_the_outlines_gives_the_mask_back(mask):
    assert np.array_equal(filled(mask_outlines(mask, 0.1), *mask.shape), mask)


@given(SMALL_MASKS)
def test_the_box_is_the_smallest_around_the_mask(mask):
    box = mask_box(mask)
    if box is None:
        assert not mask.any()
        return
    x, y, width, height = (int(value) for value in box)
    assert mask[y : y + height, x : x + width].sum() == mask.sum()
    for edge in (mask[y], mask[y + height - 1], mask[:, x], mask[:, x + width - 1]):
        assert edge.any()


def test_outlines_lie_where_the_pixels_are():
    mask = np.zeros((20, 30), bool)
    mask[5:10, 8:20] = True
    (outline,) = mask_outlines(mask)
    assert np.abs(outline.min(axis=0) - (8, 5)).max() <= 0.25
    assert np.abs(outline.max(axis=0) - (20, 10)).max() <= 0.25


def test_a_hole_is_an_outline_of_its_own():
    mask = np.ones((20, 20), bool)
    mask[5:15, 5:15] = False
    assert len(mask_outlines(mask)) == 2


def test_svg_path_closes_every_outline():
    square = np.array([[0.25, 0.25], [4.0, 0.25], [4.0, 4.04]])
    assert svg_path([square, square], scale=2.0).count("Z") == 2
    assert svg_path([square]) == "M0.2,0.2 4,0.2 4,4Z"


def test_box_knows_its_area():
    assert Box(1, 2, 3, 4).area == 12
