"""Region similarity: how much of two masks is the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BoolMask = NDArray[np.bool_]


def region_similarity(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Jaccard index, or intersection over union: J of DAVIS.

    Args:
        truth: Shape (height, width), boolean; of other types any non-zero value is foreground.
        predicted: In the shape of `truth`.

    Returns:
        0 to 1; 1 where both masks are empty, as DAVIS has it.

    Raises:
        ValueError: The masks are not two-dimensional, or differ in size.
    """
    truth, predicted = as_masks(truth, predicted)
    both = np.count_nonzero(truth & predicted)
    either = np.count_nonzero(truth) + np.count_nonzero(predicted) - both
    return both / either if either else 1.0


def as_masks(truth: NDArray[Any], predicted: NDArray[Any]) -> tuple[BoolMask, BoolMask]:
    """Return both as boolean arrays of one shape (height, width).

    Raises:
        ValueError: They are not two-dimensional, or differ in size.
    """
    if truth.ndim != 2 or truth.shape != predicted.shape or truth.size == 0:
        raise ValueError(
            "expected two masks of one shape (height, width), but got "
            f"{truth.shape} and {predicted.shape}"
        )
    return _as_bool(truth), _as_bool(predicted)


def _as_bool(mask: NDArray[Any]) -> BoolMask:
    return mask if mask.dtype == np.bool_ else mask != 0
