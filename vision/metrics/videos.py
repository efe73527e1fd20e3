"""J&F: region and boundary quality of objects through a video, as DAVIS and SA-V measure it.

https://github.com/davisvideochallenge/davis2017-evaluation, `davis2017/utils.py:db_statistics`, and
https://github.com/facebookresearch/sam2, `sav_dataset/utils/sav_benchmark.py`
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vision.metrics.boundaries import TOLERANCE, boundary_f
from vision.metrics.regions import region_similarity

Frames = Iterable[NDArray[Any]]
"""Masks of an object, frame by frame, each of shape (height, width)."""

FramePair = tuple[NDArray[Any], NDArray[Any]]

Start = Literal["first_frame", "first_seen"]

RECALL_THRESHOLD = 0.5
_DECAY_BINS = 4


@dataclass(frozen=True)
class FrameStatistics:
    """What DAVIS says of a measure over the frames of an object.

    Attributes:
        mean: Mean over the frames, 0 to 1.
        recall: Share of the frames above 0.5.
        decay: Mean over the first quarter of the frames minus mean over the last, -1 to 1: how much
            is lost through the video.
    """

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True)
class ObjectTrackScores:
    """How well an object was followed.

    Attributes:
        j: Region similarity in each frame that counts, 0 to 1.
        f: Boundary F in each frame that counts, 0 to 1.
    """

    j: NDArray[np.float64]
    f: NDArray[np.float64]

    @property
    def j_and_f(self) -> float:
        """Mean of the means of J and F, 0 to 1."""
        return float(self.j.mean() + self.f.mean()) / 2


@dataclass(frozen=True)
class VideoScores:
    """How well the objects of a video, or of several, were followed.

    Attributes:
        objects: The scores of each object.
    """

    objects: Mapping[str, ObjectTrackScores]

    @property
    def j(self) -> FrameStatistics:
        """Region similarity: mean over objects of their statistics."""
        return _mean([frame_statistics(scores.j) for scores in self.objects.values()])

    @property
    def f(self) -> FrameStatistics:
        """Boundary F: mean over objects of their statistics."""
        return _mean([frame_statistics(scores.f) for scores in self.objects.values()])

    @property
    def j_and_f(self) -> float:
        """Mean of the means of J and F, 0 to 1; NaN without objects."""
        return (self.j.mean + self.f.mean) / 2

    def metrics(self) -> dict[str, float]:
        """All numbers by name: `j&f`, and `j.mean`, `j.recall`, `j.decay` and the same of `f`."""
        named = {"j&f": self.j_and_f}
        for name, measure in (("j", self.j), ("f", self.f)):
            named |= {
                f"{name}.mean": measure.mean,
                f"{name}.recall": measure.recall,
                f"{name}.decay": measure.decay,
            }
        return named


def score_object(
    truth: Frames,
    predicted: Frames,
    skip_first_and_last: bool = True,
    start: Start = "first_frame",
    tolerance: float = TOLERANCE,
) -> ObjectTrackScores:
    """Compare the masks of an object, frame by frame; only one frame's are held at a time.

    Args:
        truth: The true mask in each frame; empty where the object is not to be seen.
        predicted: The mask that was found in each frame.
        skip_first_and_last: Leave out the first frame, whose mask the tracker is given, and the
            last, as DAVIS does for semi-supervised tracking.
        start: `first_frame` counts all of them, as DAVIS does: frames where the object is in
            neither have J = F = 1. `first_seen` counts from the first frame that has it in either,
            as SA-V does.
        tolerance: That of `boundary_f`.

    Raises:
        ValueError: One has more frames than the other, sizes differ, or no frame counts.
    """
    j, f = [], []
    seen = start == "first_frame"
    for true_mask, predicted_mask in _inner(_pairs(truth, predicted), skip_first_and_last):
        seen = seen or bool(np.any(true_mask)) or bool(np.any(predicted_mask))
        if seen:
            j.append(region_similarity(true_mask, predicted_mask))
            f.append(boundary_f(true_mask, predicted_mask, tolerance))
    if not j:
        raise ValueError(
            "no frame counts: expected at least "
            + ("3 frames, as the first and last are left out" if skip_first_and_last else "1 frame")
            + (", and the object in one of them" if start == "first_seen" else "")
        )
    return ObjectTrackScores(np.array(j), np.array(f))


def frame_statistics(values: NDArray[np.float64]) -> FrameStatistics:
    """Mean, recall and decay of a measure over the frames of an object.

    The quarters share the frames between them, as in `db_statistics`; but that counts frames with 8
    bits, and so takes wrong quarters from the 257th frame on.

    Args:
        values: Shape (frames,), at least one.
    """
    count = len(values)
    bounds = np.round(np.linspace(1, count, _DECAY_BINS + 1) + 1e-10).astype(np.int64) - 1
    first = values[bounds[0] : bounds[1] + 1]
    last = values[bounds[-2] : bounds[-1] + 1]
    return FrameStatistics(
        mean=float(values.mean()),
        recall=float((values > RECALL_THRESHOLD).mean()),
        decay=float(first.mean() - last.mean()),
    )


def _pairs(truth: Frames, predicted: Frames) -> Iterator[FramePair]:
    for frame, (true_mask, mask) in enumerate(zip_longest(truth, predicted)):
        if true_mask is None or mask is None:
            fewer = "truth" if true_mask is None else "predicted"
            raise ValueError(f"expected as many frames in both, but {fewer} has only {frame}")
        yield true_mask, mask


def _inner(frames: Iterator[FramePair], skip_first_and_last: bool) -> Iterator[FramePair]:
    """The frames without the first and the last, if so wished."""
    if not skip_first_and_last:
        yield from frames
        return
    held: FramePair | None = None
    for place, frame in enumerate(frames):
        if held and place > 1:
            yield held
        held = frame


def _mean(statistics: list[FrameStatistics]) -> FrameStatistics:
    if not statistics:
        return FrameStatistics(float("nan"), float("nan"), float("nan"))
    rows = np.array([(each.mean, each.recall, each.decay) for each in statistics])
    return FrameStatistics(*rows.mean(axis=0).tolist())
