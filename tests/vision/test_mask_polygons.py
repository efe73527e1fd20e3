import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from vision.masks import PolygonError, RleError, polygons_to_rle, rle_area, rle_to_mask
from vision.masks.polygons import MAX_PARTS, MAX_VERTICES, crosses_itself

SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]

coordinates = st.floats(-20, 60, allow_nan=False) | st.integers(-5, 45)
rings = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9).map(
    lambda points: [value for point in points for value in point]
)


@given(st.lists(rings, min_size=1, max_size=4), st.integers(1, 50), st.integers(1, 50))
def test_polygons_rasterise_exactly_as_pycocotools_does(
    polygons: list[list[float]], height: int, width: int
):
    if any(abs(v) > 4 * max(height, width) for ring in polygons for v in ring):
        with pytest.raises(PolygonError, match=r"polygon\.too_far"):
            polygons_to_rle(polygons, height, width)
        return
    expected = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    rle = polygons_to_rle(polygons, height, width)
    assert rle == expected["counts"]
    assert rle_to_mask(rle, height, width).sum() == coco_mask.area(expected)


def test_wide_bands_of_a_huge_image_keep_their_area():
    # Four runs of more than 2**24 pixels each: pycocotools writes past its text buffer here.
    height, width = 10_000, 9_000
    bands = [[x, -10, x + 1700, -10, x + 1700, height + 10, x, height + 10] for x in (1700, 5100)]
    assert rle_area(polygons_to_rle(bands, height, width)) == 2 * 1700 * height


@given(rings)
def test_direction_and_a_repeated_first_point_do_not_matter(ring: list[float]):
    reversed_ring = [v for point in zip(ring[-2::-2], ring[::-2], strict=True) for v in point]
    closed = [*ring, *ring[:2]]
    integral = [float(round(v)) for v in ring]
    turned = [float(round(v)) for v in reversed_ring]
    assert polygons_to_rle([integral], 40, 40) == polygons_to_rle([turned], 40, 40)
    assert polygons_to_rle([closed], 40, 40) == polygons_to_rle([ring], 40, 40)


@pytest.mark.parametrize(
    ("polygons", "area_px"),
    [
        ([SQUARE], 100),  # corners lie between pixels: cv2.fillPoly would paint 121
        ([[10.4, 10.4, 20.6, 10.4, 20.6, 20.6, 10.4, 20.6]], 121),
        ([[0, 0, 40, 0, 40, 40, 0, 40]], 1600),
        ([[0, 0, 39, 0, 39, 39, 0, 39]], 1521),
        ([[-50, -50, 90, -50, 90, 90, -50, 90]], 1600),
        ([[5, 5, 20, 5, 35, 5]], 0),
        ([SQUARE, [15, 15, 25, 15, 25, 25, 15, 25]], 175),  # parts unite, overlaps count once
        ([SQUARE, SQUARE], 100),
    ],
)
def test_known_shapes_have_their_known_area(polygons: list[list[float]], area_px: int):
    assert rle_area(polygons_to_rle(polygons, 40, 40)) == area_px


@pytest.mark.parametrize(
    ("polygons", "rule", "pointer"),
    [
        ([SQUARE, [1, 2, 3, 4, 5, 6, 7]], "polygon.odd", "/1"),
        ([[1, 2, 3, 4]], "polygon.too_short", "/0"),
        ([[]], "polygon.too_short", "/0"),
        ([], "polygon.empty", ""),
        ("square", "polygon.type", ""),
        ([10, 20, 30], "polygon.type", "/0"),
        ([[1, 2, 3, "4", 5, 6]], "polygon.value_type", "/0/3"),
        ([[1, 2, 3, None, 5, 6]], "polygon.value_type", "/0/3"),
        ([[1, 2, 3, True, 5, 6]], "polygon.value_type", "/0/3"),
        ([[1, 2, math.nan, 4, 5, 6]], "polygon.not_finite", "/0/2"),
        ([[1, 2, -math.inf, 4, 5, 6]], "polygon.not_finite", "/0/2"),
        ([[1, 2, 3, 4, 5, 2e8]], "polygon.too_far", "/0/5"),
        ([[1, 2, 3, 4, 5, -1e300]], "polygon.too_far", "/0/5"),
        ([[1, 2, 3, 4, 5, 10**400]], "polygon.too_far", "/0/5"),
        ([[1.0] * (2 * MAX_VERTICES + 2)], "polygon.too_many_vertices", "/0"),
        ([[1.0] * MAX_VERTICES] * 3, "polygon.too_many_vertices", ""),
        ([SQUARE] * (MAX_PARTS + 1), "polygon.too_many_parts", ""),
        ([[0, 0, 150, 150] * 20_000], "polygon.outline_too_long", ""),
    ],
)
def test_dangerous_polygons_are_refused_by_rule_and_place(polygons: list, rule: str, pointer: str):
    with pytest.raises(PolygonError) as caught:
        polygons_to_rle(polygons, 40, 40)
    assert (caught.value.rule, caught.value.pointer) == (rule, pointer)


@pytest.mark.parametrize("size", [(0, 40), (40, -1), (2**32 + 2, 1), (65536, 65536)])
def test_impossible_image_sizes_are_refused(size: tuple[int, int]):
    with pytest.raises(RleError):
        polygons_to_rle([SQUARE], *size)


@pytest.mark.parametrize(
    ("ring", "crosses"),
    [
        (SQUARE, False),
        ([10, 10, 20, 20, 20, 10, 10, 20], True),
        ([*SQUARE, 10, 10], False),
        ([0, 0, 10, 0, 10, 10, 5, 3, 0, 10], False),
        ([0, 0, 10, 0, 10, 10], False),
    ],
)
def test_crossings_are_found(ring: list[float], crosses: bool):
    assert crosses_itself(np.array(ring, float)) is crosses
