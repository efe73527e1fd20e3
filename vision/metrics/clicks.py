"""Where a person would click: on an object, and then on what a mask got wrong.

The rules are those of `sam2.modeling.sam2_utils`: `get_next_point` with `center` for evaluation
(RITM's clicker) and with `uniform` for training. Clicks are pixels (x, y): whole numbers, counted
from the top left pixel (0, 0).

All masks are boolean, shape (n, height, width). All clicks are returned as points, float32 of shape
(n, 2), and labels, int32 of shape (n,), as SAM 2's prompt encoder takes them.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Masks = NDArray[np.bool_]
Points = NDArray[np.float32]
Labels = NDArray[np.int32]

POSITIVE, NEGATIVE, NO_CLICK = 1, 0, -1
"""Labels of clicks; SAM 2 takes -1 for padding."""


def centre_clicks(masks: Masks) -> Points:
    """A click in the middle of each mask: the pixel farthest from its edge.

    What is beyond the image counts as background. Of several such pixels, it is the topmost, then
    the leftmost.

    Raises:
        ValueError: A mask is empty.
    """
    _check(masks)
    places = [_deepest(mask) for mask in masks]
    _expect_foreground([depth for depth, _, _ in places])
    return np.array([(x, y) for _, x, y in places], np.float32).reshape(-1, 2)


def random_clicks(masks: Masks, rng: np.random.Generator) -> Points:
    """A click anywhere in each mask: each of its pixels is as likely as the others.

    Args:
        masks: The masks.
        rng: The source of randomness; it is asked once a mask.

    Raises:
        ValueError: A mask is empty.
    """
    _check(masks)
    _expect_foreground([int(mask.any()) for mask in masks])
    return np.array([_any_pixel(mask, rng) for mask in masks], np.float32).reshape(-1, 2)


def correction_clicks(truth: Masks, predicted: Masks) -> tuple[Points, Labels]:
    """A click in the middle of the worst mistake of each mask.

    Of all pixels that the mask misses, and all that it has too many, it is the one farthest from
    the edge of its kind: positive in what is missed, negative in what is too much, also where both
    are equally far. So the deeper mistake is corrected first, not the one of more pixels.

    Args:
        truth: The true masks.
        predicted: The masks so far, in the shape of `truth`.

    Returns:
        Points and labels; the label is NO_CLICK where nothing is wrong. (sam2 then clicks at pixel
        (0, 0), negatively.)
    """
    _check(truth, predicted)
    points = np.zeros((len(truth), 2), np.float32)
    labels = np.full(len(truth), NO_CLICK, np.int32)
    for place, (true_mask, mask) in enumerate(zip(truth, predicted, strict=True)):
        missed_depth, *missed_xy = _deepest(true_mask & ~mask)
        surplus_depth, *surplus_xy = _deepest(mask & ~true_mask)
        if missed_depth > surplus_depth:
            points[place], labels[place] = missed_xy, POSITIVE
        elif surplus_depth:
            points[place], labels[place] = surplus_xy, NEGATIVE
    return points, labels


def random_correction_clicks(
    truth: Masks, predicted: Masks, rng: np.random.Generator
) -> tuple[Points, Labels]:
    """A click on any mistake of each mask, each wrong pixel being as likely as the others.

    Args:
        truth: The true masks; empty ones are allowed.
        predicted: The masks so far, in the shape of `truth`.
        rng: The source of randomness; it is asked once a mask.

    Returns:
        Points and labels: positive in what is missed, negative in what is too much. Where nothing
        is wrong, a negative click in the background, as in SAM 2's training; NO_CLICK if there is
        no background either.
    """
    _check(truth, predicted)
    points = np.zeros((len(truth), 2), np.float32)
    labels = np.full(len(truth), NO_CLICK, np.int32)
    for place, (true_mask, mask) in enumerate(zip(truth, predicted, strict=True)):
        where = true_mask ^ mask
        if not where.any():
            where = ~true_mask
        if where.any():
            x, y = _any_pixel(where, rng)
            points[place], labels[place] = (x, y), POSITIVE if true_mask[y, x] else NEGATIVE
    return points, labels


def _deepest(region: NDArray[np.bool_]) -> tuple[int, int, int]:
    """The region's deepest pixel: its squared distance from the edge, x and y; 0 if it is empty."""
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(region).view(np.uint8))
    if not width:
        return 0, 0, 0
    # No pixel is nearer to the background beyond this frame than to the frame itself.
    part = np.zeros((height + 2, width + 2), np.uint8)
    part[1:-1, 1:-1] = region[y : y + height, x : x + width]
    depth = cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # Squares of distances are whole numbers. OpenCV's last digits change with where the mask lies
    # in memory, and would choose now one, now another of several middles.
    squared = np.rint(depth.astype(np.float64) ** 2).astype(np.int64)
    row, column = divmod(int(squared.argmax()), width)
    return int(squared[row, column]), x + column, y + row


def _any_pixel(region: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int]:
    pixels = np.flatnonzero(region)
    row, column = divmod(int(pixels[rng.integers(len(pixels))]), region.shape[1])
    return column, row


def _check(*masks: NDArray[np.bool_]) -> None:
    shapes = {each.shape for each in masks}
    if any(each.dtype != np.bool_ or each.ndim != 3 for each in masks) or len(shapes) > 1:
        found = " and ".join(f"{each.dtype} {each.shape}" for each in masks)
        raise ValueError(f"expected boolean masks of shape (n, height, width), but got {found}")


def _expect_foreground(areas: list[int]) -> None:
    if not all(areas):
        raise ValueError(f"mask {areas.index(0)} is empty: there is nothing to click on")
