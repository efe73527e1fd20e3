"""Panoptic quality, as panopticapi computes it.

Kirillov et al., Panoptic Segmentation, CVPR 2019;
https://github.com/cocodataset/panopticapi, `panopticapi/evaluation.py`
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.metrics.objects import place_in

Ids = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]

VOID = 0
MATCH_IOU = 0.5

_IOU, _TRUE_POSITIVE, _FALSE_POSITIVE, _FALSE_NEGATIVE = range(4)


@dataclass(frozen=True)
class PanopticSegment:
    """One segment of an id map.

    Attributes:
        id: Its value in the map, not 0.
        category: Its category.
        is_crowd: Whether it covers a group that was not told apart.
    """

    id: int
    category: str
    is_crowd: bool = False


@dataclass(frozen=True)
class PanopticMap:
    """A partition of an image into segments; pixels of id 0 are void.

    Attributes:
        image_id: Names the image.
        ids: Id of the segment of each pixel, shape (height, width), 0 to 2**32 - 1.
        segments: What the ids are: each id of the map once, and no other. One category of stuff is
            one segment.
    """

    image_id: str
    ids: Ids
    segments: Sequence[PanopticSegment]


@dataclass(frozen=True)
class Quality:
    """Panoptic, segmentation and recognition quality.

    Attributes:
        pq: PQ, 0 to 1: the sum of the IoUs of matched segments, divided by their number and half of
            that of all others.
        sq: SQ, 0 to 1: mean IoU of the matched segments; 0 if there are none.
        rq: RQ, 0 to 1: the F1 score of finding the segments.
        categories: How many categories the means are of, those with any segment.
    """

    pq: float
    sq: float
    rq: float
    categories: int


@dataclass(frozen=True)
class PanopticScores:
    """Panoptic quality of a model over images.

    Attributes:
        categories: The categories, in the order of the tallies.
        is_thing: Whether a category has countable objects, or is stuff; shape (categories,).
        tallies: For each image and category the sum of the IoUs of matched segments and the number
            of matched, surplus and missed ones; shape (images, categories, 4). PQ is computed of
            their sum over images, so any choice of images has its own.
        image_ids: The images.
    """

    categories: tuple[str, ...]
    is_thing: NDArray[np.bool_]
    tallies: Floats
    image_ids: tuple[str, ...]

    @property
    def all(self) -> Quality:
        """The mean over all categories; NaN if none has a segment."""
        return self._mean(np.ones(len(self.categories), np.bool_))

    @property
    def things(self) -> Quality:
        """The mean over things."""
        return self._mean(self.is_thing)

    @property
    def stuff(self) -> Quality:
        """The mean over stuff."""
        return self._mean(~self.is_thing)

    def of(self, category: str) -> Quality:
        """The numbers of a single category; NaN if it has no segment.

        Raises:
            ValueError: There is no such category.
        """
        place = place_in(self.categories, category, "category")
        return self._mean(np.arange(len(self.categories)) == place)

    def metrics(self) -> dict[str, float]:
        """All numbers by name: `pq`, `sq`, `rq`, `pq.things` ..., and `pq.category.NAME`."""
        named = {}
        for suffix, quality in (("", self.all), (".things", self.things), (".stuff", self.stuff)):
            named[f"pq{suffix}"] = quality.pq
            named[f"sq{suffix}"] = quality.sq
            named[f"rq{suffix}"] = quality.rq
        return named | {f"pq.category.{name}": self.of(name).pq for name in self.categories}

    def _mean(self, rows: NDArray[np.bool_]) -> Quality:
        total = self.tallies.sum(axis=0)[rows]
        total = total[total[:, _TRUE_POSITIVE:].any(axis=1)]
        if not len(total):
            return Quality(float("nan"), float("nan"), float("nan"), 0)
        iou, matched = total[:, _IOU], total[:, _TRUE_POSITIVE]
        weight = matched + 0.5 * total[:, _FALSE_POSITIVE] + 0.5 * total[:, _FALSE_NEGATIVE]
        return Quality(
            pq=float((iou / weight).mean()),
            sq=float((iou / np.maximum(matched, 1)).mean()),
            rq=float((matched / weight).mean()),
            categories=len(total),
        )


def panoptic_quality(
    pairs: Iterable[tuple[PanopticMap, PanopticMap]], categories: Mapping[str, bool]
) -> PanopticScores:
    """Compare predicted partitions of images with the true ones.

    A predicted segment matches a true one of its category if their IoU is above 0.5; void pixels of
    the truth do not count in their union. Segments that match nothing are wrong, but for predicted
    ones that lie to more than a half in void and crowds of their category, and for crowds. Areas
    are those of the maps.

    Args:
        pairs: The true and the predicted map of each image.
        categories: Whether each category is a thing; the others are stuff.

    Raises:
        ValueError: A pair has two image ids or sizes, a map and its list of segments do not fit, or
            a category is unknown.
    """
    names = list(categories)
    tallies, image_ids = [np.empty((0, len(names), 4))], []
    for truth, predicted in pairs:
        shapes = {truth.ids.shape, predicted.ids.shape}
        if truth.image_id != predicted.image_id or len(shapes) > 1 or not truth.ids.size:
            raise ValueError(
                "expected two maps of one image, but got "
                f"{truth.image_id!r} {truth.ids.shape} and "
                f"{predicted.image_id!r} {predicted.ids.shape}"
            )
        tallies.append(_tally(truth, predicted, names)[None])
        image_ids.append(truth.image_id)
    things = np.array([categories[name] for name in names], np.bool_)
    return PanopticScores(tuple(names), things, np.concatenate(tallies), tuple(image_ids))


def _tally(truth: PanopticMap, predicted: PanopticMap, names: list[str]) -> Floats:
    """The tallies of an image, shape (categories, 4)."""
    true_ids, found_ids, shared = _shared_areas(truth, predicted)
    true_category, found_category = (
        _categories(image, ids, names) for image, ids in ((truth, true_ids), (predicted, found_ids))
    )
    crowds = {segment.id for segment in truth.segments if segment.is_crowd}
    crowd = np.array([value in crowds for value in true_ids.tolist()], np.bool_)

    in_void = shared[true_category < 0].sum(axis=0)
    union = shared.sum(axis=1)[:, None] + shared.sum(axis=0) - shared - in_void
    same = (true_category[:, None] == found_category) & (true_category >= 0)[:, None]
    # Where a category is the same, a segment is there, so no union is empty.
    iou = np.where(same, shared / np.maximum(union, 1), 0.0)
    matched = (iou > MATCH_IOU) & ~crowd[:, None]

    in_crowd = (shared * (same & crowd[:, None])).sum(axis=0)
    forgiven = (in_void + in_crowd) / shared.sum(axis=0) > 0.5
    surplus = ~matched.any(axis=0) & ~forgiven & (found_category >= 0)
    missed = ~matched.any(axis=1) & ~crowd & (true_category >= 0)

    tally = np.zeros((len(names), 4))
    rows, columns = np.nonzero(matched)
    np.add.at(tally[:, _IOU], true_category[rows], iou[rows, columns])
    np.add.at(tally[:, _TRUE_POSITIVE], true_category[rows], 1)
    np.add.at(tally[:, _FALSE_POSITIVE], found_category[surplus], 1)
    np.add.at(tally[:, _FALSE_NEGATIVE], true_category[missed], 1)
    return tally


def _shared_areas(
    truth: PanopticMap, predicted: PanopticMap
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """The ids of either map, and the pixels that each two of them share."""
    pairs = np.stack([truth.ids.ravel(), predicted.ids.ravel()]).astype(np.int64)
    # Ids stand in long runs: these are few, and the pixels many.
    changes = (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    lengths = np.diff(starts, append=pairs.shape[1])
    true_ids, rows = np.unique(pairs[0, starts], return_inverse=True)
    found_ids, columns = np.unique(pairs[1, starts], return_inverse=True)
    shared = np.zeros((len(true_ids), len(found_ids)))
    np.add.at(shared, (rows, columns), lengths)
    return true_ids, found_ids, shared


def _categories(image: PanopticMap, ids: NDArray[np.int64], names: list[str]) -> NDArray[np.int64]:
    """Place of the category of each id in `names`; -1 for void."""
    listed = {segment.id: segment.category for segment in image.segments}
    present = set(ids.tolist()) - {VOID}
    if len(listed) < len(image.segments) or listed.keys() != present:
        wrong = sorted(listed.keys() ^ present)[:3] or "one of them twice"
        raise ValueError(
            f"image {image.image_id!r}: expected segments for exactly the ids of the map, but they "
            f"differ in {wrong}"
        )
    if unknown := set(listed.values()) - set(names):
        raise ValueError(f"image {image.image_id!r}: unknown categories {sorted(unknown)[:3]}")
    place = {name: i for i, name in enumerate(names)}
    return np.array([place[listed[i]] if i != VOID else -1 for i in ids.tolist()], np.int64)
