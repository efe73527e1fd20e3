"""Objects are cut out by clicks, boxes and rough masks; what makes no sense is refused."""

import numpy as np
import pytest

from examples.comics.page import generate_page
from vision.draw.prompts import draw_prompted
from vision.masks.rle import rle_to_mask
from vision.object_prompts import Click, ObjectPrompt, PromptError, answer_prompts
from vision.sam2 import load_prompted


class Squares:
    """Answers with squares around the first click, or with the box, as large as it is sure."""

    mask_side = 16

    def __init__(self):
        self.asked = []

    def set_image(self, rgb):
        self.size = rgb.shape[:2]

    def predict(self, points_xy, point_labels, box_xyxy, mask_logits, multimask):
        self.asked.append((points_xy, point_labels, box_xyxy, mask_logits))
        count = 3 if multimask else 1
        masks = np.zeros((1, count, *self.size), bool)
        for number in range(count):
            masks[0, number, 4 : 8 + 2 * number, 6:10] = True
        return masks, np.array([[0.2, 0.9, 0.5][:count]]), np.zeros((1, count, 16, 16))


RGB = np.zeros((20, 30, 3), np.uint8)


def test_the_best_mask_comes_first_with_its_facts():
    (masks,) = answer_prompts(Squares(), RGB, [ObjectPrompt((Click(7, 5),))])
    assert [mask.predicted_iou for mask in masks] == [0.9, 0.5, 0.2]
    best = masks[0]
    assert (best.area_px, best.bbox_xywh) == (24, (6, 4, 4, 6))
    assert rle_to_mask(best.rle, 20, 30).sum() == 24


@pytest.mark.parametrize(
    ("prompt", "multimask", "count"),
    [
        (ObjectPrompt((Click(1, 1),)), None, 3),
        (ObjectPrompt((Click(1, 1),)), False, 1),
        (ObjectPrompt((Click(1, 1), Click(2, 2, False))), None, 1),
        (ObjectPrompt((Click(1, 1),), (0, 0, 9, 9)), None, 1),
        (ObjectPrompt((), (0, 0, 9, 9)), True, 3),
    ],
)
def test_a_single_click_may_mean_several_things(prompt, multimask, count):
    (masks,) = answer_prompts(Squares(), RGB, [prompt], multimask)
    assert len(masks) == count


def test_what_is_asked_reaches_the_model():
    model = Squares()
    rough = np.zeros((20, 30), bool)
    rough[:, :15] = True
    prompt = ObjectPrompt((Click(3, 4), Click(5, 6, on_object=False)), (1, 2, 8, 9), rough)
    answer_prompts(model, RGB, [prompt])
    ((points, labels, box, logits),) = model.asked
    assert points.tolist() == [[[3, 4], [5, 6]]]
    assert labels.tolist() == [[1, 0]]
    assert box.tolist() == [[1, 2, 8, 9]]
    assert logits.shape == (1, 16, 16)
    assert logits[0, :, :8].min() == 10 and logits[0, :, 8:].max() == -10


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (ObjectPrompt(), "needs clicks, a box or a mask"),
        (ObjectPrompt((Click(30, 5),)), "outside of the image: the image is 30 x 20 px"),
        (ObjectPrompt((Click(float("nan"), 5),)), "outside of the image"),
        (ObjectPrompt((), (9, 9, 3, 12)), "expected a box as left,top,right,bottom"),
        (ObjectPrompt((), (40, 9, 50, 12)), "the box is outside"),
        (ObjectPrompt((), (0, 0, float("inf"), 12)), "the box reaches far beyond"),
        (ObjectPrompt((), None, np.ones((30, 20), bool)), "the mask is 20 x 30 px"),
        (ObjectPrompt((), None, np.zeros((20, 30), bool)), "the mask is empty"),
    ],
)
def test_what_makes_no_sense_is_told(prompt, told):
    with pytest.raises(PromptError, match=told):
        answer_prompts(Squares(), RGB, [prompt])


def test_the_demo_model_answers_on_a_page():
    rgb = generate_page(3, size_px=256).image
    height, width = rgb.shape[:2]
    prompts = [
        ObjectPrompt((Click(width / 2, height / 2),)),
        ObjectPrompt((), (10, 10, width - 10, height / 2)),
    ]
    model = load_prompted("demo", device="cpu")
    first, second = answer_prompts(model, rgb, prompts)
    assert (len(first), len(second)) == (3, 1)
    assert all(0 < mask.area_px <= height * width for mask in (*first, *second))
    # A mask alone is a hint that this model has hardly learnt from: it is taken, no more.
    rough = ObjectPrompt((), None, rle_to_mask(second[0].rle, height, width))
    ((again,),) = answer_prompts(model, rgb, [rough])
    assert 0 < again.area_px <= height * width
    drawn = draw_prompted(rgb, prompts, [first[0], second[0]])
    assert drawn.shape == rgb.shape
    assert (drawn != rgb).any(axis=2).sum() >= second[0].area_px / 2
