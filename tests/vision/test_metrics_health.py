"""Automatic masks are counted, measured and compared with another model's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.fakes import ComponentSegmenter
from vision.masks import mask_to_rle
from vision.metrics import ImageMasks, mask_agreement, mask_health

STACKS = st.lists(
    st.integers(0, 4).flatmap(lambda n: hnp.arrays(np.bool_, (n, 9, 7))), min_size=1, max_size=4
)


def images_of(stacks):
    return [
        ImageMasks(str(i), 9, 7, [mask_to_rle(mask) for mask in stack], [0.5] * len(stack))
        for i, stack in enumerate(stacks)
    ]


@given(STACKS)
def test_counts_and_coverage(stacks):
    found = mask_health(images_of(stacks))
    assert found.masks.tolist() == [len(stack) for stack in stacks]
    np.testing.assert_allclose(found.coverage, [s.any(axis=0).mean() for s in stacks])
    assert found.metrics()["empty_share"] == np.mean([len(stack) == 0 for stack in stacks])


def iou(one, other):
    union = (one | other).sum()
    return (one & other).sum() / union if union else 0.0


@given(STACKS, st.randoms(use_true_random=False))
def test_agreement_is_the_best_iou_both_ways(stacks, random):
    others = [stack[random.randrange(2) :] ^ (random.random() < 0.3) for stack in stacks]
    found = mask_agreement(images_of(stacks), images_of(others)[::-1])
    pairs = list(zip(stacks, others, strict=True))
    first = [max((iou(a, b) for b in other), default=0) for one, other in pairs for a in one]
    second = [max((iou(a, b) for a in one), default=0) for one, other in pairs for b in other]
    np.testing.assert_allclose(found.first_iou, first)
    np.testing.assert_allclose(found.second_iou, second)
    assert found.image_of_first.tolist() == [i for i, s in enumerate(stacks) for _ in s]
    assert found.image_of_second.tolist() == [i for i, s in enumerate(others) for _ in s]
    swapped = mask_agreement(images_of(others), images_of(stacks))
    np.testing.assert_array_equal(np.sort(swapped.first_iou), np.sort(found.second_iou))


def test_the_same_masks_agree_and_disjoint_ones_do_not():
    left, right = np.zeros((2, 1, 9, 7), bool)
    left[0, :, :3] = True
    right[0, :, 3:] = True
    same = mask_agreement(images_of([left]), images_of([left])).metrics()
    assert same == {"agreement": 1, "agreement.first": 1, "agreement.second": 1}
    assert mask_agreement(images_of([left]), images_of([right])).metrics()["agreement"] == 0
    nothing = mask_agreement(images_of([left]), images_of([left[:0]]))
    assert nothing.first_iou.tolist() == [0]
    assert np.isnan(nothing.metrics()["agreement"])


def test_what_a_segmenter_found():
    rgb = np.full((40, 50, 3), 255, np.uint8)
    rgb[10:20, 5:15] = 0
    rgb[30:35, 0:50] = 0
    masks = ComponentSegmenter().segment(rgb)
    image = ImageMasks.from_masks("a", masks, 40, 50)
    assert image.scores == pytest.approx([0.925, 0.925])
    assert ImageMasks.from_masks("a", masks, 40, 50, rank="predicted_iou").scores == [0.9, 0.9]
    found = mask_health([image, ImageMasks("b", 40, 50, (), ())])
    assert found.metrics() == pytest.approx(
        {"masks_per_image": 1, "empty_share": 0.5, "coverage": 350 / 2000 / 2}
    )


def test_no_images_have_no_numbers():
    assert all(map(np.isnan, mask_health([]).metrics().values()))
    assert all(map(np.isnan, mask_agreement([], []).metrics().values()))


def test_models_are_compared_on_the_same_images():
    one, two = images_of([np.ones((1, 9, 7), bool)] * 2)
    with pytest.raises(ValueError, match="only one has 1"):
        mask_agreement([one, two], [one])
    with pytest.raises(ValueError, match="'0' is there twice"):
        mask_agreement([one, one], [one])
    with pytest.raises(ValueError, match="is 7 x 9 px, but its masks are 9 x 7 px"):
        mask_agreement([one], [ImageMasks("0", 7, 9, (), ())])
