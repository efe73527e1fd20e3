"""What a model answers to one click in the centre of each object, to be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vision.masks import mask_to_rle, rle_iou, rle_to_mask
from vision.metrics.clicks import POSITIVE, centre_clicks
from vision.metrics.prompts import PromptSample
from vision.prompted import PromptedModel

_OBJECTS_AT_ONCE = 16


@dataclass(frozen=True)
class ClickAnswer:
    """A click and the mask that came of it.

    Attributes:
        truth: Mask of the object, as compressed COCO counts.
        predicted: The mask that the model rates highest of its three, likewise; it may be empty.
        click_xy: The pixel that was clicked.
        iou: Of the two masks, 0 to 1: what `miou@1.centre` is the mean of.
    """

    truth: bytes
    predicted: bytes
    click_xy: tuple[int, int]
    iou: float


def answers_to_one_click(model: PromptedModel, sample: PromptSample) -> list[ClickAnswer]:
    """Click each object of an image once.

    Args:
        model: The model.
        sample: The image with its objects.

    Raises:
        ValueError: An object is empty.
        RleError: A mask is not of the image's size.
    """
    height, width = sample.rgb.shape[:2]
    answers: list[ClickAnswer] = []
    model.set_image(sample.rgb)
    for start in range(0, len(sample.rles), _OBJECTS_AT_ONCE):
        answers += _answers(model, sample.rles[start : start + _OBJECTS_AT_ONCE], height, width)
    return answers


def _answers(
    model: PromptedModel, rles: Sequence[bytes], height: int, width: int
) -> list[ClickAnswer]:
    truth = np.stack([rle_to_mask(rle, height, width) for rle in rles])
    points = centre_clicks(truth)
    labels = np.full((len(rles), 1), POSITIVE, np.int32)
    masks, rated, _ = model.predict(points[:, None], labels, multimask=True)
    best = rated.argmax(axis=1)
    answers = []
    for place, rle in enumerate(rles):
        predicted = mask_to_rle(masks[place, best[place]])
        x, y = points[place]
        iou = float(rle_iou([rle], [predicted], height, width)[0, 0])
        answers.append(ClickAnswer(rle, predicted, (int(x), int(y)), iou))
    return answers
