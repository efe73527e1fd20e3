"""mIoU of a promptable model: after 1, 3 and 5 clicks, and from a box.

Clicks are simulated as SAM 2 was evaluated (Ravi et al., SAM 2, 2024; Kirillov et al., Segment
Anything, 2023, section 7.1): the first gives three masks; each further one goes where the mask is
most wrong, with the mask's logits as a prompt, and gives one.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vision.masks import rle_bbox, rle_to_mask
from vision.metrics.clicks import (
    NO_CLICK,
    POSITIVE,
    centre_clicks,
    correction_clicks,
    random_clicks,
)
from vision.metrics.objects import place_in
from vision.prompted import PromptedModel

FirstClick = Literal["centre", "random"]
Prompt = Literal["centre", "random", "box"]

CLICKS = (1, 3, 5)
PROMPTS: tuple[Prompt, ...] = ("centre", "random", "box")

# So many pixels of predicted masks are held at once, a byte each.
_CHUNK_PX = 2**27
_CHUNK_MASKS = 64

Masks = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PromptSample:
    """An image and the objects that a model is asked for; crowds are none.

    Attributes:
        image_id: Names the image; where it is clicked at random depends on it.
        rgb: Shape (height, width, 3), RGB, 0 to 255.
        rles: Mask of each object, as compressed COCO counts, with at least one pixel.
    """

    image_id: str
    rgb: NDArray[np.uint8]
    rles: Sequence[bytes]


@dataclass(frozen=True)
class ClickIous:
    """IoU of each object's mask after some numbers of clicks.

    Attributes:
        top: Going on from the mask that the model rates highest; 0 to 1, shape (objects, clicks).
        oracle: Going on from the best of the three masks of the first click, which only the truth
            can tell; in the same shape.
    """

    top: Floats
    oracle: Floats


@dataclass(frozen=True)
class PromptScores:
    """How well a model cuts out what it is pointed at.

    Attributes:
        image_ids: The images.
        image_of_object: Place in `image_ids` of the image of each object, shape (objects,).
        clicks: The numbers of clicks, in the order of the columns of `click_iou`.
        click_iou: IoU after the clicks, by where the first one was: `centre` or `random`.
        box_iou: IoU from the box, 0 to 1, shape (objects,); None if boxes were not asked for.
    """

    image_ids: tuple[str, ...]
    image_of_object: NDArray[np.int64]
    clicks: tuple[int, ...]
    click_iou: Mapping[FirstClick, ClickIous]
    box_iou: Floats | None

    def iou(self, clicks: int, first: FirstClick = "centre", oracle: bool = False) -> Floats:
        """IoU of each object after so many clicks, shape (objects,): what the bootstrap takes.

        Args:
            clicks: One of `self.clicks`.
            first: Where the first click was.
            oracle: Whether to go on from the best of the first three masks.

        Raises:
            ValueError: This was not measured.
        """
        column = place_in(self.clicks, clicks, "clicks")
        place_in(list(self.click_iou), first, "first click")
        ious = self.click_iou[first]
        return (ious.oracle if oracle else ious.top)[:, column]

    def metrics(self) -> dict[str, float]:
        """Means: `miou@1.centre`, `miou@1.centre.oracle` ... `miou.box`; NaN without objects."""
        named = {}
        for first in self.click_iou:
            for clicks in self.clicks:
                named[f"miou@{clicks}.{first}"] = _mean(self.iou(clicks, first))
                named[f"miou@{clicks}.{first}.oracle"] = _mean(self.iou(clicks, first, oracle=True))
        if self.box_iou is not None:
            named["miou.box"] = _mean(self.box_iou)
        return named


def evaluate_prompts(
    model: PromptedModel,
    samples: Iterable[PromptSample],
    clicks: Sequence[int] = CLICKS,
    prompts: Sequence[Prompt] = PROMPTS,
    seed: int = 0,
) -> PromptScores:
    """Ask a model for known objects, and compare; each image is encoded once.

    An object is clicked at random where the seed, the image's id and the object's place among its
    objects say: the other images change nothing, and all models get the same first clicks. Once a
    mask is right in every pixel it is clicked no more.

    Args:
        model: The model.
        samples: The images, one after the other; only one is held.
        clicks: After how many clicks the masks are measured.
        prompts: What is asked: `centre` and `random` are the place of the first click, `box` is the
            smallest box around the mask, its edges being those of the outermost pixels.
        seed: Decides on the random clicks, not negative.

    Raises:
        ValueError: An object is empty, an image is there twice, or a parameter is out of its range.
        RleError: A mask is not of its image's size.
    """
    if not clicks or min(clicks) < 1:
        raise ValueError(f"clicks must be positive, but got {tuple(clicks)}")
    if not prompts or set(prompts) - set(PROMPTS):
        raise ValueError(f"expected some of {PROMPTS} as prompts, but got {tuple(prompts)}")
    firsts: list[FirstClick] = [first for first in ("centre", "random") if first in prompts]
    top: dict[FirstClick, list[Floats]] = {first: [] for first in firsts}
    oracle: dict[FirstClick, list[Floats]] = {first: [] for first in firsts}
    boxes: list[Floats] = []
    objects_of_image: dict[str, int] = {}
    for sample in samples:
        if sample.image_id in objects_of_image:
            raise ValueError(f"expected each image once, but {sample.image_id!r} is there twice")
        objects_of_image[sample.image_id] = len(sample.rles)
        if sample.rles:
            model.set_image(sample.rgb)
        for rows, truth in _chunks(sample):
            for first in firsts:
                points = _first_clicks(first, truth, sample.image_id, rows, seed)
                ious = _click(model, truth, points, clicks)
                top[first].append(ious.top)
                oracle[first].append(ious.oracle)
            if "box" in prompts:
                boxes.append(_box_iou(model, truth, [sample.rles[row] for row in rows]))
    empty = np.empty((0, len(clicks)))
    counts = list(objects_of_image.values())
    return PromptScores(
        image_ids=tuple(objects_of_image),
        image_of_object=np.repeat(np.arange(len(counts)), counts),
        clicks=tuple(clicks),
        click_iou={
            first: ClickIous(
                np.concatenate([empty, *top[first]]), np.concatenate([empty, *oracle[first]])
            )
            for first in firsts
        },
        box_iou=np.concatenate([empty[:, 0], *boxes]) if "box" in prompts else None,
    )


def _chunks(sample: PromptSample) -> Iterator[tuple[range, Masks]]:
    """The objects of an image, a few at a time: their places and their masks."""
    height, width = sample.rgb.shape[:2]
    step = max(1, min(_CHUNK_MASKS, _CHUNK_PX // (3 * height * width)))
    for start in range(0, len(sample.rles), step):
        rows = range(start, min(start + step, len(sample.rles)))
        masks = np.stack([rle_to_mask(sample.rles[row], height, width) for row in rows])
        for row, mask in zip(rows, masks, strict=True):
            if not mask.any():
                raise ValueError(f"image {sample.image_id!r}: object {row} has no pixel")
        yield rows, masks


def _first_clicks(
    first: FirstClick, truth: Masks, image_id: str, rows: range, seed: int
) -> NDArray[np.float32]:
    if first == "centre":
        return centre_clicks(truth)
    image = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8])
    return np.concatenate(
        [
            random_clicks(mask[None], np.random.default_rng([seed, image, row]))
            for row, mask in zip(rows, truth, strict=True)
        ]
    )


def _click(
    model: PromptedModel, truth: Masks, points: NDArray[np.float32], clicks: Sequence[int]
) -> ClickIous:
    """IoU after the clicks, from the first ones on."""
    labels = np.full((len(truth), 1), POSITIVE, np.int32)
    masks, rated, logits = model.predict(points[:, None], labels, multimask=True)
    ious = np.stack([_ious(truth, masks[:, place]) for place in range(masks.shape[1])], axis=1)
    rows = np.arange(len(truth))
    rated_best, best = rated.argmax(axis=1), ious.argmax(axis=1)

    def go_on(some: NDArray[np.int64], chosen: NDArray[np.int64]) -> Floats:
        return _correct(
            model,
            truth[some],
            points[some],
            masks[some, chosen],
            logits[some, chosen],
            ious[some, chosen],
            max(clicks),
        )

    columns = np.array(clicks) - 1
    top = go_on(rows, rated_best)[:, columns]
    oracle = top.copy()
    others = np.flatnonzero(best != rated_best)
    if others.size:
        oracle[others] = go_on(others, best[others])[:, columns]
    return ClickIous(top, oracle)


def _correct(
    model: PromptedModel,
    truth: Masks,
    first_points: NDArray[np.float32],
    masks: Masks,
    logits: NDArray[np.float32],
    first_ious: Floats,
    max_clicks: int,
) -> Floats:
    """IoU after each click, shape (objects, max_clicks)."""
    count = len(truth)
    points = np.zeros((count, max_clicks, 2), np.float32)
    labels = np.full((count, max_clicks), NO_CLICK, np.int32)
    points[:, 0], labels[:, 0] = first_points, POSITIVE
    ious = np.repeat(first_ious[:, None], max_clicks, axis=1)
    masks, logits = masks.copy(), logits.copy()
    for click in range(1, max_clicks):
        points[:, click], labels[:, click] = correction_clicks(truth, masks)
        wrong = np.flatnonzero(labels[:, click] != NO_CLICK)
        if not wrong.size:
            break
        given = slice(click + 1)
        found, _, hints = model.predict(
            points[wrong, given], labels[wrong, given], mask_logits=logits[wrong]
        )
        masks[wrong], logits[wrong] = found[:, 0], hints[:, 0]
        ious[wrong, click:] = _ious(truth[wrong], masks[wrong])[:, None]
    return ious


def _box_iou(model: PromptedModel, truth: Masks, rles: Sequence[bytes]) -> Floats:
    height, width = truth.shape[1:]
    x, y, box_width, box_height = np.array([rle_bbox(rle, height, width) for rle in rles]).T
    corners = np.stack([x, y, x + box_width, y + box_height], axis=1).astype(np.float32)
    masks, _, _ = model.predict(box_xyxy=corners)
    return _ious(truth, masks[:, 0])


def _ious(truth: Masks, masks: Masks) -> Floats:
    """IoU of each mask with its object, which is not empty."""
    values = []
    for true_mask, mask in zip(truth, masks, strict=True):
        both = np.count_nonzero(true_mask & mask)
        values.append(both / (np.count_nonzero(true_mask) + np.count_nonzero(mask) - both))
    return np.array(values)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")
