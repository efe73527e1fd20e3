"""Objects are clicked as a person would, and what comes of it is measured."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from examples.comics import generate_page
from vision.masks import mask_to_rle, rle_to_mask
from vision.metrics import PromptSample, evaluate_prompts, paired_bootstrap
from vision.metrics.clicks import random_clicks
from vision.sam2 import load_prompted

HEIGHT, WIDTH = 60, 80
SIDE = 16


def rectangle(left, top, right, bottom):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


OBJECTS = [rectangle(10, 10, 30, 30), rectangle(40, 20, 70, 50), rectangle(0, 40, 20, 60)]


def sample(image_id="a", objects=OBJECTS):
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return PromptSample(image_id, rgb, [mask_to_rle(mask) for mask in objects])


class Scribe:
    """A model that writes down what it is asked, and knows the objects.

    To a first click it gives half of the object there (rated highest), all of it but a row, and
    nothing. With each correction the mask grows by two rows of its object from the top.
    """

    def __init__(self, objects=OBJECTS):
        self.objects = objects
        self.images = 0
        self.asked = []

    def set_image(self, rgb):
        self.images += 1
        assert rgb.shape == (HEIGHT, WIDTH, 3)

    def predict(
        self, points_xy=None, point_labels=None, box_xyxy=None, mask_logits=None, multimask=False
    ):
        self.asked.append((points_xy, point_labels, box_xyxy, mask_logits, multimask))
        if box_xyxy is not None:
            masks = [rectangle(*box.astype(int)) for box in box_xyxy]
            return np.array(masks)[:, None], np.ones((len(masks), 1)), np.zeros((len(masks), 1))
        masks, logits = [], []
        for place, points in enumerate(points_xy.astype(int)):
            x, y = points[0]
            known = next(mask for mask in self.objects if mask[y, x])
            rows = np.flatnonzero(known.any(axis=1))
            if multimask:
                given = [len(rows) // 2, len(rows) - 1, 0]
            else:
                given = [min(len(rows), int(mask_logits[place, 0, 0]) + 2)]
            masks.append([known & (np.arange(HEIGHT) < rows[0] + n)[:, None] for n in given])
            # The logits say how many rows the mask has.
            logits.append([np.full((SIDE, SIDE), n, np.float32) for n in given])
        scores = [[0.9, 0.5, 0.1][: len(each)] for each in masks]
        return np.array(masks), np.array(scores, np.float32), np.array(logits)


def test_a_worked_example():
    scores = evaluate_prompts(Scribe(), [sample()], prompts=["centre"])
    # Of 20, 30 and 20 rows: half, and two more with each further click.
    np.testing.assert_allclose(
        scores.click_iou["centre"].top,
        [[0.5, 0.7, 0.9], [15 / 30, 19 / 30, 23 / 30], [0.5, 0.7, 0.9]],
    )
    # All but a row, and then everything: no more clicks.
    np.testing.assert_allclose(
        scores.click_iou["centre"].oracle, [[0.95, 1, 1], [29 / 30, 1, 1], [0.95, 1, 1]]
    )
    metrics = scores.metrics()
    assert metrics["miou@1.centre"] == pytest.approx(0.5)
    assert metrics["miou@3.centre"] == pytest.approx((0.7 + 19 / 30 + 0.7) / 3)
    assert metrics["miou@5.centre.oracle"] == 1
    assert "miou.box" not in metrics
    np.testing.assert_array_equal(scores.iou(3), scores.click_iou["centre"].top[:, 1])


def test_what_the_model_is_asked():
    scribe = Scribe()
    evaluate_prompts(scribe, [sample()], clicks=[3], prompts=["centre"])
    assert scribe.images == 1
    first, second, third, after_oracle = scribe.asked
    points, labels, box, logits, multimask = first
    # The middle of 20 x 20 px is that of four pixels; the first one is taken.
    assert points.tolist() == [[[19, 19]], [[54, 34]], [[9, 49]]]
    assert labels.tolist() == [[1], [1], [1]]
    assert (box, logits, multimask) == (None, None, True)
    points, labels, box, logits, multimask = second
    # The missed lower half, 10 rows: click number two in its middle, where it first is 5 px deep.
    assert points[0].tolist() == [[19, 19], [14, 24]]
    assert labels.tolist() == [[1, 1]] * 3
    assert logits[:, 0, 0].tolist() == [10, 15, 10]
    assert logits.shape == (3, SIDE, SIDE)
    assert (box, multimask) == (None, False)
    assert third[0].shape == (3, 3, 2)
    assert third[3][:, 0, 0].tolist() == [12, 17, 12]
    # The best of the three masks goes its own way, and ends after a click.
    assert after_oracle[0][0].tolist()[0] == [19, 19]
    assert after_oracle[3][:, 0, 0].tolist() == [19, 29, 19]


def test_surplus_is_clicked_negatively():
    class Generous(Scribe):
        def predict(self, *given, **named):
            masks, scores, logits = super().predict(*given, **named)
            return masks | rectangle(0, 0, WIDTH, 8), scores, logits

    scribe = Generous(OBJECTS[:1])
    evaluate_prompts(scribe, [sample(objects=OBJECTS[:1])], clicks=[2], prompts=["centre"])
    points, labels = scribe.asked[1][:2]
    # Missed are 10 rows, 5 px deep; too much are 8 rows, 4 px deep.
    assert labels.tolist() == [[1, 1]]
    scribe.asked.clear()
    evaluate_prompts(scribe, [sample(objects=OBJECTS[:1])], clicks=[5], prompts=["centre"])
    points, labels = scribe.asked[4][:2]
    assert labels.tolist()[0][-1] == 0
    assert points[0, -1].tolist() == [3, 3]


def test_boxes_have_the_edges_of_the_outermost_pixels():
    scribe = Scribe()
    scores = evaluate_prompts(scribe, [sample()], prompts=["box"])
    [(points, _, box, _, multimask)] = scribe.asked
    assert box.tolist() == [[10, 10, 30, 30], [40, 20, 70, 50], [0, 40, 20, 60]]
    assert (points, multimask) == (None, False)
    assert scores.box_iou.tolist() == [1, 1, 1]
    assert scores.metrics() == {"miou.box": 1}


def test_random_clicks_are_the_seeds_and_the_objects_own():
    def clicked(images, seed):
        scribe = Scribe()
        evaluate_prompts(scribe, images, clicks=[1], prompts=["random"], seed=seed)
        return {
            image.image_id: asked[0].tolist()
            for image, asked in zip(images, scribe.asked, strict=True)
        }

    both = clicked([sample("a"), sample("b")], seed=3)
    assert both["a"] != both["b"]
    assert clicked([sample("b")], seed=3)["b"] == both["b"]
    assert clicked([sample("b", OBJECTS[:2])], seed=3)["b"] == both["b"][:2]
    assert clicked([sample("b")], seed=4)["b"] != both["b"]
    for mask, [[x, y]] in zip(OBJECTS, both["a"], strict=True):
        assert mask[int(y), int(x)]


def test_many_objects_are_asked_a_few_at_a_time(monkeypatch):
    whole = evaluate_prompts(Scribe(), [sample()])
    monkeypatch.setattr("vision.metrics.prompts._CHUNK_MASKS", 2)
    scribe = Scribe()
    parts = evaluate_prompts(scribe, [sample()])
    assert max(len(points) for points, *_ in scribe.asked if points is not None) == 2
    assert scribe.images == 1
    assert parts.metrics() == whole.metrics()


def test_images_without_objects_are_not_encoded():
    scribe = Scribe()
    scores = evaluate_prompts(scribe, [sample("a", []), sample("b"), sample("c", OBJECTS[:1])])
    assert scribe.images == 2
    assert scores.image_ids == ("a", "b", "c")
    assert scores.image_of_object.tolist() == [1, 1, 1, 2]
    nothing = evaluate_prompts(scribe, [])
    assert all(map(np.isnan, nothing.metrics().values()))
    assert nothing.iou(1).shape == (0,)


def test_scores_of_two_models_go_into_the_bootstrap():
    images = [sample(str(i), OBJECTS[: 1 + i % 3]) for i in range(12)]
    old = evaluate_prompts(Scribe(), images, prompts=["centre"])
    found = paired_bootstrap(old.iou(5), old.iou(1), old.image_of_object, seed=0)
    assert (found.groups, found.values) == (12, 24)
    assert found.mean_difference == pytest.approx(np.mean(old.iou(5) - old.iou(1)))
    assert found.probability_not_better == 0


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([sample(), sample()], {}, "'a' is there twice"),
        ([sample(objects=[OBJECTS[0], ~OBJECTS[0] & OBJECTS[0]])], {}, "object 1 has no pixel"),
        ([], {"clicks": [0]}, "clicks must be positive"),
        ([], {"clicks": []}, "clicks must be positive"),
        ([], {"prompts": ["scribble"]}, "expected some of"),
        ([], {"prompts": []}, "expected some of"),
    ],
)
def test_what_cannot_be_asked_is_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_prompts(Scribe(), images, **options)


def test_what_was_not_measured_is_said():
    scores = evaluate_prompts(Scribe(), [sample()], prompts=["centre"])
    with pytest.raises(ValueError, match=r"clicks among \[1, 3, 5\], but got 2"):
        scores.iou(2)
    with pytest.raises(ValueError, match="first click among"):
        scores.iou(1, "random")


def test_metrics_do_not_import_torch():
    code = "import sys, vision.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture(scope="module")
def page():
    page = generate_page(900_000_002)
    rles = [mask_to_rle(o.mask) for o in page.objects if o.mask.sum() >= 100 and not o.iscrowd]
    return PromptSample("page", page.image, rles[::4])


def test_the_demo_model_cuts_what_it_is_pointed_at(page):
    scores = evaluate_prompts(load_prompted("demo", device="cpu"), [page], clicks=[1, 2])
    assert scores.click_iou["centre"].top.shape == (len(page.rles), 2)
    # The best of three masks is no worse than the one rated highest.
    for first in ("centre", "random"):
        ious = scores.click_iou[first]
        assert (ious.oracle[:, 0] >= ious.top[:, 0]).all()
    assert scores.metrics()["miou@1.centre.oracle"] > 0.6


def test_the_first_click_is_measured_as_by_hand(page):
    model = load_prompted("demo", device="cpu")
    scores = evaluate_prompts(model, [page], clicks=[1], prompts=["random"], seed=5)
    truth = rle_to_mask(page.rles[0], *page.rgb.shape[:2])
    image = int.from_bytes(hashlib.sha256(b"page").digest()[:8], "big")
    point = random_clicks(truth[None], np.random.default_rng([5, image, 0]))
    masks, rated, _ = model.predict(point[None], np.ones((1, 1), int), multimask=True)
    top = masks[0, rated[0].argmax()]
    assert scores.iou(1, "random")[0] == (top & truth).sum() / (top | truth).sum()
