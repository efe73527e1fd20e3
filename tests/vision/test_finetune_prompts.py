import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sam2.modeling.sam2_utils import (
    sample_box_points,
    sample_random_points_from_errors,
)

from vision.finetune.prompts import (
    BOTTOM_RIGHT,
    NEGATIVE,
    POSITIVE,
    TOP_LEFT,
    boxes_around,
    correction_clicks,
    points_inside,
    rough_masks,
)

MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def clicked(points):
    """Labels and pixels (row, column) of single clicks."""
    xy = points.xy[:, 0].long()
    return points.labels[:, 0].tolist(), xy[:, 1].tolist(), xy[:, 0].tolist()


@given(MASKS, st.integers(0, 99))
def test_first_points_are_inside(masks, seed):
    truth = torch.from_numpy(masks)

    labels, rows, columns = clicked(points_inside(truth, 1, seeded(seed)))

    for mask, label, row, column in zip(masks, labels, rows, columns, strict=True):
        assert bool(mask[row, column]) == (label == POSITIVE)
        assert label == POSITIVE or not mask.any()


@given(MASKS, st.integers(0, 99))
def test_corrections_are_where_the_mask_is_wrong(masks, seed):
    truth = torch.from_numpy(masks)
    found = truth.roll(1, -1)

    labels, rows, columns = clicked(correction_clicks(found, truth, 1, 0.0, seeded(seed)))

    for mask, guess, label, row, column in zip(
        masks, found.numpy(), labels, rows, columns, strict=True
    ):
        assert bool(mask[row, column]) == (label == POSITIVE)
        if (mask != guess).any():
            assert mask[row, column] != guess[row, column]
        elif not mask.all():
            assert label == NEGATIVE


def test_corrections_are_uniform_as_those_of_sam2():
    truth = torch.zeros(1, 6, 7, dtype=torch.bool)
    truth[0, 1:4, 1:4] = True
    found = torch.zeros_like(truth)
    found[0, 3:6, 3:7] = True
    draws = 20_000
    many = (draws, 1, 1)
    points = correction_clicks(found.repeat(many), truth.repeat(many), 1, 0.0, seeded())
    ours = torch.zeros(6, 7)
    for x, y in points.xy[:, 0].long().tolist():
        ours[y, x] += 1

    torch.manual_seed(0)
    xy, labels = sample_random_points_from_errors(
        truth[:, None].repeat(draws, 1, 1, 1), found[:, None].repeat(draws, 1, 1, 1)
    )
    theirs = torch.zeros(6, 7)
    for x, y in xy[:, 0].long().tolist():
        theirs[y, x] += 1

    wrong = (truth ^ found)[0]
    expected = draws / int(wrong.sum())
    for counts in (ours, theirs):
        assert (counts[~wrong] == 0).all()
        assert ((counts[wrong] - expected).abs() < 5 * expected**0.5).all()
    share = float(points.labels.float().mean())
    assert share == pytest.approx(float(labels.float().mean()), abs=0.02)


def test_some_corrections_come_from_the_object():
    truth = torch.zeros(4000, 4, 4, dtype=torch.bool)
    truth[:, :2] = True
    found = truth.clone()
    found[:, 3, 3] = True

    points = correction_clicks(found, truth, 1, 0.25, seeded())

    assert float(points.labels.float().mean()) == pytest.approx(0.25, abs=0.03)


def test_coordinates_are_those_of_pixels_of_the_image():
    truth = torch.zeros(1, 4, 4, dtype=torch.bool)
    truth[0, 2, 3] = True

    for stride, expected in ((1, [3.0, 2.0]), (2, [6.5, 4.5]), (4, [13.5, 9.5])):
        assert points_inside(truth, stride, seeded()).xy[0, 0].tolist() == expected


def test_boxes_without_noise_are_those_of_sam2():
    random = np.random.default_rng(0)
    truth = torch.from_numpy(random.random((20, 30, 40)) < 0.01)
    truth[:, 5, 7] = True

    points = boxes_around(truth, 1, 0.0, 20, seeded())
    boxes, labels = sample_box_points(truth[:, None], noise=0.0)

    assert torch.equal(points.xy, boxes.float())
    assert torch.equal(points.labels, labels)
    assert points.labels[0].tolist() == [TOP_LEFT, BOTTOM_RIGHT]


def test_noise_of_boxes_reaches_as_far_as_that_of_sam2():
    truth = torch.zeros(1, 60, 350, dtype=torch.bool)
    truth[0, 10:50, 25:325] = True
    many = truth.repeat(3000, 1, 1)

    ours = boxes_around(many, 1, 0.1, 20, seeded()).xy.flatten(1)
    torch.manual_seed(0)
    theirs = sample_box_points(many[:, None])[0].flatten(1)

    corners = torch.tensor([25.0, 10.0, 324.0, 49.0])
    for moved in (ours, theirs):
        reach = (moved - corners).abs().amax(0)
        assert torch.allclose(reach, torch.tensor([20.0, 3.9, 20.0, 3.9]), atol=0.2)
        assert (reach <= torch.tensor([20.0, 3.9, 20.0, 3.9]) + 1e-4).all()
        assert torch.allclose(moved.mean(0), corners, atol=0.7)


def test_boxes_stay_in_the_image_and_know_the_stride():
    truth = torch.zeros(50, 8, 8, dtype=torch.bool)
    truth[:] = True

    xy = boxes_around(truth, 4, 0.5, 100, seeded()).xy

    assert float(xy.min()) >= 0
    assert float(xy.max()) <= 31
    assert boxes_around(truth, 4, 0.0, 0, seeded()).xy[0].tolist() == [[0, 0], [31, 31]]


def test_rough_masks_are_moved_masks():
    truth = torch.zeros(200, 64, 64, dtype=torch.bool)
    truth[:, 20:40, 10:50] = True

    logits = rough_masks(truth, 64, 0.1, 20, seeded(), 1)

    assert logits.shape == (200, 1, 64, 64)
    assert float(logits.min()) == -10
    assert float(logits.max()) == 10
    assert ((logits > 0).flatten(1).sum(1) == 800).all()
    columns = (logits[:, 0] > 0).any(1).int().argmax(1)
    rows = (logits[:, 0] > 0).any(2).int().argmax(1)
    assert (int(columns.min()), int(columns.max())) == (6, 14)
    assert (int(rows.min()), int(rows.max())) == (18, 22)


def test_prompts_follow_from_the_seed_alone():
    truth = torch.rand(5, 16, 16, generator=seeded(3)) < 0.4
    torch.manual_seed(1)
    one = points_inside(truth, 1, seeded(5)).xy
    torch.manual_seed(2)
    other = points_inside(truth, 1, seeded(5)).xy

    assert torch.equal(one, other)
