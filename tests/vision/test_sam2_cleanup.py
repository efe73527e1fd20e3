import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sam2.utils import amg

from vision.sam2.cleanup import remove_small_regions

speckled = st.builds(
    lambda mask, factor: mask.repeat(factor, 0).repeat(factor, 1),
    hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)),
    st.integers(1, 3),
)


TWO_EQUAL_ISLANDS = np.array([[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0]], bool)


@given(mask=speckled, min_area_px=st.integers(0, 60), padding=st.integers(0, 12))
@example(mask=TWO_EQUAL_ISLANDS, min_area_px=2, padding=1)
def test_small_regions_go_exactly_as_in_sam1(mask, min_area_px, padding):
    mask = np.pad(mask, padding)
    expected, _ = amg.remove_small_regions(mask, min_area_px, "holes")
    if expected.any():
        expected, _ = amg.remove_small_regions(expected, min_area_px, "islands")

    cleaned = mask.copy()
    changed = remove_small_regions(cleaned, min_area_px)

    assert changed or np.array_equal(cleaned, mask)
    if mask.any():
        np.testing.assert_array_equal(cleaned, expected)


def test_an_empty_mask_stays_empty():
    mask = np.zeros((5, 7), bool)

    assert not remove_small_regions(mask, 100)
    assert not mask.any()


def test_of_small_islands_only_the_largest_stays():
    mask = np.zeros((20, 20), bool)
    mask[2:4, 2:4] = mask[10:13, 10:13] = True

    assert remove_small_regions(mask, 50)

    assert mask.sum() == 9
    assert mask[11, 11]


def test_a_mask_without_small_regions_stays_as_it_is():
    mask = np.zeros((40, 40), bool)
    mask[5:30, 5:30] = True

    assert not remove_small_regions(mask, 100)
    assert mask.sum() == 25 * 25
