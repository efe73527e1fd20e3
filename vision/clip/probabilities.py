"""Logits to probabilities."""

import numpy as np
from numpy.typing import NDArray


def probabilities_of(
    logits: NDArray[np.float64], temperature: float, sigmoid: bool
) -> NDArray[np.float64]:
    """Logits, shape (n, candidates), as probabilities: a softmax a row, or a sigmoid each."""
    scaled = logits / temperature
    if sigmoid:
        return np.asarray(np.exp(-np.logaddexp(0, -scaled)))
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
