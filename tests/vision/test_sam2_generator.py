import os
from dataclasses import asdict, replace
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

from examples.comics import generate_page
from vision.images import decode_image
from vision.masks.rle import rle_iou, rle_to_mask
from vision.sam2 import GeneratorParams, Segmenter, load_segmenter, preset
from vision.sam2.config import demo_model
from vision.sam2.embedding import embed_image
from vision.sam2.generator import AutomaticMaskGenerator
from vision.sam2.two_way import SharedImage

REAL_DATA = Path(os.environ.get("SEGMILL_REAL_DATA", "no-real-data"))
IMAGE_SIZE = 128
THEIRS = set(signature(SAM2AutomaticMaskGenerator.__init__).parameters) - {"min_mask_region_area"}

# The logits of a stirred model are large, and only their peaks differ from point to point.
OPEN = GeneratorParams(
    points_per_side=6,
    pred_iou_thresh=0.0,
    stability_score_thresh=0.1,
    stability_score_offset=2.0,
    mask_threshold=130.0,
    box_nms_thresh=0.9,
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    model = demo_model(IMAGE_SIZE)
    # A fresh model answers alike everywhere; stirred, its masks depend on the point.
    with torch.no_grad():
        for value in model.sam_mask_decoder.parameters():
            value.add_(torch.randn_like(value) * 0.3)
        for value in model.image_encoder.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    return model


@pytest.fixture(scope="module")
def page():
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (6, 5, 3), dtype=np.uint8).repeat(25, 0).repeat(22, 1)


def changed(**changes):
    return GeneratorParams(**(asdict(OPEN) | changes))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def masks_of_sam2(model, rgb, params):
    arguments = {k: v for k, v in asdict(params).items() if k in THEIRS}
    generator = SAM2AutomaticMaskGenerator(model, output_mode="coco_rle", **arguments)
    side = model.image_size
    generator.predictor._bb_feat_sizes = [(side // stride,) * 2 for stride in (4, 8, 16)]
    return generator.generate(rgb)


def assert_same(ours, theirs, rgb):
    """Each mask has its equal, but for what the rounding of sums in other batches may change."""
    assert len(ours) == len(theirs) > 1
    size = list(rgb.shape[:2])
    counts = [{"size": size, "counts": mask.rle} for mask in ours]
    overlaps = coco_mask.iou(counts, [r["segmentation"] for r in theirs], [0] * len(theirs))
    for mask, overlap in zip(ours, overlaps, strict=True):
        # Of masks that two points share, rounding decides which point they are told with.
        best, record = max(
            zip(overlap, theirs, strict=True),
            key=lambda pair: (
                round(pair[0], 3),
                tuple(pair[1]["point_coords"][0]) == mask.point_xy,
                -abs(pair[1]["predicted_iou"] - mask.predicted_iou),
            ),
        )
        assert best > 0.999
        assert mask.predicted_iou == pytest.approx(record["predicted_iou"], abs=1e-4)
        assert mask.stability_score == pytest.approx(record["stability_score"], abs=1e-3)
        assert list(mask.crop_box_xywh) == record["crop_box"]
        # sam2 takes the last column and row for the box's end, COCO what comes after them.
        x, y, width, height = record["bbox"]
        assert mask.bbox_xywh == pytest.approx((x, y, width + 1, height + 1), abs=1)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
@pytest.mark.parametrize(
    "params",
    [
        OPEN,
        changed(box_nms_thresh=0.5),
        changed(pred_iou_thresh=0.3, stability_score_thresh=0.7, mask_threshold=110.0),
        changed(multimask_output=False, points_per_batch=7),
        changed(crop_n_layers=1, crop_n_points_downscale_factor=2, crop_nms_thresh=0.9),
        changed(use_m2m=True, points_per_side=4, mask_threshold=20.0),
        changed(use_m2m=True, multimask_output=False, mask_threshold=20.0),
    ],
    ids=["open", "nms", "thresholds", "single-mask", "crops", "m2m", "single-mask-m2m"],
)
def test_the_masks_are_those_of_sam2s_own_generator(model, page, params):
    ours = AutomaticMaskGenerator(model, params).segment(page)

    assert_same(ours, masks_of_sam2(model, page, params), page)


def test_points_of_ones_own_give_the_masks_that_a_grid_of_them_gives(model, page):
    grid = tuple((x, y) for y in (0.25, 0.75) for x in (0.25, 0.75))
    own = changed(point_grids=(grid,))

    ours = AutomaticMaskGenerator(model, own).segment(page)

    assert ours == AutomaticMaskGenerator(model, changed(points_per_side=2)).segment(page)
    assert ours


def test_the_fast_masks_are_nearly_the_exact_ones():
    # Random weights magnify rounding; trained ones do not.
    page = generate_page(7, 256).image
    params = preset("demo", points_per_side=6, points_per_column=8)
    exact = load_segmenter("demo", params, "cpu", 256).segment(page)
    fast = load_segmenter("demo", replace(params, precision="fast"), "cpu", 256).segment(page)

    overlaps = rle_iou([m.rle for m in exact], [m.rle for m in fast], *page.shape[:2])
    assert len(exact) > 5
    assert overlaps.max(axis=1).mean() > 0.9
    assert fast != exact


def test_an_encoder_that_overflows_with_16_bits_computes_with_32(monkeypatch, caplog):
    model = demo_model(IMAGE_SIZE)
    page = np.zeros((20, 30, 3), np.uint8)
    monkeypatch.setattr("vision.sam2.embedding.short_float", lambda device: torch.float16)
    with torch.no_grad():
        model.no_mem_embed.fill_(1e6)

    embedding = embed_image(model, page, fast=True)

    assert embedding.features.dtype == torch.float32
    assert embedding.features.isfinite().all()
    assert "overflows" in caplog.text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("multimask_output", [True, False])
def test_either_16_bit_type_serves(model, page, monkeypatch, dtype, multimask_output):
    monkeypatch.setattr("vision.sam2.embedding.short_float", lambda device: dtype)
    params = changed(precision="fast", multimask_output=multimask_output, points_per_side=3)
    assert AutomaticMaskGenerator(model, params).segment(page)


def test_where_memory_is_short_fewer_points_are_decoded_at_once(model, page, monkeypatch, caplog):
    expected = AutomaticMaskGenerator(model, changed(points_per_batch=2)).segment(page)
    attend = SharedImage.attend

    def short_of_memory(self, tokens):
        if len(tokens) > 2:
            raise torch.OutOfMemoryError
        return attend(self, tokens)

    monkeypatch.setattr(SharedImage, "attend", short_of_memory)
    generator = AutomaticMaskGenerator(model, changed(points_per_batch=8))

    assert generator.segment(page) == expected
    assert generator.points_per_batch == 2
    assert "from now on 4 points" in caplog.text
    assert "from now on 2 points" in caplog.text


def test_a_memory_too_small_for_one_point_is_told(model, page, monkeypatch):
    def no_memory(self, tokens):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(SharedImage, "attend", no_memory)
    with pytest.raises(torch.OutOfMemoryError):
        AutomaticMaskGenerator(model, OPEN).segment(page)


def test_the_parent_is_the_smallest_mask_around(model, page):
    masks = AutomaticMaskGenerator(model, OPEN).segment(page)
    pixels = [rle_to_mask(mask.rle, *page.shape[:2]) for mask in masks]

    assert any(mask.parent is not None for mask in masks)
    for inner, mask in zip(pixels, masks, strict=True):
        around = [
            (outer.sum(), place)
            for place, outer in enumerate(pixels)
            if outer.sum() > inner.sum() and (inner & outer).sum() >= 0.95 * inner.sum()
        ]
        if mask.parent is None:
            assert not around
        else:
            assert pixels[mask.parent].sum() == min(around)[0]


def test_nested_masks_can_be_left_out(model, page):
    everything = AutomaticMaskGenerator(model, OPEN).segment(page)

    kept = AutomaticMaskGenerator(model, changed(keep_nested=False)).segment(page)

    assert kept == [mask for mask in everything if mask.parent is None]
    assert 0 < len(kept) < len(everything)


def test_a_mask_says_the_truth_about_itself(model, page):
    masks = AutomaticMaskGenerator(model, OPEN).segment(page)

    for mask in masks:
        pixels = rle_to_mask(mask.rle, *page.shape[:2])
        counts = {"size": list(page.shape[:2]), "counts": mask.rle}
        assert mask.area_px == pixels.sum() > 0
        assert list(mask.bbox_xywh) == coco_mask.toBbox(counts).tolist()
    ious = [mask.predicted_iou for mask in masks]
    assert ious == sorted(ious, reverse=True)


def test_it_follows_the_protocol_and_says_what_it_is(model):
    generator: Segmenter = AutomaticMaskGenerator(model, OPEN, "stirred-0123")

    assert generator.model_id == "stirred-0123"
    assert len(generator.params_id) == 12


def test_the_masks_do_not_depend_on_the_batches(model, page):
    few = AutomaticMaskGenerator(model, changed(points_per_batch=3)).segment(page)
    many = AutomaticMaskGenerator(model, OPEN).segment(page)

    assert [mask.point_xy for mask in few] == [mask.point_xy for mask in many]
    for one, other in zip(few, many, strict=True):
        assert one.area_px == pytest.approx(other.area_px, rel=1e-3, abs=1)


def test_masks_too_small_or_too_large_are_dropped(model, page):
    everything = AutomaticMaskGenerator(model, OPEN).segment(page)
    areas = sorted(mask.area_px for mask in everything)
    least, most = areas[1], areas[-2]
    params = changed(min_area_px=least, max_area_fraction=most / page[..., 0].size)

    kept = AutomaticMaskGenerator(model, params).segment(page)

    assert {m.rle for m in kept} == {m.rle for m in everything if least <= m.area_px <= most}


def test_of_nearly_equal_masks_only_the_best_stays(model, page):
    everything = AutomaticMaskGenerator(model, changed(box_nms_thresh=1.0)).segment(page)
    kept = AutomaticMaskGenerator(model, changed(box_nms_thresh=1.0, dedup_mask_iou=0.7)).segment(
        page
    )
    counts = [{"size": list(page.shape[:2]), "counts": mask.rle} for mask in kept]
    overlaps = coco_mask.iou(counts, counts, [0] * len(counts))

    assert 0 < len(kept) < len(everything)
    assert replace(kept[0], parent=None) == replace(everything[0], parent=None)
    assert (overlaps - np.eye(len(kept)) <= 0.7).all()


def test_small_holes_and_islands_are_cleaned_in_pixels_of_the_image(model, page):
    kept = AutomaticMaskGenerator(model, changed(min_mask_region_area=80)).segment(page)

    for mask in kept:
        pixels = rle_to_mask(mask.rle, *page.shape[:2]).astype(np.uint8)
        for part in (pixels, 1 - pixels):
            areas = np.unique(regions(part), return_counts=True)[1][1:]
            assert (areas >= 80).all() or len(areas) == 1


def regions(part):
    import cv2

    labels = cv2.connectedComponents(part, connectivity=8)[1]
    return np.concatenate([[0], labels[labels > 0]])


def test_an_image_without_a_good_mask_has_none(model, page):
    generator = AutomaticMaskGenerator(model, changed(pred_iou_thresh=1.0, crop_n_layers=1))

    assert generator.segment(page) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5000, 3), (200, 2, 3)])
def test_images_of_odd_shapes_are_cut(model, shape):
    rgb = np.full(shape, 90, np.uint8)

    for mask in AutomaticMaskGenerator(model, OPEN).segment(rgb):
        assert rle_to_mask(mask.rle, *shape[:2]).any()


@pytest.mark.parametrize("name", ["sam1-notebook", "dense"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 3, 3), (6, 6, 3), (1, 300, 3), (5, 9, 3)])
def test_images_of_few_pixels_are_cut_with_every_preset(model, name, shape):
    params = preset(name, points_per_side=4, pred_iou_thresh=0.0)
    for mask in AutomaticMaskGenerator(model, params).segment(np.full(shape, 90, np.uint8)):
        assert rle_to_mask(mask.rle, *shape[:2]).any()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_image_is_refused(model, wrong):
    with pytest.raises(ValueError, match="rgb must be uint8"):
        AutomaticMaskGenerator(model, OPEN).segment(wrong)


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="SEGMILL_REAL_DATA names no folder")
def test_released_weights_give_the_masks_of_sam2s_own_generator():
    weights = REAL_DATA / "weights" / "sam2_hiera_tiny_image_only.safetensors"
    params = GeneratorParams(
        points_per_side=4, pred_iou_thresh=0.4, stability_score_thresh=0.6, box_nms_thresh=0.9
    )
    generator = load_segmenter(f"file:{weights}", params, device="cpu")
    photo = (REAL_DATA / "sam2_photos" / "truck.jpg").read_bytes()
    rgb = decode_image(photo, 100_000_000).rgb.copy()

    ours = generator.segment(rgb)

    assert len(ours) > 10
    assert_same(ours, masks_of_sam2(generator.model, rgb, params), rgb)
