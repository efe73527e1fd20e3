import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.clip.crops import crop_mask
from vision.clip.label_set import CropStyle

GRAY = (122, 116, 104)


def page_with_square() -> tuple[np.ndarray, np.ndarray]:
    """A red square of 20 px at (40, 30) on blue, 100 px wide and 80 px high."""
    rgb = np.zeros((80, 100, 3), np.uint8)
    rgb[...] = (0, 0, 250)
    mask = np.zeros((80, 100), bool)
    mask[30:50, 40:60] = True
    rgb[mask] = (250, 0, 0)
    return rgb, mask


def test_box_keeps_what_lies_around() -> None:
    crop = crop_mask(*page_with_square(), CropStyle(mode="box", context=2), 40)
    assert tuple(crop[0, 0]) == (0, 0, 250)
    assert tuple(crop[20, 20]) == (250, 0, 0)
    assert (crop[..., 0] == 250).mean() == pytest.approx(1 / 4, abs=0.02)


def test_masked_paints_over_what_lies_around() -> None:
    crop = crop_mask(*page_with_square(), CropStyle(mode="masked", context=2), 40)
    assert tuple(crop[0, 0]) == GRAY
    assert tuple(crop[20, 20]) == (250, 0, 0)


def test_dimmed_dims_what_lies_around_and_leaves_the_segment_as_it_is() -> None:
    crop = crop_mask(*page_with_square(), CropStyle(mode="dimmed", context=2, dim=0.5), 40)
    assert np.abs(crop[0, 0].astype(int) - (61, 58, 177)).max() <= 1
    assert tuple(crop[20, 20]) == (250, 0, 0)


def test_a_long_segment_keeps_both_ends() -> None:
    rgb = np.zeros((60, 300, 3), np.uint8)
    mask = np.zeros((60, 300), bool)
    mask[18:42, 5:295] = True
    rgb[mask] = 200
    rgb[18:42, 5:25] = (250, 0, 0)
    rgb[18:42, 275:295] = (0, 250, 0)
    crop = crop_mask(rgb, mask, CropStyle(mode="box", context=1.0), 64)
    assert tuple(crop[32, 1]) == (250, 0, 0)
    assert tuple(crop[32, 62]) == (0, 250, 0)


def test_what_lies_outside_the_image_is_padded() -> None:
    rgb = np.full((50, 50, 3), 255, np.uint8)
    mask = np.zeros((50, 50), bool)
    mask[0:10, 0:10] = True
    crop = crop_mask(rgb, mask, CropStyle(mode="box", context=2), 20)
    assert tuple(crop[0, 0]) == GRAY
    assert tuple(crop[-1, -1]) == (255, 255, 255)


def test_an_empty_mask_gives_a_plain_square() -> None:
    rgb, mask = page_with_square()
    crop = crop_mask(rgb, np.zeros_like(mask), CropStyle(), 16)
    assert (crop == GRAY).all()


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    box=st.tuples(*[st.floats(0, 1)] * 4),
    context=st.floats(1, 8),
    mode=st.sampled_from(["box", "dimmed", "masked"]),
    size=st.sampled_from([1, 16, 64, 224]),
)
def test_every_segment_gives_a_square_that_shows_it(height, width, box, context, mode, size):
    y0, y1 = sorted((int(box[0] * (height - 1)), int(box[1] * (height - 1))))
    x0, x1 = sorted((int(box[2] * (width - 1)), int(box[3] * (width - 1))))
    mask = np.zeros((height, width), bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    rgb = np.full((height, width, 3), 10, np.uint8)
    rgb[mask] = 255
    before = rgb.copy()
    crop = crop_mask(rgb, mask, CropStyle(mode=mode, context=context), size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    assert (rgb == before).all()
    short, long = sorted((y1 - y0 + 1, x1 - x0 + 1))
    if short / (long * context) * size >= 2:  # two pixels of the crop or more
        assert crop.max() > 130
