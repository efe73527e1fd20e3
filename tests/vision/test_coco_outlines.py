import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from vision.coco.outlines import exact_polygons, mask_outlines, one_ring, rle_outlines
from vision.masks import mask_to_rle, polygons_to_rle, rle_to_mask

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9))


def even_odd(mask):
    """The mask that all rings of a mask's outlines enclose by the even-odd rule."""
    outlines = mask_outlines(mask)
    filled = np.zeros(mask.shape, bool)
    for ring in outlines.outer + outlines.holes:
        points = np.array(ring).reshape(-1, 2).astype(int)
        for (x, y0), (x_end, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if x == x_end:  # everything to the right of an upright edge changes sides
                filled[min(y0, y1) : max(y0, y1), x:] ^= True
    return filled


@given(MASKS)
@example(np.array([[1, 0], [0, 1]], bool))
@example(np.array([[0, 1], [1, 0]], bool))
@example(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], bool))
def test_the_rings_enclose_the_mask_and_holes_are_told_apart(mask):
    assert np.array_equal(even_odd(mask), mask)
    outlines = mask_outlines(mask)
    outside = np.pad(~mask, 1, constant_values=True)
    parts, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    gaps, _ = cv2.connectedComponents(outside.astype(np.uint8), connectivity=8)
    assert len(outlines.outer) == parts - 1
    assert len(outlines.holes) == gaps - 2


@given(MASKS)
def test_polygons_give_the_mask_again_or_there_are_none(mask):
    rle = mask_to_rle(mask)
    polygons = exact_polygons(rle, *mask.shape)
    if polygons is None:
        assert mask_outlines(mask).holes or not mask.any()
    else:
        assert polygons_to_rle(polygons, *mask.shape) == rle


@given(MASKS, st.integers(0, 5), st.integers(0, 5))
def test_masks_away_from_the_corner_are_traced_where_they_are(mask, left, top):
    placed = np.zeros((20, 24), bool)
    placed[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    outlines = rle_outlines(mask_to_rle(placed), 20, 24)
    expected = mask_outlines(placed)
    assert sorted(outlines.outer) == sorted(expected.outer)
    assert sorted(outlines.holes) == sorted(expected.holes)


@given(MASKS.filter(np.any))
@example(np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1] * 5]))
def test_one_ring_covers_the_mask_with_its_holes_filled(mask):
    mask = mask.astype(bool)
    ring, outlines = one_ring(mask_to_rle(mask), *mask.shape)
    covered = rle_to_mask(polygons_to_rle([ring], *mask.shape), *mask.shape)
    assert not np.any(mask & ~covered)
    assert mask_outlines(covered).holes == []
    assert np.array_equal(covered, mask) == (not outlines.holes)


def test_a_square_has_four_corners():
    mask = np.zeros((8, 9), bool)
    mask[2:5, 3:7] = True
    assert mask_outlines(mask).outer == [[3, 2, 7, 2, 7, 5, 3, 5]]


def test_a_ring_has_a_hole_and_no_polygon():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    assert len(mask_outlines(mask).holes) == 1
    assert exact_polygons(mask_to_rle(mask), 5, 5) is None


@pytest.mark.parametrize("side", [160])
def test_a_mask_with_more_parts_than_readers_take_has_no_polygon(side):
    rows, columns = np.indices((side, side))
    assert exact_polygons(mask_to_rle((rows + columns) % 2 == 0), side, side) is None
