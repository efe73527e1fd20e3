import numpy as np
import pytest

from vision.draw.colors import UNKNOWN, UNKNOWN_COLOR, hex_color, ink_on, label_colors
from vision.draw.overlay import DrawnSegment, draw_segments
from vision.masks.rle import mask_to_rle


def page(height=120, width=80):
    return np.full((height, width, 3), 200, np.uint8)


def segment(top, left, size=40, label="panel", score=0.9, height=120, width=80):
    mask = np.zeros((height, width), bool)
    mask[top : top + size, left : left + size] = True
    return DrawnSegment(mask_to_rle(mask), label, score)


def test_same_labels_get_the_same_colours_in_any_order():
    assert label_colors(["b", "a", "a"]) == label_colors(["a", "b"])


def test_two_hundred_labels_have_different_colours():
    colors = label_colors(f"label {n}" for n in range(200))
    assert len(set(colors.values())) == 201
    assert all(0 <= channel <= 255 for color in colors.values() for channel in color)


def test_unknown_is_gray_and_takes_no_colour_from_others():
    assert label_colors(["a", UNKNOWN])["a"] == label_colors(["a"])["a"]
    assert label_colors([])[UNKNOWN] == UNKNOWN_COLOR


def test_names_are_written_in_the_more_readable_ink():
    assert ink_on((255, 255, 0)) == (17, 17, 17)
    assert ink_on((10, 20, 120)) == (255, 255, 255)
    assert hex_color((255, 0, 10)) == "#ff000a"


def test_small_pictures_are_enlarged_and_the_input_is_left_alone():
    rgb = page()
    before = rgb.copy()
    drawn = draw_segments(rgb, [segment(10, 10)], min_side_px=480, legend=False)
    assert drawn.shape == (480, 320, 3) and drawn.dtype == np.uint8
    assert np.array_equal(rgb, before)


def test_large_pictures_keep_their_size():
    assert draw_segments(page(), [], min_side_px=64, legend=False).shape == (120, 80, 3)


def test_the_contour_has_the_colour_of_the_label():
    drawn = draw_segments(
        page(), [segment(20, 20)], colors={"panel": (255, 0, 0)}, min_side_px=480, legend=False
    )
    left_edge = drawn[200, 70:90].astype(int)
    assert (left_edge[:, 0] - left_edge[:, 1]).max() > 200
    assert np.array_equal(drawn[400, 20], (200, 200, 200)), "outside nothing changes"


def test_a_legend_is_added_below():
    plain = draw_segments(page(), [segment(20, 20)], min_side_px=480, legend=False)
    drawn = draw_segments(page(), [segment(20, 20)], min_side_px=480)
    assert drawn.shape[0] > plain.shape[0] and drawn.shape[1] == plain.shape[1]
    assert np.array_equal(drawn[: plain.shape[0]], plain)


def test_many_labels_make_the_legend_higher():
    many = [segment(20, 20, label=f"a rather long label {n}") for n in range(12)]
    one = draw_segments(page(), many[:1], min_side_px=480)
    assert draw_segments(page(), many, min_side_px=480).shape[0] > one.shape[0] + 100


def test_empty_and_border_masks_and_missing_scores_are_drawn():
    empty = DrawnSegment(mask_to_rle(np.zeros((120, 80), bool)), "panel", 0.5)
    whole = DrawnSegment(mask_to_rle(np.ones((120, 80), bool)), "panel", None)
    unknown = segment(0, 0, size=1, label=UNKNOWN)
    drawn = draw_segments(page(), [empty, whole, unknown], min_side_px=240)
    assert drawn.shape[1] == 160


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_other_arrays_are_refused(wrong):
    with pytest.raises(ValueError, match="expected uint8"):
        draw_segments(wrong, [])
