"""Temperature scaling: probabilities that are as often right as they say.

One number divides all logits, so the best label stays the best. It is fitted by the likelihood of
labels that people gave; see Guo et al., On Calibration of Modern Neural Networks, 2017.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.clip.probabilities import probabilities_of

_LOWEST, _HIGHEST = 0.05, 50.0
_STEPS = 60
_GOLDEN = (5**0.5 - 1) / 2
_BINS = 15
_FEWEST = 100


@dataclass(frozen=True)
class Calibration:
    """What fitting gave.

    Attributes:
        temperature: For the label set; above 1 where the model is too sure.
        segments: How many labelled segments it was fitted on.
        accuracy: Share of them whose best label is the one people gave.
        ece_before: Expected calibration error at temperature 1: how far confidence is from
            accuracy on average, in 15 equal bins of confidence.
        ece_after: The same at the fitted temperature, on the same segments.
    """

    temperature: float
    segments: int
    accuracy: float
    ece_before: float
    ece_after: float

    @property
    def is_doubtful(self) -> bool:
        """Whether there were too few segments, or none to tell by how sure is too sure."""
        at_a_bound = not 1.01 * _LOWEST < self.temperature < 0.99 * _HIGHEST
        return self.segments < _FEWEST or self.accuracy in (0.0, 1.0) or at_a_bound


def calibrate(
    logits: NDArray[np.float64], targets: NDArray[np.int64], sigmoid: bool
) -> Calibration:
    """Fit the temperature.

    Args:
        logits: Shape (segments, labels).
        targets: Shape (segments,), the number of the label that people gave.
        sigmoid: Whether each label has a probability of its own.

    Raises:
        ValueError: There are no segments.
    """
    if not len(targets):
        raise ValueError("no labelled segments to calibrate on")
    temperature = _most_likely(logits, targets, sigmoid)
    correct = logits.argmax(axis=1) == targets

    def error(at: float) -> float:
        confidence = probabilities_of(logits, at, sigmoid).max(axis=1)
        return expected_calibration_error(confidence, correct)

    return Calibration(
        temperature=round(temperature, 3),
        segments=len(targets),
        accuracy=float(correct.mean()),
        ece_before=error(1.0),
        ece_after=error(temperature),
    )


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = _BINS
) -> float:
    """Mean distance of confidence and accuracy, weighted by how many fall into each bin.

    Args:
        confidence: Shape (n,), 0 to 1.
        correct: Shape (n,).
        bins: Equal parts of 0 to 1.
    """
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    gaps = np.bincount(place, weights=confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / counts.sum())


def _most_likely(logits: NDArray[np.float64], targets: NDArray[np.int64], sigmoid: bool) -> float:
    """Golden-section search over the logarithm: the loss has one valley in it."""

    def loss(log_temperature: float) -> float:
        return _negative_log_likelihood(logits, targets, float(np.exp(log_temperature)), sigmoid)

    low, high = np.log(_LOWEST), np.log(_HIGHEST)
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _negative_log_likelihood(
    logits: NDArray[np.float64], targets: NDArray[np.int64], temperature: float, sigmoid: bool
) -> float:
    scaled = logits / temperature
    if sigmoid:
        signs = np.full(scaled.shape, -1.0)
        signs[np.arange(len(targets)), targets] = 1.0
        return float(np.logaddexp(0, -signs * scaled).mean())
    chosen = scaled[np.arange(len(targets)), targets]
    highest = scaled.max(axis=1)
    total = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
    return float((total - chosen).mean())
