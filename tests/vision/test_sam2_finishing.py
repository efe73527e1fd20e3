import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vision.masks.rle import mask_to_rle, mask_to_runs
from vision.sam2.finishing import runs_of_tensor
from vision.sam2.overlaps import parents, without_overlapping_boxes
from vision.segmenter import Mask

SHAPES = arrays.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)


@given(arrays.arrays(np.bool_, SHAPES, elements=st.booleans()))
def test_runs_found_by_tensors_are_those_of_each_mask(masks):
    found = runs_of_tensor(torch.from_numpy(masks))

    assert [runs.tolist() for runs in found] == [mask_to_runs(mask).tolist() for mask in masks]


def rectangle(x, y, width, height, predicted_iou=0.5):
    pixels = np.zeros((20, 20), np.bool_)
    pixels[y : y + height, x : x + width] = True
    box = (float(x), float(y), float(width), float(height))
    return Mask(
        mask_to_rle(pixels), width * height, box, predicted_iou, 1.0, (0, 0), (0, 0, 20, 20)
    )


def test_a_mask_lies_inside_the_smallest_one_around_it():
    page, panel, figure, other = (
        rectangle(0, 0, 20, 20),
        rectangle(1, 1, 10, 10),
        rectangle(2, 2, 3, 3),
        rectangle(12, 12, 4, 4),
    )
    assert parents([figure, panel, other, page], 20, 20) == [1, 3, 3, None]
    assert parents([panel], 20, 20) == [None]
    assert parents([], 20, 20) == []


def test_equal_masks_are_not_inside_each_other():
    assert parents([rectangle(1, 1, 4, 4), rectangle(1, 1, 4, 4)], 20, 20) == [None, None]


def test_after_cleaning_masks_that_needed_none_win():
    clean, cleaned, apart = (
        rectangle(0, 0, 10, 10, 0.6),
        rectangle(0, 0, 10, 9, 0.9),
        rectangle(15, 15, 3, 3, 0.1),
    )
    masks = [cleaned, clean, apart]
    assert without_overlapping_boxes(masks, [True, False, True], 0.7) == [clean, apart]
    assert without_overlapping_boxes(masks, [True, True, True], 0.7) == [cleaned, apart]
    assert without_overlapping_boxes(masks, [False, False, False], 0.7) == masks
