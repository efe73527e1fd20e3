import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from vision.masks import (
    RleError,
    mask_to_rle,
    parse_rle,
    rle_area,
    rle_bbox,
    rle_containment,
    rle_intersection,
    rle_iou,
    rle_to_mask,
    rle_union,
)
from vision.masks.rle import rle_to_box_mask
from vision.masks.runs import decompress, rle_to_runs, runs_to_rle

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))
masks = arrays(np.bool_, shapes)
pairs = shapes.flatmap(lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape)))


def coco_object(mask: np.ndarray) -> dict:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


@given(masks)
def test_encoding_and_area_and_box_agree_with_pycocotools(mask: np.ndarray):
    expected = coco_object(mask)
    rle = mask_to_rle(mask)
    assert rle == expected["counts"]
    assert rle_area(rle) == coco_mask.area(expected)
    assert list(rle_bbox(rle, *mask.shape)) == coco_mask.toBbox(expected).tolist()


@given(masks)
def test_decoding_gives_back_the_encoded_mask(mask: np.ndarray):
    decoded = rle_to_mask(mask_to_rle(mask), *mask.shape)
    assert decoded.dtype == np.bool_
    assert decoded.flags["C_CONTIGUOUS"]
    assert np.array_equal(decoded, mask)


@given(masks)
def test_run_lengths_compress_to_the_bytes_they_came_from(mask: np.ndarray):
    rle = mask_to_rle(mask)
    assert runs_to_rle(rle_to_runs(rle, *mask.shape)) == rle


@given(pairs)
def test_union_and_overlap_agree_with_numpy(pair: tuple[np.ndarray, np.ndarray]):
    first, second = pair
    height, width = first.shape
    rles = [mask_to_rle(first), mask_to_rle(second)]
    assert np.array_equal(
        rle_to_mask(rle_union(rles, height, width), height, width), first | second
    )
    assert np.array_equal(
        rle_to_mask(rle_intersection(rles, height, width), height, width), first & second
    )
    inside = rle_containment(rles[:1], rles[1:], height, width)
    assert inside[0, 0] == pytest.approx(
        np.count_nonzero(first & second) / max(1, np.count_nonzero(first))
    )
    if (union := np.count_nonzero(first | second)) > 0:
        iou = rle_iou(rles[:1], rles[1:], height, width)
        assert iou.shape == (1, 1)
        assert iou[0, 0] == pytest.approx(np.count_nonzero(first & second) / union)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_zero_length_runs_are_merged_without_changing_the_mask(runs: list[int]):
    height, width = max(1, sum(runs)), 1
    runs = runs if sum(runs) else [1]
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    rle = parse_rle({"size": [height, width], "counts": runs}, height, width)
    assert rle == mask_to_rle(flat.reshape(height, width))


# From 2**24 on, pycocotools itself may write past its buffer.
@given(st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=30))
def test_large_run_lengths_are_written_as_pycocotools_writes_them(runs: list[int]):
    total = sum(runs)
    expected = coco_mask.frPyObjects({"size": [total, 1], "counts": runs}, total, 1)["counts"]
    assert runs_to_rle(np.array(runs, dtype=np.int64)) == expected


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=30))
def test_even_the_largest_run_lengths_survive_compression(runs: list[int]):
    rle = runs_to_rle(np.array(runs, dtype=np.int64))
    assert decompress(rle, max_runs=30).tolist() == runs


def test_list_text_and_bytes_describe_the_same_mask():
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True
    rle = mask_to_rle(mask)
    runs = rle_to_runs(rle, 10, 12).tolist()
    for counts in (rle, rle.decode(), runs, tuple(runs)):
        assert parse_rle({"size": [10, 12], "counts": counts}, 10, 12) == rle


def test_masks_with_values_other_than_one_encode_like_boolean_ones():
    mask = np.zeros((6, 7), np.uint8)
    mask[1:3, 2:5] = 255
    assert mask_to_rle(mask) == mask_to_rle(mask > 0)


def test_an_empty_mask_has_no_area_and_no_box():
    rle = mask_to_rle(np.zeros((5, 6), bool))
    assert rle_area(rle) == 0
    assert rle_bbox(rle, 5, 6) == (0, 0, 0, 0)
    assert rle_union([], 5, 6) == rle
    assert rle_to_mask(rle_intersection([], 5, 6), 5, 6).all()


def test_a_crowd_counts_the_area_of_the_first_mask_alone():
    small, large = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    small[:2, :2] = True
    rles = [mask_to_rle(small)], [mask_to_rle(large)]
    assert rle_iou(*rles, 8, 8)[0, 0] == pytest.approx(4 / 64)
    assert rle_iou(*rles, 8, 8, second_is_crowd=[True])[0, 0] == 1.0
    assert rle_iou([], rles[1], 8, 8).shape == (0, 1)


def compressed(*runs: int) -> str:
    return runs_to_rle(np.array(runs, dtype=np.int64)).decode()


@pytest.mark.parametrize(
    ("size", "counts", "rule"),
    [
        ([10, 10], [50, 49], "rle.short"),
        ([10, 10], compressed(50, 49), "rle.short"),
        ([10, 10], [50, 51], "rle.long"),
        ([10, 10], compressed(50, 51), "rle.long"),
        ([10, 10], "d1", "rle.short"),
        ([10, 10], "do", "rle.unterminated"),
        ([10, 10], "d\x20", "rle.byte"),
        ([10, 10], "dp", "rle.byte"),
        ([10, 10], "dä", "rle.byte"),
        ([10, 10], [101, -1], "rle.negative"),
        ([10, 10], compressed(101, -1), "rle.negative"),
        ([10, 10], [2**32, 1], "rle.count_too_large"),
        ([10, 10], "oooooooo0", "rle.count_too_large"),
        ([10, 10], [50.0, 50.0], "rle.count_type"),
        ([10, 10], [True, 99], "rle.count_type"),
        ([10, 10], [50, None], "rle.count_type"),
        ([10, 10], [0] * 101 + [100], "rle.too_many_runs"),
        ([10, 10], "0" * 102, "rle.too_many_runs"),
        ([10, 10], [], "rle.empty"),
        ([10, 10], "", "rle.empty"),
        ([10, 10], None, "rle.counts"),
        ([10, 10], {"0": 1}, "rle.counts"),
        ([10, 20], [200], "rle.size_mismatch"),
        ([0, 10], [0], "rle.size"),
        ([-10, -10], [100], "rle.size"),
        ([10.5, 10], [100], "rle.size"),
        ([True, 10], [10], "rle.size"),
        ([10], [100], "rle.size"),
        (None, [100], "rle.size"),
        ([2**32 + 2, 1], [2**32 + 2], "rle.too_large"),
        ([65536, 65536], [65536**2], "rle.too_large"),
    ],
)
def test_counts_that_are_no_mask_of_the_image_are_refused(size: object, counts: object, rule: str):
    with pytest.raises(RleError) as caught:
        parse_rle({"size": size, "counts": counts}, 10, 10)
    assert caught.value.rule == rule


def test_a_swapped_size_is_called_that():
    with pytest.raises(RleError, match=r"rle\.size_swapped"):
        parse_rle({"size": [20, 10], "counts": [200]}, 10, 20)


@given(st.binary(max_size=30), shapes)
def test_random_bytes_are_refused_or_decode_to_zeros_and_ones(data: bytes, shape: tuple[int, int]):
    try:
        mask = rle_to_mask(data, *shape)
    except RleError:
        return
    assert mask.shape == shape
    assert set(np.unique(mask.view(np.uint8))) <= {0, 1}


@given(st.lists(st.integers(48, 111), max_size=12), shapes)
def test_random_counts_never_reach_the_overlap_or_union_unchecked(
    codes: list[int], shape: tuple[int, int]
):
    counts = bytes(codes)
    full = mask_to_rle(np.ones(shape, bool))
    for use in (
        lambda: rle_iou([counts], [full], *shape),
        lambda: rle_union([counts, full], *shape),
        lambda: rle_bbox(counts, *shape),
    ):
        try:
            use()
        except RleError:
            continue
        assert np.prod(shape) == rle_to_runs(counts, *shape).sum()


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
def test_arrays_that_are_no_mask_are_refused(shape: tuple[int, ...]):
    with pytest.raises(RleError, match=r"rle\.mask_shape"):
        mask_to_rle(np.zeros(shape, bool))


@given(masks)
def test_a_mask_drawn_in_its_box_is_the_mask_without_what_lies_around(mask):
    part, (x, y, width, height) = rle_to_box_mask(mask_to_rle(mask), *mask.shape)
    assert np.array_equal(part, mask[y : y + height, x : x + width])
    assert part.sum() == mask.sum()
    assert rle_bbox(mask_to_rle(mask), *mask.shape) == (x, y, width, height)
