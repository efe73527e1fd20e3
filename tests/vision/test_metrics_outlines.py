"""Region J, boundary F and J&F over a video are those of DAVIS."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vision.metrics import VideoScores, boundary_f, region_similarity, score_object
from vision.metrics.boundaries import outline
from vision.metrics.videos import frame_statistics

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))
PAIRS = SHAPES.flatmap(
    lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape))
)


def smooth(seed, shape=(90, 120), share=0.3):
    noise = np.random.default_rng(seed).normal(size=shape)
    field = cv2.GaussianBlur(noise, (0, 0), 6)
    return field > np.quantile(field, 1 - share)


def rectangle(left, top, right, bottom, shape=(100, 100)):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def f_by_dilation(truth, predicted, tolerance):
    """The definition, with a disk dilated over the whole image."""
    radius = int(np.ceil(tolerance * np.linalg.norm(truth.shape)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.uint8)
    lines = [outline(mask) for mask in (truth, predicted)]
    near = [cv2.dilate(line.astype(np.uint8), disk) > 0 for line in lines]
    if not lines[0].any() or not lines[1].any():
        return float(lines[0].any() == lines[1].any())
    precision = (lines[1] & near[0]).sum() / lines[1].sum()
    recall = (lines[0] & near[1]).sum() / lines[0].sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline_by_pixel(mask):
    """`_seg2bmap`, a pixel at a time."""
    height, width = mask.shape
    line = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            others = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            line[y, x] = any(
                mask[y, x] != mask[other]
                for other in others
                if other[0] < height and other[1] < width
            )
    return line


@given(hnp.arrays(np.bool_, SHAPES))
def test_outlines_are_pixels_that_differ_from_those_right_and_below(mask):
    np.testing.assert_array_equal(outline(mask), outline_by_pixel(mask))


@given(PAIRS, st.sampled_from([0.0, 0.008, 0.05, 0.3]))
def test_boundary_f_is_that_of_a_dilated_disk(pair, tolerance):
    assert boundary_f(*pair, tolerance) == pytest.approx(f_by_dilation(*pair, tolerance), abs=1e-12)


@pytest.mark.parametrize("tolerance", [0.008, 0.03])
@pytest.mark.parametrize("seed", range(4))
def test_boundary_f_is_that_of_a_dilated_disk_on_smooth_masks(seed, tolerance):
    pair = smooth(seed, (300, 400)), smooth(seed, (300, 400), share=0.25)
    assert boundary_f(*pair, tolerance) == f_by_dilation(*pair, tolerance)
    assert 0.1 < boundary_f(*pair, tolerance) < 1


@given(PAIRS)
def test_identical_masks_have_one_and_order_does_not_matter(pair):
    for measure in (region_similarity, boundary_f):
        assert measure(pair[0], pair[0]) == 1
        assert measure(*pair) == measure(*pair[::-1])
        assert 0 <= measure(*pair) <= 1


def test_disjoint_masks_have_none():
    far = rectangle(5, 5, 20, 20), rectangle(50, 50, 90, 80)
    assert region_similarity(*far) == 0
    assert boundary_f(*far) == 0


def test_empty_masks():
    nothing, something = np.zeros((30, 30), bool), rectangle(3, 4, 9, 9, (30, 30))
    assert region_similarity(nothing, nothing) == boundary_f(nothing, nothing) == 1
    assert region_similarity(something, nothing) == boundary_f(something, nothing) == 0
    # The outline of a mask does not run along the edge of the image.
    assert boundary_f(~nothing, nothing) == 1


def test_worked_examples():
    # 10 x 10 and 10 x 10, 5 x 10 shared: 50 / 150.
    assert region_similarity(rectangle(0, 0, 10, 10), rectangle(5, 0, 15, 10)) == 50 / 150
    # The tolerance is ceil(0.008 * 141.4 px) = 2 px: a shift of 2 px is free, one of 3 px is not.
    square = rectangle(30, 30, 60, 60)
    assert boundary_f(square, rectangle(32, 30, 62, 60)) == 1
    # Either outline has 4 * 30 pixels. Near the other one are 2 * 30 of its top and bottom, and of
    # the side that now lies inside the 4 next to these: precision = recall = 64 / 120.
    assert boundary_f(square, rectangle(33, 30, 63, 60)) == pytest.approx(64 / 120)


def disk(x, y, radius):
    rows, columns = np.mgrid[:480, :854]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


@pytest.mark.parametrize(
    ("truth", "predicted", "j", "f"),
    [
        (disk(300, 200, 120), disk(310, 205, 118), 0.8853532890971147, 0.5883556167134649),
        (disk(300, 200, 120), disk(300, 200, 60), 0.24961857379767827, 0.0),
        (disk(800, 400, 150), disk(780, 420, 140), 0.8548238897396631, 0.2597875790202401),
    ],
)
def test_numbers_are_those_of_davis(truth, predicted, j, f):
    # `db_eval_iou` and `f_measure` of davis2017-evaluation 30b698a.
    assert region_similarity(truth, predicted) == pytest.approx(j, abs=1e-12)
    assert boundary_f(truth, predicted) == pytest.approx(f, abs=1e-12)


def test_masks_of_other_types_count_what_is_not_zero():
    square = rectangle(30, 30, 60, 60)
    other = rectangle(30, 30, 55, 60)
    assert region_similarity(square * np.uint8(255), other) == 25 / 30
    assert boundary_f(square.astype(float), other * 7) == boundary_f(square, other)


@pytest.mark.parametrize("measure", [region_similarity, boundary_f])
def test_masks_of_two_sizes_are_refused(measure):
    with pytest.raises(ValueError, match=r"\(100, 100\) and \(9, 100\)"):
        measure(rectangle(0, 0, 3, 3), rectangle(0, 0, 3, 3, (9, 100)))
    with pytest.raises(ValueError, match="one shape"):
        measure(np.zeros(4, bool), np.zeros(4, bool))


def test_a_tolerance_is_a_share():
    with pytest.raises(ValueError, match="share of the diagonal"):
        boundary_f(smooth(0), smooth(1), tolerance=2)


def davis_statistics(values):
    """`davis2017.utils.db_statistics`, with a wider type for the bins."""
    ids = (np.round(np.linspace(1, len(values), 5) + 1e-10) - 1).astype(int)
    bins = [values[ids[i] : ids[i + 1] + 1] for i in range(4)]
    return np.nanmean(values), np.nanmean(values > 0.5), np.nanmean(bins[0]) - np.nanmean(bins[3])


@given(hnp.arrays(np.float64, st.integers(1, 700), elements=st.floats(0, 1)))
def test_statistics_are_those_of_davis(values):
    found = frame_statistics(values)
    assert (found.mean, found.recall, found.decay) == pytest.approx(davis_statistics(values))


def test_a_worked_example_of_decay():
    found = frame_statistics(np.array([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]))
    # Bins of frames 1-3 and 6-8, as the quarters share their ends: 0.9 - 0.4.
    assert found.decay == pytest.approx(0.5)
    assert found.recall == 5 / 8


def test_frames_are_compared_without_the_first_and_last():
    square, half = rectangle(10, 10, 40, 40), rectangle(10, 10, 40, 25)
    truth = [square] * 5
    predicted = [rectangle(0, 0, 1, 1), square, square, half, np.zeros_like(square)]
    scores = score_object(iter(truth), iter(predicted))
    np.testing.assert_allclose(scores.j, [1, 1, 0.5])
    assert scores.f[0] == scores.f[1] == 1 > scores.f[2] > 0
    assert score_object(truth, predicted, skip_first_and_last=False).j.shape == (5,)


def test_frames_before_an_object_is_seen_count_or_do_not():
    nothing, square = np.zeros((50, 50), bool), rectangle(10, 10, 40, 40, (50, 50))
    truth = [nothing, nothing, nothing, square, square, square]
    predicted = [nothing, nothing, nothing, square, nothing, square]
    assert score_object(truth, predicted).j.tolist() == [1, 1, 1, 0]
    assert score_object(truth, predicted, start="first_seen").j.tolist() == [1, 0]


def test_a_video_is_the_mean_of_its_objects():
    truth = [smooth(seed) for seed in range(8)]
    good = score_object(truth, truth)
    bad = score_object(truth, [smooth(seed + 50) for seed in range(8)])
    video = VideoScores({"1": good, "2": bad})
    named = video.metrics()
    assert good.j_and_f == 1
    assert named["j.mean"] == pytest.approx((1 + bad.j.mean()) / 2)
    assert named["f.recall"] == pytest.approx((1 + (bad.f > 0.5).mean()) / 2)
    assert named["j&f"] == pytest.approx((1 + bad.j_and_f) / 2)
    assert np.isnan(VideoScores({}).j_and_f)


@pytest.mark.parametrize(
    ("truth", "predicted", "options", "message"),
    [
        (3, 2, {}, "predicted has only 2"),
        (4, 5, {}, "truth has only 4"),
        (2, 2, {}, "at least 3 frames"),
        (0, 0, {"skip_first_and_last": False}, "at least 1 frame"),
        (4, 4, {"start": "first_seen"}, "the object in one of them"),
    ],
)
def test_videos_that_cannot_be_compared_are_refused(truth, predicted, options, message):
    nothing = np.zeros((9, 9), bool)
    with pytest.raises(ValueError, match=message):
        score_object([nothing] * truth, [nothing] * predicted, **options)
