"""Masks made by numpy and by the compiled kernels are pycocotools', and their PNGs are the same."""

import zlib
from io import BytesIO
from itertools import islice

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco_mask

from benchmarks.coco_masks import count_mismatches, exact_mask, fuzz_images
from vision.masks import (
    PolygonError,
    RleError,
    mask_to_png,
    mask_to_rle,
    masks_made_by,
    parse_rle,
    png_to_mask,
    polygons_to_rle,
    rle_to_png,
    segmentation_to_png,
    segmentations_to_pngs,
)
from vision.masks.kernels import compress_rows, decompress, fill_rings
from vision.masks.polygons import MAX_OUTLINE_PX, check_polygons, rings_to_runs
from vision.masks.rasterise import ring_to_runs
from vision.masks.row_stream import row_stride, runs_to_zlib
from vision.masks.runs import rle_to_runs, runs_to_rle, union_of_runs

MAKERS = ("numpy", "kernels")
SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]

coordinates = (
    st.floats(-20, 60)
    | st.integers(-5, 45)
    | st.integers(-10, 90).map(lambda n: n / 2)
    | st.integers(-25, 225).map(lambda n: n / 5)
    | st.integers(-10, 90).map(lambda n: np.nextafter(n / 10, 100))
)
rings = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=12).map(
    lambda points: [float(value) for point in points for value in point]
)
sides = st.integers(15, 50)
masks = arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


def rows_of(mask: np.ndarray, bit_depth: int) -> bytes:
    """The unfiltered rows of a PNG, by a way of their own."""
    pixels = np.packbits(mask, axis=1) if bit_depth == 1 else mask.astype(np.uint8) * 255
    return np.hstack([np.zeros((len(mask), 1), np.uint8), pixels]).tobytes()


def assert_all_readers_see(png: bytes, mask: np.ndarray, bit_depth: int = 1):
    opencv = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(opencv, mask * np.uint8(255))
    with Image.open(BytesIO(png)) as image:
        assert image.mode == {1: "1", 8: "L"}[bit_depth]
        assert np.array_equal(np.asarray(image) > 0, mask)
    assert np.array_equal(png_to_mask(png), mask)


@settings(deadline=None)  # the first call loads or compiles a kernel
@given(st.lists(rings, min_size=1, max_size=4), sides, sides)
def test_polygons_become_pycocotools_masks(polygons: list[list[float]], height: int, width: int):
    expected = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))["counts"]
    checked = check_polygons(polygons, height, width)
    in_numpy = [ring_to_runs(ring, height, width) for ring in checked]
    assert runs_to_rle(union_of_runs(in_numpy, height * width)) == expected
    pngs = set()
    for maker in MAKERS:
        with masks_made_by(maker):
            assert polygons_to_rle(polygons, height, width) == expected
            assert runs_to_rle(rings_to_runs(checked, height, width)) == expected
            pngs.add(segmentation_to_png(polygons, height, width))
    assert len(pngs) == 1
    assert_all_readers_see(pngs.pop(), exact_mask(polygons, height, width) > 0)


@settings(deadline=None)
@given(masks, st.sampled_from([1, 8]))
def test_any_mask_is_written_alike_by_both_makers(mask: np.ndarray, bit_depth: int):
    rle = mask_to_rle(mask)
    pngs = set()
    for maker in MAKERS:
        with masks_made_by(maker):
            pngs |= {rle_to_png(rle, *mask.shape, bit_depth), mask_to_png(mask, bit_depth)}
    assert len(pngs) == 1
    assert_all_readers_see(pngs.pop(), mask, bit_depth)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(1, 12))
def test_crowds_with_runs_of_length_zero_are_read_and_written(counts: list[int], width: int):
    counts = [*counts, width - sum(counts) % width]
    height = sum(counts) // width
    assume(len(counts) <= height * width + 1)
    crowd = {"size": [height, width], "counts": counts}
    compressed = coco_mask.frPyObjects(crowd, height, width)
    pngs = set()
    for maker in MAKERS:
        with masks_made_by(maker):
            pngs.add(segmentation_to_png(crowd, height, width))
            pngs.add(rle_to_png(compressed["counts"], height, width))
            pngs.add(rle_to_png(parse_rle(crowd, height, width), height, width))
    assert len(pngs) == 1
    assert_all_readers_see(pngs.pop(), coco_mask.decode(compressed) > 0)


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 9), (9, 1), (7, 8), (3, 17), (50, 640), (1536, 1030)]
)
@pytest.mark.parametrize("bit_depth", [1, 8])
def test_empty_full_and_striped_masks_of_awkward_sizes(
    maker: str, shape: tuple[int, int], bit_depth: int
):
    with masks_made_by(maker):
        for mask in (
            np.zeros(shape, bool),
            np.ones(shape, bool),
            np.indices(shape)[0] % 3 == 1,
            np.indices(shape)[1] % 3 == 1,
            np.indices(shape).sum(axis=0) == min(shape) // 2,
            np.indices(shape).sum(axis=0) == sum(shape) - 2,
        ):
            assert_all_readers_see(mask_to_png(mask, bit_depth), mask, bit_depth)


@pytest.mark.parametrize("maker", MAKERS)
def test_runs_and_copies_of_every_length_survive_compression(maker: str):
    for width in [*range(1, 12), *range(250, 270), *range(510, 525), *range(768, 780)]:
        mask = np.zeros((4, width), bool)
        mask[1, : width // 2] = mask[2, width // 2 :] = True
        with masks_made_by(maker):
            png = mask_to_png(mask, 8)
        start = png.index(b"IDAT") + 4
        stream = png[start : start + int.from_bytes(png[start - 8 : start - 4], "big")]
        assert zlib.decompress(stream) == rows_of(mask, 8)


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("width", [32_767, 32_768, 65_535, 65_536, 262_136, 262_144])
def test_rows_at_the_limits_of_deflate_and_of_the_kernels(maker: str, width: int):
    mask = np.zeros((3, width), bool)
    mask[1, 5:-7] = mask[2, 40:90] = True
    with masks_made_by(maker):
        for bit_depth in (1, 8):
            assert np.array_equal(png_to_mask(mask_to_png(mask, bit_depth)), mask)


def test_noise_is_written_by_both_makers_alike():
    mask = np.random.default_rng(0).random((1200, 2000)) < 0.5
    pngs = set()
    for maker in MAKERS:
        with masks_made_by(maker):
            pngs |= {mask_to_png(mask), mask_to_png(mask[:600, :900])}
    assert len(pngs) == 2
    assert any(np.array_equal(png_to_mask(png), mask) for png in pngs)


ZIGZAG = [float(value) for i in range(200) for value in (10 + 200 * (i % 2), i)]
TILES = [[x, y, x + 5, y, x + 5, y + 5, x, y + 5] for x in range(0, 90, 9) for y in range(0, 90, 9)]


@pytest.mark.parametrize(
    "polygons",
    [
        [ZIGZAG],
        TILES,
        [[-400, -400, 900, -400, 900, 900, -400, 900]],
        [[5, 5, 5, 5, 5, 5]],
        [[-50, 3, -20, 3, -20, 90]],
    ],
)
def test_shapes_that_kernels_leave_to_numpy_or_that_lie_outside(polygons: list[list[float]]):
    for maker in MAKERS:
        with masks_made_by(maker):
            png = segmentation_to_png(polygons, 230, 230)
        assert np.array_equal(png_to_mask(png), exact_mask(polygons, 230, 230))


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("segmentation", "error"),
    [
        ([[1, 2, 3, 4, 5, float("nan")]], PolygonError),
        ([[1, 2, 3, 4, 5, 1e300]], PolygonError),
        ([[1, 2, 3, 4, 5, 10**400]], PolygonError),
        ([[1, 2, 3, 4, 5, True]], PolygonError),
        ([[1, 2, 3, 4, 5]], PolygonError),
        ([[0, 0, 150, 150] * 20_000], PolygonError),
        ([], PolygonError),
        ({"size": [40, 40], "counts": [1599]}, RleError),
        ({"size": [40, 40], "counts": "d1"}, RleError),
        ({"size": [40, 40], "counts": "oooooooo0"}, RleError),
    ],
)
def test_bad_input_is_refused_by_both_makers(maker: str, segmentation: object, error: type):
    with masks_made_by(maker), pytest.raises(error):
        segmentation_to_png(segmentation, 40, 40)


def test_masks_of_an_image_come_in_order_and_an_unknown_depth_is_refused():
    crowd = {"size": [40, 40], "counts": [40, 40, 1520]}
    pngs = list(segmentations_to_pngs([[SQUARE], crowd], 40, 40))
    assert [int(png_to_mask(png).sum()) for png in pngs] == [100, 40]
    with pytest.raises(ValueError, match="bit_depth must be 1 or 8"):
        segmentation_to_png([SQUARE], 40, 40, 2)


def test_kernels_refuse_what_would_leave_their_buffers():
    points = np.array(SQUARE, float)

    def refuses(points: np.ndarray, ends: list[int]) -> bool:
        return fill_rings(points, np.array(ends, np.int64), 40, 40, MAX_OUTLINE_PX).size == 0

    assert not refuses(points, [8])
    assert refuses(points, [80])
    assert refuses(points, [7, 8])
    assert refuses(points, [6, 2])
    assert refuses(points * np.inf, [8])
    assert refuses(points * 100, [8])
    assert refuses(np.empty(0), [])
    assert decompress(np.frombuffer(b"000", np.uint8), 2).size == 0
    assert decompress(np.frombuffer(b"0o", np.uint8), 2).size == 0
    table, head = np.zeros((3, 259), np.uint64), np.zeros(1, np.uint64)
    for runs in ([5], [-3, 19], [16, 1]):
        assert compress_rows(np.array(runs), 4, 4, 1, table, head, head).size == 0
    assert compress_rows(np.array([16]), 4, 4, 1, table[:, :9], head, head).size == 0


@settings(deadline=None)
@given(st.lists(st.integers(48, 111), min_size=1, max_size=14), sides)
def test_both_makers_read_or_refuse_the_same_counts(codes: list[int], side: int):
    read = []
    for maker in MAKERS:
        with masks_made_by(maker):
            try:
                read.append(rle_to_runs(bytes(codes), side, side).tolist())
            except RleError as error:
                read.append(error.rule)
    assert read[0] == read[1]


@settings(deadline=None)
@given(masks, st.sampled_from([1, 8]))
def test_the_numpy_stream_inflates_to_the_rows(mask: np.ndarray, bit_depth: int):
    height, width = mask.shape
    stream = runs_to_zlib(rle_to_runs(mask_to_rle(mask), height, width), height, width, bit_depth)
    rows = zlib.decompress(stream)
    assert rows == rows_of(mask, bit_depth)
    assert len(rows) == height * row_stride(width, bit_depth)


def assert_numpy_rings_are_exact(count: int, seed: int):
    for image in islice(fuzz_images(seed, 2 * count), count):
        size = image.height, image.width
        for polygons in image.segmentations:
            if isinstance(polygons, list):
                checked = check_polygons(polygons, *size)
                runs = union_of_runs([ring_to_runs(r, *size) for r in checked], size[0] * size[1])
                expected = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))["counts"]
                assert runs_to_rle(runs) == expected


def test_no_mask_of_a_short_fuzz_differs_from_pycocotools():
    assert count_mismatches(fuzz_images(1, 1_500)) == (3_000, 0)
    assert_numpy_rings_are_exact(1_000, seed=2)


@pytest.mark.slow
def test_no_mask_of_a_long_fuzz_differs_from_pycocotools():
    assert count_mismatches(fuzz_images(3, 60_000)) == (120_000, 0)
    assert_numpy_rings_are_exact(40_000, seed=4)
