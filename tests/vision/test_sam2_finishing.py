import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sam2.utils import amg

from vision.masks.rle import mask_to_rle, mask_to_runs
from vision.sam2.candidates import Candidates
from vision.sam2.crops import Crop
from vision.sam2.finishing import finish, runs_of_tensor
from vision.sam2.overlaps import parents, without_overlapping_boxes
from vision.sam2.parameters import GeneratorParams
from vision.segmenter import Mask

GRIDS = arrays.arrays(np.bool_, (6, 5), elements=st.booleans())
SHAPES = arrays.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)


@given(arrays.arrays(np.bool_, SHAPES, elements=st.booleans()))
def test_runs_found_by_tensors_are_those_of_each_mask(masks):
    found = runs_of_tensor(torch.from_numpy(masks))

    assert [runs.tolist() for runs in found] == [mask_to_runs(mask).tolist() for mask in masks]


@given(GRIDS, st.integers(0, 60), st.integers(0, 9), st.integers(0, 9))
def test_masks_are_cleaned_as_in_sam1_up_to_the_edge_of_the_image(grid, min_area_px, left, top):
    whole = np.pad(grid.repeat(3, 0).repeat(2, 1), ((top, 4), (left, 0)))
    height, width = whole.shape
    crop = Crop(0, 0, width, height, 0)
    logits = torch.from_numpy(whole).float()[None] * 20 - 10
    rows, columns = np.nonzero(whole)
    if not len(rows):
        return
    box = torch.tensor([[columns.min(), rows.min(), columns.max(), rows.max()]]).float()
    one = torch.ones(1)
    candidates = Candidates(logits, one, one, box, torch.zeros(1, 2))
    params = GeneratorParams(min_mask_region_area=min_area_px)

    found = [mask for mask, _ in finish(candidates, crop, height, width, params)]

    expected, _ = amg.remove_small_regions(whole, min_area_px, "holes")
    expected, _ = amg.remove_small_regions(expected, min_area_px, "islands")
    assert [mask.rle for mask in found] == [mask_to_rle(expected)]
    assert found[0].area_px == expected.sum()


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
