"""The woodcut style: the same things on a page, printed in another way."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from examples.comics import CATEGORIES, Page, generate_page, write_drop

# pycocotools 2.0 meets numpy 2 with an old __array__; its results are right
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SEEDS = range(500_000_000, 500_000_016)


@pytest.fixture(scope="module")
def woodcuts() -> list[Page]:
    return [generate_page(seed, style="woodcut") for seed in SEEDS]


def test_the_same_seed_gives_the_same_page(woodcuts: list[Page]):
    again = generate_page(SEEDS[3], style="woodcut")
    assert np.array_equal(again.image, woodcuts[3].image)
    assert len(again.objects) == len(woodcuts[3].objects)
    for one, other in zip(again.objects, woodcuts[3].objects, strict=True):
        assert np.array_equal(one.mask, other.mask) and one.polygons == other.polygons


def test_the_pages_look_other_than_those_of_a_pen(woodcuts: list[Page]):
    for seed, page in zip(SEEDS, woodcuts, strict=True):
        pen = generate_page(seed)
        assert page.image.shape == pen.image.shape
        difference = np.abs(page.image.astype(int) - pen.image).mean()
        assert difference > 20, seed


def test_bubbles_are_bare_where_their_masks_say(woodcuts: list[Page]):
    """Inside of a bubble, but for its text, there is next to nothing but paper."""
    seen = 0
    for page in woodcuts:
        texts = [t.mask for t in page.objects if t.category == "text"]
        gray = cv2.cvtColor(page.image, cv2.COLOR_RGB2GRAY).astype(np.float64)
        for bubble in (t.mask for t in page.objects if t.category == "bubble"):
            inside = cv2.erode(bubble.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
            bare = inside & ~np.logical_or.reduce([np.zeros_like(bubble), *texts])
            if bare.sum() > 100:
                seen += 1
                assert gray[bare].std() < 0.35 * gray.std()
    assert seen > 30


def test_polygons_drawn_by_pycocotools_are_the_masks(woodcuts: list[Page]):
    drawn = [thing for page in woodcuts for thing in page.objects if thing.polygons is not None]
    assert len(drawn) > 150
    for thing in drawn:
        height, width = thing.mask.shape
        runs = coco_mask.merge(coco_mask.frPyObjects(thing.polygons, height, width))
        assert np.array_equal(coco_mask.decode(runs).astype(bool), thing.mask)


def test_every_category_is_common(woodcuts: list[Page]):
    for category in CATEGORIES:
        holding = [any(t.category == category for t in page.objects) for page in woodcuts]
        assert sum(holding) > len(woodcuts) * 0.7, category


def test_a_page_has_one_ink_on_one_paper():
    """But for what the scanner adds, all colours lie between the two."""
    for seed in SEEDS:
        pixels = generate_page(seed, style="woodcut").image.reshape(-1, 3).astype(np.float64)
        spread = np.linalg.svd(pixels - pixels.mean(axis=0), compute_uv=False)
        assert spread[1] < 0.12 * spread[0], seed


def test_shades_are_lines(woodcuts: list[Page]):
    """Inside of panels there is far more change from pixel to pixel than a pen leaves."""
    steps = {"pen": [], "woodcut": []}
    for seed, page in zip(SEEDS, woodcuts, strict=True):
        for style, image in (("pen", generate_page(seed).image), ("woodcut", page.image)):
            gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
            steps[style].append(np.abs(np.diff(gray, axis=1)).mean())
    assert np.mean(steps["woodcut"]) > 1.5 * np.mean(steps["pen"])


def test_a_drop_of_woodcuts_has_their_images_and_masks(tmp_path: Path):
    write_drop(tmp_path, SEEDS[:1], style="woodcut", size_px=256)
    page = generate_page(SEEDS[0], 256, "woodcut")
    stored = cv2.imread(str(tmp_path / "images/page_0001.png"))[..., ::-1]
    assert np.array_equal(stored, page.image)
    annotations = json.loads((tmp_path / "annotations.json").read_text())["annotations"]
    assert [a["area"] for a in annotations] == [int(t.mask.sum()) for t in page.objects]
