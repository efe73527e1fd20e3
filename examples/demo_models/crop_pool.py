"""A rolling store of labelled crops: each page is drawn once and learned from several times."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class CropPool:
    """The newest crops of every label.

    Attributes:
        labels: All labels, in the order of the numbers `draw` gives.
    """

    def __init__(self, labels: tuple[str, ...], size_px: int, capacity: int) -> None:
        """Reserve room.

        Args:
            labels: The labels crops may have.
            size_px: Side of a crop.
            capacity: Crops kept per label; the oldest go first.
        """
        self.labels = labels
        self._crops = np.empty((len(labels), capacity, size_px, size_px, 3), np.uint8)
        self._added = [0] * len(labels)

    def add(self, crops: Iterable[tuple[str, NDArray[np.uint8]]]) -> None:
        """Store crops with their labels."""
        for label, crop in crops:
            row = self.labels.index(label)
            self._crops[row, self._added[row] % self._crops.shape[1]] = crop
            self._added[row] += 1

    @property
    def counts(self) -> dict[str, int]:
        """Crops added so far, per label."""
        return dict(zip(self.labels, self._added, strict=True))

    def draw(
        self, count: int, shares: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Draw a batch.

        Args:
            count: Crops wanted.
            shares: Share of each label in the batch, summing to 1.
            rng: Decides.

        Returns:
            Crops, uint8, shape (count, size, size, 3), and label numbers, int64, shape (count,).

        Raises:
            ValueError: A label has no crop yet.
        """
        held = np.minimum(self._added, self._crops.shape[1])
        if not held.all():
            raise ValueError(f"no crop yet of {self.labels[int(held.argmin())]!r}")
        rows = rng.choice(len(self.labels), size=count, p=shares)
        return self._crops[rows, rng.integers(held[rows])], rows.astype(np.int64)
