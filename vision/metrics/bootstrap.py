"""Is a model better than another, or did it only have luck with the images?

The paired bootstrap: images are drawn again and again, with replacement, and both models are
compared on each draw. Masks of one image are drawn together, for they succeed and fail together: to
draw single masks would make every difference look surer than it is.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 8.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
_CHUNK_DRAWS = 2**22


@dataclass(frozen=True)
class MeanDifference:
    """How much better a candidate is than a baseline, and how sure that is.

    Attributes:
        mean_difference: Mean over all values of candidate minus baseline, in their unit.
        low: Lower end of the confidence interval.
        high: Upper end of the confidence interval.
        confidence: What share of such intervals holds the true difference, 0 to 1.
        probability_not_better: Share of the resamples in which the difference is 0 or less.
        values: Number of pairs of values.
        groups: Number of groups they come in, such as images.
        resamples: How often groups were drawn.
        seed: What the draws began with.
    """

    mean_difference: float
    low: float
    high: float
    confidence: float
    probability_not_better: float
    values: int
    groups: int
    resamples: int
    seed: int


def paired_bootstrap(
    candidate: ArrayLike,
    baseline: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> MeanDifference:
    """Compare two models by a measure of the same things, such as the IoU of the same masks.

    Args:
        candidate: The measure for each thing, shape (values,), finite.
        baseline: The same of the other model, in the same order.
        groups: For each thing the group it is in, integers or strings; things of a group are drawn
            together. None if each is a group of its own.
        seed: Where the draws begin; the same seed gives the same numbers.
        resamples: How often as many groups are drawn as there are.
        confidence: Of the interval between quantiles of the resamples, above 0 and below 1.

    Raises:
        ValueError: The arrays are not of one length, hold a number that is not finite, or have
            fewer than two groups; or a parameter is out of its range.
    """
    difference = _difference(candidate, baseline)
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            "resamples must be positive and confidence between 0 and 1, but got "
            f"{resamples} and {confidence}"
        )
    keys = np.arange(len(difference)) if groups is None else np.asarray(groups)
    if keys.shape != difference.shape:
        raise ValueError(f"expected a group for each value, but got {keys.shape} groups")
    _, group = np.unique(keys, return_inverse=True)
    sizes = np.bincount(group)
    if len(sizes) < 2:
        raise ValueError(f"expected values of at least 2 groups, but got {len(sizes)}")
    means = _resampled_means(np.bincount(group, difference), sizes, resamples, seed)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return MeanDifference(
        mean_difference=float(difference.mean()),
        low=float(low),
        high=float(high),
        confidence=confidence,
        probability_not_better=float((means <= 0).mean()),
        values=len(difference),
        groups=len(sizes),
        resamples=resamples,
        seed=seed,
    )


def _difference(candidate: ArrayLike, baseline: ArrayLike) -> NDArray[np.float64]:
    first, second = np.asarray(candidate, np.float64), np.asarray(baseline, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            "expected two lists of values of the same things, but got shapes "
            f"{first.shape} and {second.shape}"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a value is not finite; leave out what has no value in either model")
    return first - second


def _resampled_means(
    sums: NDArray[Any], sizes: NDArray[np.int64], resamples: int, seed: int
) -> NDArray[np.float64]:
    """Mean over the values of randomly drawn groups, shape (resamples,)."""
    rng = np.random.default_rng(seed)
    count = len(sums)
    rows = max(1, _CHUNK_DRAWS // count)
    means = []
    for start in range(0, resamples, rows):
        drawn = rng.integers(count, size=(min(rows, resamples - start), count))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)
