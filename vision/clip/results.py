"""What a labeller says about a segment, whatever model is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

UNKNOWN = "unknown"
"""The label of a segment that fits no label of the set well enough."""


class RankedLabel(NamedTuple):
    """One candidate label of a segment.

    Attributes:
        label: A label of the set, or `unknown` for all background prompts together.
        cosine: Cosine similarity of image and text embedding, in [-1, 1].
        probability: Share of the softmax over the whole label set, in [0, 1]. Relative to that
            set: another set gives another number. Of SigLIP models a probability of its own.
    """

    label: str
    cosine: float
    probability: float


@dataclass(frozen=True)
class LabelResult:
    """The name of one segment.

    Attributes:
        label: A label of the set, or `unknown`.
        score: Probability of the best-fitting label of the set, also where `label` is `unknown`:
            there it says how near the segment came to a name.
        margin: `score` less the probability of the best other candidate, background included;
            negative where the background fits better.
        top: Best candidates first, `unknown` among them where the set has background prompts.
    """

    label: str
    score: float
    margin: float
    top: tuple[RankedLabel, ...]


class HasRle(Protocol):
    """A mask record, such as the mask generator's, that carries its run-length encoding."""

    @property
    def rle(self) -> bytes:
        """Compressed COCO counts."""


class Labeller(Protocol):
    """Names segments of an image."""

    def label(self, rgb: NDArray[np.uint8], masks: Sequence[bytes | HasRle]) -> list[LabelResult]:
        """Name each mask.

        Args:
            rgb: uint8, shape (h, w, 3), RGB.
            masks: Compressed COCO counts for that h and w, or records with an `rle`.

        Returns:
            One result per mask, in order.
        """

    def label_many(
        self, images: Sequence[tuple[NDArray[np.uint8], Sequence[bytes | HasRle]]]
    ) -> list[list[LabelResult]]:
        """Name the masks of several images, which share batches.

        Args:
            images: Pixels and masks of each, as `label` takes them.

        Returns:
            A list per image, in order.
        """
