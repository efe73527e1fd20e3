"""Prompts give what sam2's own predictor gives."""

import os
from pathlib import Path

import numpy as np
import pytest
from sam2.sam2_image_predictor import SAM2ImagePredictor

from examples.comics import generate_page
from vision.images import decode_image
from vision.sam2 import load_prompted
from vision.sam2.prompted import PromptedSam2

REAL_DATA = Path(os.environ.get("SEGMILL_REAL_DATA", "no-real-data"))
WEIGHTS = REAL_DATA / "weights" / "sam2_hiera_tiny_image_only.safetensors"


@pytest.fixture(scope="module")
def page():
    return generate_page(900_000_002).image[:450]


@pytest.fixture(scope="module")
def ours(page):
    prompted = load_prompted("demo", device="cpu")
    prompted.set_image(page)
    return prompted


@pytest.fixture(scope="module")
def theirs(ours, page):
    return sam2_predictor(ours.model, page)


def sam2_predictor(model, rgb):
    predictor = SAM2ImagePredictor(model)
    # Without this it knows models of 1024 pixels only.
    predictor._bb_feat_sizes = [(model.image_size // stride,) * 2 for stride in (4, 8, 16)]
    predictor.set_image(rgb)
    return predictor


# sam2's transforms are compiled with it.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")

POINTS = np.array([[[100.0, 120.0], [30.0, 400.0]], [[250.0, 200.0], [255.0, 210.0]]])
LABELS = np.array([[1, 0], [1, 1]])
BOXES = np.array([[20.0, 30.0, 150.0, 230.0], [190.0, 5.0, 370.0, 440.0]])


def hints(theirs):
    _, _, logits = theirs.predict(box=BOXES[0], multimask_output=False)
    return np.concatenate([logits, -logits])


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize(
    "given",
    [
        {"points"},
        {"box"},
        {"mask"},
        {"points", "box"},
        {"points", "mask"},
        {"box", "mask"},
        {"points", "box", "mask"},
    ],
    ids=lambda given: "+".join(sorted(given)),
)
def test_masks_scores_and_logits_are_those_of_sam2(ours, theirs, given, multimask):
    logits = hints(theirs)
    masks, scores, low = ours.predict(
        points_xy=POINTS if "points" in given else None,
        point_labels=LABELS if "points" in given else None,
        box_xyxy=BOXES if "box" in given else None,
        mask_logits=logits if "mask" in given else None,
        multimask=multimask,
    )
    assert (masks.dtype, scores.dtype, low.dtype) == (np.bool_, np.float32, np.float32)
    for prompt in range(2):
        expected = theirs.predict(
            point_coords=POINTS[prompt] if "points" in given else None,
            point_labels=LABELS[prompt] if "points" in given else None,
            box=BOXES[prompt] if "box" in given else None,
            mask_input=logits[prompt][None] if "mask" in given else None,
            multimask_output=multimask,
        )
        np.testing.assert_allclose(scores[prompt], expected[1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(low[prompt], expected[2], rtol=1e-3, atol=1e-3)
        assert masks[prompt].shape == expected[0].shape
        assert (masks[prompt] != (expected[0] > 0)).mean() < 1e-5
        assert low[prompt].std() > 0.5


def test_prompts_are_answered_apart_and_in_order_whatever_the_batch(ours):
    many = PromptedSam2(ours.model, prompts_per_batch=2)
    many._image, many._decoder = ours._image, ours._decoder
    points = np.array([[[x, 200.0]] for x in (20, 100, 180, 260, 340)])
    labels = np.ones((5, 1), int)
    masks, scores, logits = many.predict(points, labels, multimask=True)
    assert masks.shape == (5, 3, 450, 376)
    for place in range(5):
        one = ours.predict(points[place][None], labels[place][None], multimask=True)
        np.testing.assert_array_equal(one[0][0], masks[place])
        np.testing.assert_allclose(one[1][0], scores[place], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(one[2][0], logits[place], rtol=1e-3, atol=1e-3)


def test_sixteen_bits_give_nearly_the_same_masks(ours, page):
    fast = load_prompted("demo", precision="fast", device="cpu")
    fast.set_image(page)
    hint = ours.predict(box_xyxy=BOXES)[2][:, 0]
    for prompts in ({"box_xyxy": BOXES}, {"box_xyxy": BOXES, "mask_logits": hint}):
        masks, scores, logits = fast.predict(**prompts)
        expected = ours.predict(**prompts)
        assert (logits.dtype, scores.dtype) == (np.float32, np.float32)
        assert (masks != expected[0]).mean() < 0.02
        np.testing.assert_allclose(scores, expected[1], atol=0.1)


def test_a_click_of_label_minus_one_is_padding(ours):
    plain = ours.predict(POINTS[:, :1], LABELS[:, :1])
    padded = ours.predict(POINTS, np.where(LABELS == 0, -1, LABELS))
    np.testing.assert_array_equal(plain[0][1].shape, padded[0][1].shape)
    # sam2 adds a padding token of its own, so that another one changes little, but not nothing.
    assert (plain[0][0] != padded[0][0]).mean() < 0.02


def test_without_an_image_there_is_nothing_to_ask(ours):
    with pytest.raises(RuntimeError, match="set_image"):
        PromptedSam2(ours.model).predict(POINTS, LABELS)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "expected a prompt"),
        ({"points_xy": POINTS}, "a label for each point"),
        ({"point_labels": LABELS}, "a label for each point"),
        ({"points_xy": POINTS, "point_labels": LABELS[:, :1]}, "a label for each point"),
        ({"points_xy": POINTS[0], "point_labels": LABELS[0]}, r"points_xy of shape \(n, n, 2\)"),
        ({"box_xyxy": BOXES[0]}, r"box_xyxy of shape \(n, 4\)"),
        ({"box_xyxy": BOXES[:0]}, "at least one"),
        ({"box_xyxy": BOXES[:1], "points_xy": POINTS, "point_labels": LABELS}, "as many of each"),
        ({"mask_logits": np.zeros((2, 9, 9))}, r"mask_logits of shape \(n, 128, 128\)"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(ours, prompts, message):
    with pytest.raises(ValueError, match=message):
        ours.predict(**prompts)


@pytest.mark.parametrize(
    "rgb", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_image_is_refused(ours, rgb):
    with pytest.raises(ValueError, match="rgb must be uint8"):
        ours.set_image(rgb)


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.is_file(), reason="SEGMILL_REAL_DATA names no folder")
def test_released_weights_answer_as_sam2_does_on_a_photo():
    rgb = decode_image((REAL_DATA / "sam2_photos" / "truck.jpg").read_bytes()).rgb
    ours = load_prompted(f"file:{WEIGHTS}", device="cpu")
    ours.set_image(rgb)
    theirs = sam2_predictor(ours.model, rgb.copy())
    points = np.array([[[500.0, 375.0], [1125.0, 625.0]]])
    for labels in ([[1, 1]], [[1, 0]]):
        masks, scores, logits = ours.predict(points, np.array(labels), multimask=True)
        expected = theirs.predict(points[0], np.array(labels[0]))
        np.testing.assert_allclose(scores[0], expected[1], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(logits[0], expected[2], rtol=1e-2, atol=1e-2)
        assert (masks[0] != (expected[0] > 0)).mean() < 1e-4
