from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from vision.masks import MaskPngError, mask_to_png, mask_to_rle, png_to_mask, rle_to_png

masks = arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(masks, st.sampled_from([1, 8]))
def test_every_reader_sees_the_mask_that_was_written(mask: np.ndarray, bit_depth: int):
    data = mask_to_png(mask, bit_depth)
    opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(opencv, mask * np.uint8(255))
    with Image.open(BytesIO(data)) as image:
        assert image.mode == {1: "1", 8: "L"}[bit_depth]
        assert np.array_equal(np.asarray(image) > 0, mask)
    assert np.array_equal(png_to_mask(data), mask)
    assert rle_to_png(mask_to_rle(mask), *mask.shape, bit_depth) == data


def test_zero_and_one_masks_of_other_tools_are_read_as_foreground():
    buffer = BytesIO()
    Image.fromarray(np.array([[0, 1], [255, 0]], np.uint8)).save(buffer, "PNG")
    assert png_to_mask(buffer.getvalue()).tolist() == [[False, True], [True, False]]


def saved(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "mask_png.corrupt"),
        (b"GIF89a", "mask_png.corrupt"),
        (mask_to_png(np.ones((50, 50), bool))[:50], "mask_png.corrupt"),
        (saved(Image.new("RGB", (4, 4))), "mask_png.mode"),
        (saved(Image.new("P", (4, 4))), "mask_png.mode"),
    ],
)
def test_bytes_that_are_no_mask_are_refused(data: bytes, rule: str):
    with pytest.raises(MaskPngError) as caught:
        png_to_mask(data)
    assert caught.value.rule == rule


def test_an_unknown_bit_depth_is_refused():
    with pytest.raises(ValueError, match="bit_depth must be 1 or 8"):
        mask_to_png(np.ones((2, 2), bool), 2)
