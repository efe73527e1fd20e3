"""Values of single images, put together, are those of all images measured together."""

import numpy as np
import pytest

from tests.drops import BLUE, GRAY, GREEN, RED, box_picture
from tests.fakes import ComponentSegmenter
from vision.masks import mask_to_rle, rle_to_mask
from vision.metrics import (
    ImageMasks,
    ImageObjects,
    PromptSample,
    boundary_f,
    evaluate_prompts,
    mask_health,
    mask_recall,
)
from vision.metrics.image_values import automatic_values, prompt_values
from vision.metrics.one_click import answers_to_one_click

WIDTH, HEIGHT = 140, 110
SMALL, LARGE, ROUGH, MEDIUM = (5, 5, 20, 12), (30, 4, 100, 100), (4, 60, 20, 20), (2, 2, 20, 90)


class ColorModel:
    """Answers with all pixels that have the color of the last click or of the middle of the box.

    Of three answers the first is rated best and has a row more, the second is exact.
    """

    def set_image(self, rgb):
        self.rgb = rgb.astype(int)

    def predict(
        self, points_xy=None, point_labels=None, box_xyxy=None, mask_logits=None, multimask=False
    ):
        if box_xyxy is not None:
            places = (box_xyxy[:, :2] + box_xyxy[:, 2:]) / 2
        else:
            places = points_xy[:, 0]
        exact = np.stack([(self.rgb == self.rgb[int(y), int(x)]).all(axis=2) for x, y in places])
        more = exact | np.roll(exact, 1, axis=1)
        masks = np.stack([more, exact, ~exact], axis=1)[:, : 3 if multimask else 1]
        rated = np.tile(np.array([0.9, 0.5, 0.1], np.float32), (len(masks), 1))
        return masks, rated[:, : masks.shape[1]], np.zeros((*masks.shape[:2], 8, 8), np.float32)


def box_mask(box):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    x, y, width, height = box
    mask[y : y + height, x : x + width] = True
    return mask


def sample(image_id, *colored, more=()):
    rgb = box_picture(colored, WIDTH, HEIGHT)
    boxes = [box for box, _ in colored] + list(more)
    return PromptSample(image_id, rgb, [mask_to_rle(box_mask(box)) for box in boxes])


SAMPLES = [
    sample("a", (SMALL, RED), (LARGE, BLUE)),
    sample("b", (ROUGH, GREEN), more=[(6, 62, 10, 30)]),
    # Nothing but white: it has no masks, and an object all the same.
    sample("c", more=[(10, 10, 20, 20)]),
    sample("d", (LARGE, GRAY), (MEDIUM, RED)),
]


def together(per_sample, name):
    return np.array([v for values in per_sample for v in values.get(name, ())])


def test_prompts_are_those_of_all_images_together():
    model = ColorModel()
    values = [prompt_values(model, each, seed=3) for each in SAMPLES]
    expected = evaluate_prompts(model, SAMPLES, seed=3).metrics()
    assert expected.keys() == values[0].keys()
    for name, value in expected.items():
        assert together(values, name).mean() == pytest.approx(value, abs=1e-12), name
    assert [len(each["miou@1.centre"]) for each in values] == [2, 2, 1, 2]


def test_automatic_masks_are_those_of_all_images_together():
    segmenter = ComponentSegmenter()
    values = [automatic_values(segmenter, each) for each in SAMPLES]
    truth = [ImageObjects(each.image_id, HEIGHT, WIDTH, each.rles) for each in SAMPLES]
    found = [
        ImageMasks.from_masks(each.image_id, segmenter.segment(each.rgb), HEIGHT, WIDTH)
        for each in SAMPLES
    ]
    expected = mask_recall(truth, found).metrics() | mask_health(found).metrics()
    assert {*expected, "boundary_f"} == {name for each in values for name in each}
    for name, value in expected.items():
        assert together(values, name).mean() == pytest.approx(value, abs=1e-12), name
    assert values[2]["empty_share"] == (1.0,)
    assert values[2]["boundary_f"] == (0.0,)
    assert values[0]["boundary_f"] == (1.0, 1.0)
    over = boundary_f(box_mask((6, 62, 10, 30)), box_mask(ROUGH))
    assert 0 < over < 1
    assert values[1]["boundary_f"] == (1.0, over)
    assert "ar@100.large" not in values[1]  # nothing there is large


def test_an_answer_has_the_iou_that_is_measured_and_can_be_drawn():
    model = ColorModel()
    for each in SAMPLES:
        answers = answers_to_one_click(model, each)
        measured = prompt_values(model, each)["miou@1.centre"]
        assert tuple(answer.iou for answer in answers) == pytest.approx(measured, abs=1e-12)
        for answer, rle in zip(answers, each.rles, strict=True):
            x, y = answer.click_xy
            assert answer.truth == rle
            assert rle_to_mask(rle, HEIGHT, WIDTH)[y, x]
            predicted = rle_to_mask(answer.predicted, HEIGHT, WIDTH)
            assert predicted[y, x]
