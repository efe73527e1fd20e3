import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sam2.utils.amg import batched_mask_to_box, calculate_stability_score

from vision.sam2.candidates import _measure_on_device, _measure_on_host, enlarge, screen
from vision.sam2.parameters import GeneratorParams


def blobs(count, side, seed):
    """Logits of smooth random masks; the last one is empty."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 5, 5, generator=generator) * 4
    coarse[-1] = -20
    return enlarge(coarse, side, side)


def test_both_ways_of_measuring_agree_with_sam2():
    small = blobs(12, 32, 0)
    logits = enlarge(small, 90, 70)
    params = GeneratorParams(stability_score_thresh=0.0)
    expected = calculate_stability_score(logits[:-1], 0.0, 1.0)
    boxes = batched_mask_to_box(logits[:-1] > 0).float()

    for measure in (_measure_on_host, _measure_on_device):
        stability, boxes_xyxy = measure(small, logits, params)

        assert torch.equal(stability[:-1], expected)
        assert torch.equal(boxes_xyxy[:-1], boxes)
        assert stability[-1].isnan()


@given(
    arrays.arrays(np.float32, (3, 6, 6), elements=st.floats(-3, 3, width=32)),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_what_is_measured_in_a_masks_reach_is_measured_of_the_whole(small, height, width):
    logits = torch.from_numpy(small)
    params = GeneratorParams(stability_score_thresh=0.0)
    whole = enlarge(logits, height, width)

    stability, boxes_xyxy = _measure_on_host(logits, whole, params)

    expected, boxes = _measure_on_device(logits, whole, params)
    assert torch.equal(stability.isnan(), expected.isnan())
    assert torch.equal(stability.nan_to_num(), expected.nan_to_num())
    assert torch.equal(boxes_xyxy, boxes)


def test_unstable_and_empty_masks_are_dropped():
    logits = blobs(12, 32, 1)
    ious = torch.linspace(0.3, 1.0, 12)
    points = torch.arange(24.0).reshape(12, 2)
    params = GeneratorParams(pred_iou_thresh=0.5, stability_score_thresh=0.6)

    found = screen(points, logits, ious, 64, 64, params)

    assert 0 < len(found) < 12
    assert bool((found.stability >= 0.6).all())
    assert float(found.predicted_iou.max()) < 1.0
    rows = [int(torch.isclose(ious, iou).nonzero()) for iou in found.predicted_iou]
    assert torch.equal(found.points_xy, points[torch.tensor(rows)])


def test_none_of_no_masks_are_kept():
    found = screen(
        torch.zeros(2, 2),
        torch.zeros(2, 8, 8),
        torch.zeros(2),
        16,
        16,
        GeneratorParams(),
    )

    assert len(found) == 0
    assert found.boxes_xyxy.shape == (0, 4)
