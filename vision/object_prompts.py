"""Ask a model for single objects, each by clicks, a box, a rough mask, or several of these."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vision.masks.rle import mask_to_rle
from vision.prompted import Floats, PromptedModel

# What sam2 makes of a mask without logits (`SAM2Base._use_mask_as_output`): mask * 20 - 10.
_LOGIT = 10.0


class PromptError(ValueError):
    """A prompt that makes no sense on its image."""


@dataclass(frozen=True)
class Click:
    """A click; the middle of the top left pixel is (0, 0).

    Attributes:
        x: From the left, in px.
        y: From the top, in px.
        on_object: Whether it is on the object, or beside it.
    """

    x: float
    y: float
    on_object: bool = True


@dataclass(frozen=True)
class ObjectPrompt:
    """What says which object is meant.

    Attributes:
        clicks: Clicks.
        box_xyxy: Left, top, right and bottom of a box around it, in px.
        mask: A rough mask of it, bool, shape (height, width) of the image.
    """

    clicks: tuple[Click, ...] = ()
    box_xyxy: tuple[float, float, float, float] | None = None
    mask: npt.NDArray[np.bool_] | None = None

    @property
    def is_ambiguous(self) -> bool:
        """Whether it may mean several things, as a single click does: a word, a bubble, a page."""
        return len(self.clicks) == 1 and self.box_xyxy is None and self.mask is None


@dataclass(frozen=True)
class AnsweredMask:
    """A mask that a model answered.

    Attributes:
        rle: Compressed COCO counts.
        area_px: Pixels in it.
        bbox_xywh: Left, top, width and height of the box around it, in px; zeros if it is empty.
        predicted_iou: How good the model thinks that it is.
    """

    rle: bytes
    area_px: int
    bbox_xywh: tuple[int, int, int, int]
    predicted_iou: float


def answer_prompts(
    model: PromptedModel,
    rgb: npt.NDArray[np.uint8],
    prompts: Sequence[ObjectPrompt],
    multimask: bool | None = None,
) -> list[list[AnsweredMask]]:
    """Ask for each object.

    Args:
        model: The model.
        rgb: The image, uint8, shape (height, width, 3).
        prompts: One for each object.
        multimask: Three masks of each object; False gives one. None gives three where a prompt is
            ambiguous.

    Returns:
        The masks of each object, the one that the model thinks best first.

    Raises:
        PromptError: If a prompt is empty or lies outside of the image.
    """
    height, width = rgb.shape[:2]
    for prompt in prompts:
        _check(prompt, height, width)
    model.set_image(rgb)
    return [
        _answer(model, prompt, prompt.is_ambiguous if multimask is None else multimask)
        for prompt in prompts
    ]


def _answer(model: PromptedModel, prompt: ObjectPrompt, multimask: bool) -> list[AnsweredMask]:
    clicks = prompt.clicks
    masks, ious, _ = model.predict(
        points_xy=np.array([[(click.x, click.y) for click in clicks]], float) if clicks else None,
        point_labels=np.array([[int(click.on_object) for click in clicks]]) if clicks else None,
        box_xyxy=None if prompt.box_xyxy is None else np.array([prompt.box_xyxy], float),
        mask_logits=None if prompt.mask is None else _logits(prompt.mask, model.mask_side),
        multimask=multimask,
    )
    found = [_answered(mask, float(iou)) for mask, iou in zip(masks[0], ious[0], strict=True)]
    return sorted(found, key=lambda answered: -answered.predicted_iou)


def _logits(mask: npt.NDArray[np.bool_], side: int) -> Floats:
    share = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    logits: Floats = ((2 * share - 1) * _LOGIT).astype(np.float32)[None]
    return logits


def _answered(mask: npt.NDArray[np.bool_], iou: float) -> AnsweredMask:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return AnsweredMask(mask_to_rle(mask), int(mask.sum()), (x, y, width, height), iou)


def _check(prompt: ObjectPrompt, height: int, width: int) -> None:
    size = f"the image is {width} x {height} px"
    for click in prompt.clicks:
        if not (-0.5 <= click.x < width and -0.5 <= click.y < height):
            raise PromptError(f"the click {click.x:g},{click.y:g} is outside of the image: {size}")
    if prompt.box_xyxy is not None:
        left, top, right, bottom = prompt.box_xyxy
        if not (left < right and top < bottom):
            told = ",".join(f"{value:g}" for value in prompt.box_xyxy)
            raise PromptError(f"expected a box as left,top,right,bottom, but got {told}")
        if right < 0 or bottom < 0 or left >= width or top >= height:
            raise PromptError(f"the box is outside of the image: {size}")
        if left < -width or top < -height or right > 2 * width or bottom > 2 * height:
            raise PromptError(f"the box reaches far beyond the image: {size}")
    if prompt.mask is not None:
        if prompt.mask.shape != (height, width):
            found = f"{prompt.mask.shape[1]} x {prompt.mask.shape[0]}"
            raise PromptError(f"the mask is {found} px, but {size}")
        if not prompt.mask.any():
            raise PromptError("the mask is empty")
    if not prompt.clicks and prompt.box_xyxy is None and prompt.mask is None:
        raise PromptError("a prompt needs clicks, a box or a mask")
