import numpy as np
import pytest

from vision.draw.contact_sheet import TILE_PX, Tile, contact_sheet, segment_tile
from vision.masks import RleError, mask_to_rle

RED, GREEN = (255, 0, 0), (0, 160, 0)


def picture(height, width):
    """A page with a green block, and the mask of the block."""
    rgb = np.full((height, width, 3), 250, np.uint8)
    mask = np.zeros((height, width), bool)
    mask[10:20, 30:50] = True
    rgb[mask] = GREEN
    return rgb, mask_to_rle(mask)


def test_a_tile_shows_the_segment_in_its_middle_with_its_contour():
    rgb, rle = picture(60, 80)
    before = rgb.copy()
    tile = segment_tile(rgb, rle, RED, side_px=120, context=1.5)
    assert (tile.shape, tile.dtype) == ((120, 120, 3), np.uint8)
    assert tile[60, 60].tolist() == list(GREEN)
    assert tile[5, 60].tolist() == [250, 250, 250]
    # The block is 20 px wide, of 30 that are shown: a third of the tile is left beside it.
    (red,) = np.nonzero((tile[60] == RED).all(axis=1))
    assert abs(red.min() - 20) <= 2
    assert abs(red.max() - 100) <= 2
    assert np.array_equal(rgb, before)


def test_what_lies_outside_of_the_picture_is_gray():
    rgb = np.full((60, 200, 3), 250, np.uint8)
    tile = segment_tile(rgb, mask_to_rle(np.ones((60, 200), bool)), RED, side_px=100)
    assert tile[2, 50].tolist() == [236, 238, 241]
    assert tile[50, 50].tolist() == [250, 250, 250]


def test_a_mask_without_a_pixel_shows_the_whole_picture():
    rgb, _ = picture(60, 80)
    tile = segment_tile(rgb, mask_to_rle(np.zeros((60, 80), bool)), RED, context=1.0)
    assert not (tile == RED).all(axis=2).any()
    assert (tile == GREEN).all(axis=2).any()


def test_a_mask_of_another_size_is_refused():
    rgb, rle = picture(60, 80)
    with pytest.raises(RleError):
        segment_tile(rgb[1:], rle, RED)


def test_tiles_are_put_row_by_row():
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200), None]
    tiles = [
        Tile(None if color is None else np.full((40, 40, 3), color, np.uint8), ("one", "two"))
        for color in colors
    ]
    sheet = contact_sheet(tiles, columns=3, tile_px=40)
    assert sheet.shape == (2 * (40 + 38 + 10) + 10, 3 * 50 + 10, 3)
    found = [sheet[30, 10 + 20 + 50 * n].tolist() for n in range(3)]
    assert found == [list(color) for color in colors[:3]]
    assert sheet[10 + 88 + 20, 30].tolist() == [236, 238, 241]
    assert (sheet[50:88, 10:50] < 100).any(), "no text below the first"
    assert (sheet[98:, 60:] == 255).all(), "something where no tile is"
    assert contact_sheet(tiles[:1], columns=3, tile_px=40).shape[1] == 60


def test_long_and_strange_text_stays_below_its_tile():
    tiles = [Tile(None, ("x" * 500, "a\nb\x1b")), Tile(None, ())]
    sheet = contact_sheet(tiles, tile_px=60)
    assert (sheet[70 : 70 + 38, 72:] == 255).all()


def test_what_makes_no_sheet_is_refused():
    with pytest.raises(ValueError, match="got none"):
        contact_sheet([])
    with pytest.raises(ValueError, match=f"of {TILE_PX} px"):
        contact_sheet([Tile(np.zeros((3, 3, 3), np.uint8), ())])
