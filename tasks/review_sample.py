"""Choose segments to look at: the least certain ones, spread over labels, images and looks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from storage.lake import Lake
from storage.queries import named_query
from storage.session import connect

By = Literal["margin", "disagreement", "random"]

MOST = 10_000
# From so many times the number that is asked for a label's share is chosen.
_POOL_TIMES = 10
_POOL_LEAST = 100
_HASH_BITS = 64
# Distances are made of these, each between 0 and 1.
_LABELS_WEIGHT, _SHAPE_WEIGHT, _IMAGE_WEIGHT = 0.4, 0.3, 0.3


@dataclass(frozen=True)
class SampledSegment:
    """A segment to look at.

    Attributes:
        number: Its place in the sample, from 1.
        segment_id: The segment.
        image_id: Its image.
        file_name: Name of the image in its drop.
        uri: Where the image is.
        width_px: Width of the image.
        height_px: Height of the image.
        label: As it was named, or `unknown`.
        second_label: What it was nearly named.
        margin: Lead over the second label.
        score: Probability of the label, 0-1.
        uncertainty: What it was chosen by, 0-1.
        area_px: Pixels in its mask.
        model_id: Model that cut it.
        rle: Its mask, as compressed COCO counts.
        based_on: Number of the last decision of a person, with which a decision is compared.
    """

    number: int
    segment_id: str
    image_id: str
    file_name: str
    uri: str
    width_px: int
    height_px: int
    label: str
    second_label: str | None
    margin: float | None
    score: float | None
    uncertainty: float
    area_px: int
    model_id: str
    rle: bytes
    based_on: int


def sample_for_review(
    lake: Lake,
    dataset: str,
    count: int,
    *,
    by: By = "margin",
    label: str | None = None,
    audit: bool = False,
    seed: int = 0,
) -> list[SampledSegment]:
    """Choose segments of the newest cut of each image that nobody has decided about.

    One label after the other gets its turn. Of a label that segment is next which is uncertain, and
    unlike those that were chosen before: in its candidate labels, its shape and its image, by a
    greedy choice of the farthest as in core-set selection (Sener and Savarese, arXiv:1708.00489).

    Args:
        lake: The tables.
        dataset: The dataset.
        count: How many, at most `MOST`.
        by: What uncertain means: `margin`, that the first two labels are close; `disagreement`,
            that no other cut of the image found the same with the same label, by boxes (images
            that were cut once are left out); `random`, nothing.
        label: Only this label.
        audit: Choose among those that rules accepted, to see how good the rules are.
        seed: The same seed chooses the same from the same tables, another one others among equals.

    Returns:
        The segments, in the order in which they were chosen.

    Raises:
        ValueError: If the count is not between 1 and `MOST`.
    """
    if not 1 <= count <= MOST:
        raise ValueError(f"expected a count of 1 to {MOST:,}, but got {count}")
    parameters = {
        "dataset": dataset,
        "label": label,
        "audit": audit,
        "by": by,
        "seed": seed,
        "pool": max(_POOL_LEAST, _POOL_TIMES * count),
    }
    with connect(lake) as session:
        found = session.sql(named_query("review_candidates"), params=parameters)
        rows: list[dict[str, Any]] = found.to_arrow_table().to_pylist()
    chosen = _spread(rows, count) if rows else []
    return [_sampled(number, rows[place]) for number, place in enumerate(chosen, start=1)]


def _spread(rows: Sequence[dict[str, Any]], count: int) -> list[int]:
    """Places of the rows that are chosen, in order; of equals the first."""
    looks = _looks(rows)
    uncertainty = np.array([row["uncertainty"] for row in rows])
    labels = np.array([row["label"] for row in rows])
    images = np.array([row["image_id"] for row in rows])
    free = np.ones(len(rows), bool)
    nearest = np.ones(len(rows))
    turns: Counter[str] = Counter(dict.fromkeys(sorted(set(labels.tolist())), 0))
    of_image: Counter[str] = Counter()
    chosen: list[int] = []
    while len(chosen) < count and free.any():
        waiting = set(labels[free].tolist())
        label = min((name for name in turns if name in waiting), key=lambda name: turns[name])
        among = np.flatnonzero(free & (labels == label))
        crowded = np.array([1 + of_image[image] for image in images[among]])
        # What is quite certain, or just like another, is chosen last, but is chosen.
        worth = (0.01 + uncertainty[among]) * (0.01 + nearest[among]) / crowded
        place = int(among[np.argmax(worth)])
        chosen.append(place)
        free[place] = False
        turns[label] += 1
        of_image[str(images[place])] += 1
        np.minimum(nearest, _distances(looks, place), out=nearest)
    return chosen


@dataclass(frozen=True)
class _Looks:
    """What segments look like.

    Attributes:
        labels: Cosine similarity to each label, standardised, float64 (n, labels).
        shape: Size, elongation, solidity and place, each 0-1, float64 (n, 5).
        image: Bits of the image's perceptual hash, bool (n, 64).
    """

    labels: NDArray[np.float64]
    shape: NDArray[np.float64]
    image: NDArray[np.bool_]


def _looks(rows: Sequence[dict[str, Any]]) -> _Looks:
    names = sorted({item["label"] for row in rows for item in row["top"]})
    places = {name: place for place, name in enumerate(names)}
    cosines = np.zeros((len(rows), max(1, len(names))))
    for at, row in enumerate(rows):
        known = [item["cosine"] for item in row["top"]]
        # The best labels are stored only; the others are no nearer than the last of them.
        cosines[at] = min(known, default=0.0)
        for item in row["top"]:
            cosines[at, places[item["label"]]] = item["cosine"]
    spread = cosines.max(axis=0) - cosines.min(axis=0)
    cosines = (cosines - cosines.min(axis=0)) / np.where(spread > 0, spread, 1)
    shape = np.array([_shape(row) for row in rows])
    bits = np.array([_bits(row["perceptual_hash"]) for row in rows])
    return _Looks(cosines, shape, bits)


def _shape(row: dict[str, Any]) -> list[float]:
    x, y, width, height = row["bbox_xywh"]
    image_px = row["width_px"] * row["height_px"]
    size = log(max(row["area_px"], 1)) / log(max(image_px, 2))
    elongation = width / (width + height) if width + height else 0.5
    solidity = row["area_px"] / (width * height) if width and height else 0.0
    across = (x + width / 2) / row["width_px"]
    down = (y + height / 2) / row["height_px"]
    return [float(np.clip(value, 0, 1)) for value in (size, elongation, solidity, across, down)]


def _bits(perceptual_hash: str | None) -> NDArray[np.bool_]:
    value = np.array([int(perceptual_hash or "0", 16)], ">u8")
    return np.unpackbits(value.view(np.uint8)).astype(bool)


def _distances(looks: _Looks, place: int) -> NDArray[np.float64]:
    """How unlike one segment all of them look, 0-1, float64 (n,)."""
    labels = np.sqrt(np.mean((looks.labels - looks.labels[place]) ** 2, axis=1))
    shape = np.sqrt(np.mean((looks.shape - looks.shape[place]) ** 2, axis=1))
    image = np.mean(looks.image != looks.image[place], axis=1)
    total: NDArray[np.float64] = (
        _LABELS_WEIGHT * labels + _SHAPE_WEIGHT * shape + _IMAGE_WEIGHT * image
    )
    return total


def _sampled(number: int, row: dict[str, Any]) -> SampledSegment:
    others = [item["label"] for item in row["top"] if item["label"] != row["label"]]
    return SampledSegment(
        number=number,
        segment_id=row["segment_id"],
        image_id=row["image_id"],
        file_name=row["file_name"],
        uri=row["uri"],
        width_px=row["width_px"],
        height_px=row["height_px"],
        label=row["label"],
        second_label=others[0] if others else None,
        margin=row["margin"],
        score=row["score"],
        uncertainty=row["uncertainty"],
        area_px=row["area_px"],
        model_id=row["model_id"],
        rle=row["rle"].encode("ascii"),
        based_on=row["based_on"],
    )
