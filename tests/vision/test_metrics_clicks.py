"""Simulated clicks are those of sam2."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sam2.modeling.sam2_utils import get_next_point

from tests.training import picture
from vision.metrics.clicks import (
    NEGATIVE,
    NO_CLICK,
    POSITIVE,
    centre_clicks,
    correction_clicks,
    random_clicks,
    random_correction_clicks,
)

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 30), st.integers(1, 30))
MASKS = SHAPES.flatmap(lambda shape: hnp.arrays(np.bool_, shape))
PAIRS = SHAPES.flatmap(
    lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape))
)


def of_sam2(truth, predicted=None):
    true_masks = torch.from_numpy(truth.copy())[:, None]
    masks = None if predicted is None else torch.from_numpy(predicted.copy())[:, None]
    points, labels = get_next_point(true_masks, masks, "center")
    return points[:, 0].numpy(), labels[:, 0].numpy()


def squared_depths(region):
    """Squared distance of each pixel from the nearest one outside, counted out."""
    outside = np.argwhere(~np.pad(region, 1)) - 1
    inside = np.argwhere(region)
    depths = np.zeros(region.shape, int)
    away = ((inside[:, None] - outside[None]) ** 2).sum(2)
    depths[inside[:, 0], inside[:, 1]] = away.min(1) if len(inside) else 0
    return depths


@given(MASKS.filter(lambda masks: masks.any(axis=(1, 2)).all()))
def test_the_first_click_is_as_deep_as_sam2s_and_the_first_such_pixel(masks):
    # Which of several middles sam2 takes changes with where the mask lies in memory.
    for mask, (x, y), (column, row) in zip(
        masks, centre_clicks(masks).astype(int), of_sam2(masks)[0].astype(int), strict=True
    ):
        depths = squared_depths(mask)
        assert depths[y, x] == depths[row, column]
        assert [y, x] == np.argwhere(depths == depths.max())[0].tolist()


@given(PAIRS)
def test_corrections_are_as_deep_as_sam2s_where_anything_is_wrong(pair):
    points, labels = correction_clicks(*pair)
    expected = zip(*of_sam2(*pair), strict=True)
    for truth, predicted, (x, y), label, ((column, row), label_of_sam2) in zip(
        *pair, points.astype(int), labels, expected, strict=True
    ):
        if (truth == predicted).all():
            assert label == NO_CLICK
            continue
        depths = {
            POSITIVE: squared_depths(truth & ~predicted),
            NEGATIVE: squared_depths(predicted & ~truth),
        }
        assert depths[label][y, x] == depths[label_of_sam2][int(row), int(column)]
        missed_is_deeper = depths[POSITIVE].max() > depths[NEGATIVE].max()
        assert label == (POSITIVE if missed_is_deeper else NEGATIVE)


def test_the_click_does_not_depend_on_where_the_mask_lies_in_memory():
    mask = picture(5)[1][1]  # an ellipse with two middles
    random, kept, found = np.random.default_rng(0), [], set()
    for _ in range(300):
        kept = [*kept[-20:], np.empty(int(random.integers(1, 5_000)), np.uint8)]
        found.add(tuple(centre_clicks(mask[None])[0]))
    assert len(found) == 1


def test_large_masks_too():
    y, x = np.mgrid[:300, :500]
    truth = np.stack([(x - 200) ** 2 + (y - 150) ** 2 < 90**2, (x > 400) & (y % 60 < 50)])
    predicted = np.roll(truth, (11, -7), axis=(1, 2)) | (y < 6)
    np.testing.assert_array_equal(centre_clicks(truth), of_sam2(truth)[0])
    for ours, theirs in zip(
        correction_clicks(truth, predicted), of_sam2(truth, predicted), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_worked_example():
    truth = np.zeros((1, 20, 30), bool)
    truth[0, 2:9, 3:10] = True
    assert centre_clicks(truth).tolist() == [[6, 5]]
    predicted = np.zeros_like(truth)
    predicted[0, 2:9, 6:12] = True
    # Missed: 3 x 7 px, too much: 2 x 7 px. The first depth of 2 px is in the middle column.
    points, labels = correction_clicks(truth, predicted)
    assert (points.tolist(), labels.tolist()) == ([[4, 3]], [POSITIVE])
    predicted[0, 11:20, 15:30] = True
    points, labels = correction_clicks(truth, predicted)
    # What is beyond the image is background: the middle of 15 x 9 px.
    assert (points.tolist(), labels.tolist()) == ([[19, 15]], [NEGATIVE])
    assert points.dtype == np.float32
    assert labels.dtype == np.int32


def test_the_deeper_mistake_is_corrected_not_the_larger_one():
    truth, predicted = np.zeros((2, 1, 40, 100), bool)
    truth[0, 20:22] = True  # 200 px, 1 px deep
    predicted[0, 2:9, 2:9] = True  # 49 px, 4 px deep
    assert correction_clicks(truth, predicted)[1].tolist() == [NEGATIVE]


@given(PAIRS, st.integers(0, 2**32))
def test_random_corrections_are_on_mistakes_with_the_right_label(pair, seed):
    points, labels = random_correction_clicks(*pair, np.random.default_rng(seed))
    for truth, predicted, (x, y), label in zip(*pair, points.astype(int), labels, strict=True):
        if (truth != predicted).any():
            assert truth[y, x] != predicted[y, x]
            assert label == (POSITIVE if truth[y, x] else NEGATIVE)
        elif not truth.all():
            assert not truth[y, x]
            assert label == NEGATIVE
        else:
            assert label == NO_CLICK


def test_random_clicks_reach_each_pixel_alike():
    mask = np.zeros((12, 9), bool)
    mask[3:5, 2:7] = True
    mask[11, 8] = True
    rng = np.random.default_rng(5)
    points = random_clicks(np.repeat(mask[None], 11_000, axis=0), rng).astype(int)
    counts = np.zeros(mask.shape, int)
    np.add.at(counts, (points[:, 1], points[:, 0]), 1)
    assert (counts > 0).tolist() == mask.tolist()
    # Expected 1000 each, with a standard deviation of 30.
    assert counts[mask].min() > 850
    assert counts[mask].max() < 1150


def test_a_seed_gives_the_same_clicks():
    masks = np.random.default_rng(0).random((6, 30, 40)) > 0.5
    first, again, other = (
        random_clicks(masks, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_nothing_to_click_on_is_said():
    masks = np.ones((3, 4, 4), bool)
    masks[1] = False
    with pytest.raises(ValueError, match="mask 1 is empty"):
        centre_clicks(masks)
    with pytest.raises(ValueError, match="mask 1 is empty"):
        random_clicks(masks, np.random.default_rng(0))


def test_no_masks_get_no_clicks():
    none = np.zeros((0, 4, 4), bool)
    assert centre_clicks(none).shape == (0, 2)
    assert random_clicks(none, np.random.default_rng(0)).shape == (0, 2)
    assert [part.shape for part in correction_clicks(none, none)] == [(0, 2), (0,)]


@pytest.mark.parametrize(
    "masks", [np.ones((4, 4), bool), np.ones((1, 4, 4), np.uint8), np.ones((1, 4, 4, 1), bool)]
)
def test_arrays_that_are_no_masks_are_refused(masks):
    with pytest.raises(ValueError, match="boolean masks of shape"):
        centre_clicks(masks)


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="boolean masks of shape"):
        correction_clicks(np.ones((1, 4, 4), bool), np.ones((1, 4, 5), bool))
