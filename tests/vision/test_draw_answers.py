import numpy as np
import pytest

from vision.draw.answers import (
    CLICK_COLOR,
    PREDICTED_COLOR,
    TRUE_COLOR,
    DrawnAnswer,
    answer_tile,
    draw_answers,
)
from vision.masks import RleError, mask_to_rle

HEIGHT, WIDTH = 80, 100


def box_rle(rows, columns):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[rows, columns] = True
    return mask_to_rle(mask)


GRAY_PAGE = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
ANSWER = DrawnAnswer(
    box_rle(slice(20, 60), slice(10, 40)), box_rle(slice(20, 60), slice(50, 90)), (25, 40)
)


def near(pixels, color, within=40):
    return np.abs(pixels.astype(int) - color).max(axis=-1) <= within


def test_outline_answer_and_click_are_where_they_belong():
    page = GRAY_PAGE.copy()
    picture = draw_answers(page, [ANSWER], min_side_px=400)
    assert np.array_equal(page, GRAY_PAGE)
    assert (picture.shape, picture.dtype) == ((320, 400, 3), np.uint8)
    assert picture[162, 102].tolist() == list(CLICK_COLOR)
    middle_row = picture[120]
    green = np.flatnonzero(near(middle_row, TRUE_COLOR))
    assert abs(green.min() - 40) <= 2
    assert abs(green.max() - 160) <= 2
    tint = 0.65 * 200 + 0.35 * np.array(PREDICTED_COLOR)
    inside = np.flatnonzero(near(middle_row, tint, within=3))
    assert (abs(inside.min() - 202) <= 3, abs(inside.max() - 358) <= 3) == (True, True)
    assert middle_row[180].tolist() == [200, 200, 200]


def test_a_tile_shows_the_object_and_the_answer_also_at_the_edge():
    tile = answer_tile(GRAY_PAGE, ANSWER, side_px=160, context=1.5)
    assert tile.shape == (160, 160, 3)
    assert near(tile, TRUE_COLOR).any()
    assert near(tile, CLICK_COLOR, 0).any()
    assert tile[0, 0].tolist() != [200, 200, 200]  # above the picture


def test_a_model_that_answers_nothing_can_be_drawn():
    empty = DrawnAnswer(ANSWER.truth, mask_to_rle(np.zeros((HEIGHT, WIDTH), bool)), (25, 40))
    assert near(answer_tile(GRAY_PAGE, empty), TRUE_COLOR).any()
    assert near(draw_answers(GRAY_PAGE, [empty]), TRUE_COLOR).any()
    with pytest.raises(RleError):
        draw_answers(GRAY_PAGE[1:], [empty])


def test_many_answers_do_not_hide_the_picture():
    one = draw_answers(GRAY_PAGE, [ANSWER], min_side_px=400)
    many = draw_answers(GRAY_PAGE, [ANSWER] * 8, min_side_px=400)
    assert many[120, 280].tolist() == one[120, 280].tolist()
