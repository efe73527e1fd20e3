import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from examples.comics import CATEGORIES, Page, generate_page, write_drop
from examples.comics.annotations import figure_polygons, polygons_to_mask
from examples.comics.drop import BROKEN_IMAGE, run_lengths

# pycocotools 2.0 meets numpy 2 with an old __array__; its results are right
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SEEDS = range(500_000_000, 500_000_024)


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    return [generate_page(seed) for seed in SEEDS]


def fingerprint(page: Page) -> int:
    total = zlib.crc32(page.image.tobytes())
    for thing in page.objects:
        total = zlib.crc32(thing.mask.tobytes() + repr(thing.polygons).encode(), total)
    return total


def test_a_seed_gives_the_same_page_in_another_process():
    code = (
        "from tests.examples.test_comics import fingerprint, generate_page;"
        "print(fingerprint(generate_page(7)))"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(out.stdout) == fingerprint(generate_page(7))


def test_pages_are_those_that_the_demo_models_learned_from():
    seeds = (5, 77, 910_000_003)
    assert [fingerprint(generate_page(seed)) for seed in seeds] == [
        2874752567, 3042192490, 2119521059
    ]  # fmt: skip


def test_a_page_does_not_depend_on_the_pages_drawn_before():
    first = fingerprint(generate_page(11))
    generate_page(12)
    assert fingerprint(generate_page(11)) == first


def test_other_seeds_give_other_pages(pages: list[Page]):
    assert len({fingerprint(page) for page in pages}) == len(pages)


def test_polygons_drawn_by_pycocotools_are_the_masks(pages: list[Page]):
    drawn = [thing for page in pages for thing in page.objects if thing.polygons is not None]
    assert len(drawn) > 200
    for thing in drawn:
        height, width = thing.mask.shape
        runs = coco_mask.merge(coco_mask.frPyObjects(thing.polygons, height, width))
        assert np.array_equal(coco_mask.decode(runs).astype(bool), thing.mask)


def test_polygons_lie_on_the_page_and_masks_are_never_empty(pages: list[Page]):
    for page in pages:
        height, width = page.image.shape[:2]
        assert page.image.dtype == np.uint8 and page.image.shape[2] == 3
        for thing in page.objects:
            assert thing.mask.dtype == np.bool_ and thing.mask.shape == (height, width)
            assert thing.mask.any()
            for flat in thing.polygons or []:
                points = np.array(flat).reshape(-1, 2)
                assert len(points) >= 3
                assert (points >= 0).all() and (points <= (width, height)).all()


def test_every_category_is_common(pages: list[Page]):
    for category in CATEGORIES:
        holding = [any(thing.category == category for thing in page.objects) for page in pages]
        assert sum(holding) > len(pages) * 0.7, category


def test_characters_end_where_bubbles_and_other_characters_begin(pages: list[Page]):
    for page in pages:
        figures = [t.mask for t in page.objects if t.category == "character"]
        above = [t.mask for t in page.objects if t.category == "bubble"] + figures
        for index, figure in enumerate(figures):
            for number, other in enumerate(above):
                if number == len(above) - len(figures) + index:
                    continue
                # polygons follow the visible pixels to about one pixel at the rim
                core = cv2.erode(figure.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
                inner = cv2.erode(other.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
                assert not (core & inner).any()


def test_lines_of_text_are_boxes_of_a_readable_height(pages: list[Page]):
    bubbles = [[t.mask for t in page.objects if t.category == "bubble"] for page in pages]
    heights = []
    for page, masks in zip(pages, bubbles, strict=True):
        for thing in page.objects:
            inside = any((thing.mask & mask).sum() > 0.9 * thing.mask.sum() for mask in masks)
            if thing.category != "text" or not inside:
                continue
            assert thing.polygons is not None and len(thing.polygons[0]) == 8
            _, _, width, height = cv2.boundingRect(thing.mask.astype(np.uint8))
            heights.append(min(width, height))
    assert len(heights) > 40
    assert np.quantile(heights, 0.02) >= 8


def test_every_bubble_holds_text(pages: list[Page]):
    for page in pages:
        texts = [t.mask for t in page.objects if t.category == "text"]
        for bubble in (t.mask for t in page.objects if t.category == "bubble"):
            assert any((text & bubble).sum() > 0.9 * text.sum() for text in texts)


def test_sizes_are_kept(pages: list[Page]):
    assert all(max(page.image.shape[:2]) == 512 for page in pages)
    assert max(generate_page(3, 1536).image.shape) == 1536
    assert max(generate_page(3, 128).image.shape) == 128


def test_a_style_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="one of pen, woodcut, got 'fresco'"):
        generate_page(1, style="fresco")  # type: ignore[arg-type]


def test_a_page_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 128, got 64"):
        generate_page(1, 64)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_run_lengths_are_those_of_pycocotools(mask: np.ndarray):
    height, width = mask.shape
    ours = coco_mask.frPyObjects(
        {"counts": run_lengths(mask), "size": [height, width]}, height, width
    )
    assert np.array_equal(coco_mask.decode(ours).astype(bool), mask)


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 5), st.integers(0, 5))
def test_a_filled_box_keeps_its_place_as_a_polygon(width: int, height: int, x: int, y: int):
    visible = np.zeros((60, 60), np.bool_)
    visible[y : y + height, x : x + width] = True
    polygons = figure_polygons(visible)
    assert polygons is not None
    mask = polygons_to_mask(polygons, 60, 60)
    assert (mask & visible).sum() / (mask | visible).sum() > 0.9


def test_a_region_with_a_hole_has_no_polygon():
    visible = np.ones((40, 40), np.bool_)
    visible[10:20, 10:20] = False
    assert figure_polygons(visible) is None


def test_a_drop_reads_back_by_pycocotools(tmp_path: Path):
    seeds = SEEDS[:6]
    written = write_drop(tmp_path, seeds)
    assert (tmp_path / "_DONE").read_bytes() == b""
    coco = COCO(tmp_path / "annotations.json")
    assert (len(coco.imgs), len(coco.anns)) == (written.images, written.annotations)
    assert [c["name"] for c in coco.cats.values()] == list(CATEGORIES)
    for number, seed in enumerate(seeds, start=1):
        page = generate_page(seed)
        entry = coco.imgs[number]
        stored = cv2.imread(str(tmp_path / entry["file_name"]))[..., ::-1]
        assert stored.shape == page.image.shape == (entry["height"], entry["width"], 3)
        if entry["file_name"].endswith("png"):
            assert np.array_equal(stored, page.image)
        for thing, stored_id in zip(page.objects, coco.getAnnIds(imgIds=number), strict=True):
            annotation = coco.anns[stored_id]
            assert np.array_equal(coco.annToMask(annotation).astype(bool), thing.mask)
            assert annotation["area"] == thing.mask.sum()


def test_the_same_seeds_write_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        write_drop(tmp_path / name, [5, 6], broken=True)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_broken_drop_has_one_bad_image_and_one_bad_annotation(tmp_path: Path):
    write_drop(tmp_path, [5, 6], broken=True)
    document = json.loads((tmp_path / "annotations.json").read_text())
    assert document["images"][-1]["file_name"] == BROKEN_IMAGE
    data = (tmp_path / BROKEN_IMAGE).read_bytes()
    assert data.startswith(b"\xff\xd8") and not data.endswith(b"\xff\xd9")
    odd = [
        a
        for a in document["annotations"]
        if isinstance(a["segmentation"], list) and any(len(flat) % 2 for flat in a["segmentation"])
    ]
    assert odd == [document["annotations"][-1]]


def test_a_drop_without_seeds_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="at least one seed"):
        write_drop(tmp_path, [])


def test_the_demo_drop_shows_every_form_of_segmentation(tmp_path: Path):
    write_drop(tmp_path, range(910_000_000, 910_000_012))
    annotations = json.loads((tmp_path / "annotations.json").read_text())["annotations"]
    kinds = set()
    for annotation in annotations:
        segmentation = annotation["segmentation"]
        if isinstance(segmentation, list):
            kinds.add("polygon" if len(segmentation) == 1 else "polygons")
        else:
            kinds.add("compressed" if isinstance(segmentation["counts"], str) else "runs")
    assert kinds == {"polygon", "polygons", "compressed", "runs"}
