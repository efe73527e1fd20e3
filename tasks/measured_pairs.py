"""Which measurements of two models may be compared: of the same images, and not out of date."""

from collections.abc import Sequence

from storage.evaluations import Evaluation
from tasks.frozen_set import measuring_order
from tasks.gate import comparable

Pair = tuple[Evaluation, Evaluation]


def newest_pair(ours: Sequence[Evaluation], theirs: Sequence[Evaluation]) -> Pair | None:
    """The newest two measurements that were made alike, of images and masks that still count.

    A measurement is out of date when one of the two models has a newer one of the same dataset and
    split, with the same parameters, but another `set_id`: images or masks were added or corrected.
    A measurement of fewer of the images, as `--max-images` makes it, has another `set_id` too. It
    is known by what is recorded, and makes nothing out of date: its images are the first of the
    larger one in the order of measuring, each with as many objects. That a mask was corrected
    as well does not show in it; a measurement of all images shows that.

    Args:
        ours: All measurements of a model, the oldest first.
        theirs: Those of the other one, likewise.

    Returns:
        One of each model; None if no two can be compared.
    """
    every = [*ours, *theirs]
    current, others = (
        [each for each in some if not any(_replaces(newer, each) for newer in every)]
        for some in (ours, theirs)
    )
    pairs = ((first, second) for first in reversed(current) for second in reversed(others))
    return next((pair for pair in pairs if comparable(*pair)), None)


def _replaces(newer: Evaluation, older: Evaluation) -> bool:
    if newer.evaluated_at <= older.evaluated_at or newer.set_id == older.set_id:
        return False
    if _about(newer) != _about(older):
        return False
    return not _is_part(newer, older) and not _is_part(older, newer)


def _about(evaluation: Evaluation) -> tuple[str, str, str | None]:
    return evaluation.dataset, evaluation.split, evaluation.params_id


def _is_part(smaller: Evaluation, larger: Evaluation) -> bool:
    some, every = _objects(smaller), _objects(larger)
    first = sorted(every, key=measuring_order)[: len(some)]
    return 0 < len(some) < len(every) and some == {image_id: every[image_id] for image_id in first}


def _objects(evaluation: Evaluation) -> dict[str, int]:
    """How many objects each image has: most numbers have a value for each, some one an image."""
    objects: dict[str, int] = {}
    for metric in evaluation.metrics.values():
        for image_id, values in metric.per_image.items():
            objects[image_id] = max(objects.get(image_id, 0), len(values))
    return objects
