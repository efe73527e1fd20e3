"""Divide images into training and validation so that no group is in both."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vision.finetune.errors import TrainingDataError
from vision.finetune.training_images import TrainingImage

_Item = TypeVar("_Item", int, str)

_LEAST_VOUCHED = 10
"""Validation on fewer groups of images would say little, and take all from training that people
corrected."""
_MOST_OVER = 1.5
"""Groups are taken whole, so that validation may get so many times as many images as wanted."""


@dataclass(frozen=True)
class Split:
    """Which images do what.

    Attributes:
        train: Places of the images to learn from, in order.
        val: Places of the images to validate on, in order.
        weights: Of `train`, float64, positive.
        images: How many images there are.
        masks: How many masks they have.
        groups: How many groups they form.
        labels: Names of masks, with how often each occurs.
        digest: SHA-256 of ids, masks, weights and sides; the same for the same data.
        notes: What the user should know.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    weights: NDArray[np.float64]
    images: int
    masks: int
    groups: int
    labels: dict[str, int]
    digest: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Facts:
    group: str
    split: str | None
    weight: float
    vouched: bool


def split_images(
    images: Sequence[TrainingImage], val_share: float, seed: int, max_val_images: int
) -> Split:
    """Divide images; each is looked at once, without its pixels.

    Where the data says which images are for validation, that is done, but for images whose group
    is learnt from. Else whole groups are drawn, and what is not drawn is learnt from. If enough
    images have a mask that somebody vouches for, validation is on such images only, and the share
    is one of these.

    Args:
        images: All of them.
        val_share: Share of the images to validate on, 0 to 0.5; at least one group is taken, and
            one left.
        seed: Of the draw.
        max_val_images: Validation gets no more than these. Where the data gives it more, or a
            single group has more, the others are not used.

    Raises:
        TrainingDataError: There is nothing to learn from, all images are of one group and some are
            wanted for validation, two images have one id, or a weight is no positive number.
    """
    facts: dict[int, _Facts] = {}
    seen: set[str] = set()
    labels: dict[str, int] = {}
    masks = 0
    digest = hashlib.sha256()
    for place, image in enumerate(images):
        if image.image_id in seen:
            raise TrainingDataError(f"two images are called {image.image_id}")
        seen.add(image.image_id)
        if not (np.isfinite(image.weight) and image.weight > 0):
            raise TrainingDataError(
                f"{image.image_id}: expected a positive weight, but found {image.weight}"
            )
        _add_to_digest(digest, image)
        if not image.rles:
            continue
        masks += len(image.rles)
        for label in image.labels:
            labels[label] = labels.get(label, 0) + 1
        group = image.group if image.group is not None else f"image {image.image_id}"
        facts[place] = _Facts(group, image.split, image.weight, image.vouched != ())
    if not facts:
        raise TrainingDataError(
            f"there is nothing to learn from: of {len(seen)} images, none has a mask"
        )
    notes = []
    if len(seen) > len(facts):
        notes.append(f"{len(seen) - len(facts)} of {len(seen)} images have no mask; left out")
    if len(labels) == 1:
        notes.append(
            f"all masks are labelled {next(iter(labels))}: the model may forget how to cut "
            "other things; add images of these"
        )
    vouched = [place for place, fact in facts.items() if fact.vouched]
    if any(fact.split for fact in facts.values()):
        train, val = _given(facts, notes)
        usable = _enough([place for place in val if facts[place].vouched], facts)
        val = usable or val
    else:
        usable = _enough(vouched, facts)
        train, val = _drawn(facts, usable or list(facts), val_share, seed, max_val_images)
        if _MOST_OVER * math.ceil(val_share * len(facts)) > max_val_images:
            # A run that began when images beyond the bound went unused must not go on with these.
            digest.update(repr(val).encode())
    if 0 < len(vouched) < len(facts):
        digest.update(repr((vouched, bool(usable))).encode())
    if by_rules := sum(not facts[place].vouched for place in val):
        notes.append(
            f"nobody vouches for a mask of {by_rules} of {len(val)} validation images: they are "
            "compared with what rules accepted, which favours the model that cut it out"
        )
    if not train:
        raise TrainingDataError("there is nothing to learn from: all images are for validation")
    if not val:
        notes.append("there is no validation: the last weights are kept, not the best ones")
    weights = np.array([facts[place].weight for place in train], np.float64)
    if len(val) > max_val_images:
        val = sorted(_in_random_order(val, seed)[:max_val_images])
    groups = len({fact.group for fact in facts.values()})
    return Split(
        tuple(train), tuple(val), weights, len(facts), masks, groups, labels,
        digest.hexdigest(), tuple(notes),
    )  # fmt: skip


def _enough(places: list[int], facts: dict[int, _Facts]) -> list[int]:
    """The places, or none of them where they are of too few groups to validate on."""
    return places if len({facts[place].group for place in places}) >= _LEAST_VOUCHED else []


def _given(facts: dict[int, _Facts], notes: list[str]) -> tuple[list[int], list[int]]:
    train = [place for place, fact in facts.items() if fact.split == "train"]
    learnt = {facts[place].group for place in train}
    wanted = [place for place, fact in facts.items() if fact.split == "val"]
    val = [place for place in wanted if facts[place].group not in learnt]
    if len(wanted) > len(val):
        notes.append(
            f"{len(wanted) - len(val)} images for validation are of groups that are learnt from; "
            "left out"
        )
    held_out = {facts[place].group for place in val}
    undecided = [place for place, fact in facts.items() if fact.split is None]
    val += [place for place in undecided if facts[place].group in held_out]
    train += [place for place in undecided if facts[place].group not in held_out]
    return sorted(train), sorted(val)


def _drawn(
    facts: dict[int, _Facts], usable: list[int], share: float, seed: int, max_images: int
) -> tuple[list[int], list[int]]:
    groups = {fact.group for fact in facts.values()}
    members: dict[str, list[int]] = {}
    for place in usable:
        members.setdefault(facts[place].group, []).append(place)
    if share == 0:
        return list(facts), []
    if len(groups) == 1:
        raise TrainingDataError(
            f"all {len(facts)} images are of one group ({groups.pop()}), which is never "
            "divided between training and validation: add images of another group, or set "
            "data.val_share to 0 to train without validation"
        )
    order = _in_random_order(members, seed)
    wanted = min(math.ceil(share * len(usable)), max_images)
    # A group that is too large waits for another draw, so that enough is left to learn.
    most = min(_MOST_OVER * wanted, max_images, len(usable) - 1)
    val: list[int] = []
    for group in order:
        if len(val) < wanted and len(val) + len(members[group]) <= most:
            val += members[group]
    val = val or min((members[group] for group in order), key=len)
    held_out = {facts[place].group for place in val}
    return [place for place, fact in facts.items() if fact.group not in held_out], sorted(val)


def _in_random_order(items: Iterable[_Item], seed: int) -> list[_Item]:
    """Order by hash: what is drawn does not depend on the order in which images come."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed} {item}".encode()).digest())


def _add_to_digest(digest: "hashlib._Hash", image: TrainingImage) -> None:
    facts = (image.image_id, image.height_px, image.width_px, image.weight, image.group,
             image.split, image.labels)  # fmt: skip
    digest.update(repr(facts).encode())
    for rle in image.rles:
        digest.update(rle if isinstance(rle, bytes) else rle.encode())
        digest.update(b"\0")
    if image.vouched:
        digest.update(repr(image.vouched).encode())
