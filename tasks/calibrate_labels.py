"""Fit a label set's temperature to the labels that people gave: those of ingested annotations."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.lake import Lake
from storage.objects import ObjectNotFoundError, ObjectStore
from storage.queries import named_query
from storage.session import connect
from tasks.report.data import Progress
from tasks.report.gather import as_bytes, image_key
from vision.clip import LabelSet, load_labeller
from vision.clip.calibration import Calibration, calibrate
from vision.images import ImageError, decode_image


class NothingToCalibrateError(ValueError):
    """No annotation has a category that is a label of the set."""

    def __init__(self, label_set: LabelSet) -> None:
        super().__init__(
            f"no annotation has a category that label set {label_set.name!r} knows "
            f"({', '.join(label_set.names[:5])}{', ...' if len(label_set.names) > 5 else ''}): "
            "ingest a drop with such annotations first"
        )


def calibrate_labels(
    lake: Lake,
    store: ObjectStore,
    label_set: LabelSet,
    *,
    clip_model: str,
    dataset: str | None,
    most: int,
    device: str,
    max_px: int,
    progress: Progress | None = None,
) -> Calibration:
    """Compare a labeller's logits with the categories of annotations.

    Crowds are left out; so are background prompts, for no annotation is of nothing.

    Args:
        lake: The tables.
        store: The images.
        label_set: Its labels are looked for among the categories.
        clip_model: Reference of the labeller.
        dataset: Only this one's annotations.
        most: At most so many; the sample is always the same.
        device: `cpu`, `cuda`, `mps`, or `auto`.
        max_px: Largest number of pixels of an image.
        progress: Told after each image.

    Raises:
        NothingToCalibrateError: No annotation fits, or none of their images can be read.
    """
    scope = {"dataset": dataset, "labels": list(label_set.names), "most": most}
    with connect(lake) as session:
        rows = session.execute(named_query("labelled_objects"), scope).fetchall()
    if not rows:
        raise NothingToCalibrateError(label_set)
    labeller = load_labeller(clip_model, label_set, device)
    logits: list[NDArray[np.float64]] = []
    targets: list[int] = []
    done = 0
    for rgb, objects in _pictures(store, rows, max_px):
        done += len(objects)
        if rgb is not None:
            found = labeller.logits_of(rgb, [as_bytes(rle) for _, rle in objects])
            logits.append(found[:, : len(label_set.labels)])
            targets += [label_set.names.index(category) for category, _ in objects]
        if progress:
            progress("compare", done, len(rows))
    if not logits:
        raise NothingToCalibrateError(label_set)
    return calibrate(np.concatenate(logits), np.array(targets), labeller.sigmoid)


def _pictures(
    store: ObjectStore, rows: list[tuple[Any, ...]], max_px: int
) -> Iterator[tuple[NDArray[np.uint8] | None, list[tuple[str, str]]]]:
    """Each image, None if it cannot be read, with the category and counts of its objects."""
    for (image_id, uri), group in groupby(rows, key=lambda row: row[:2]):
        objects = [(category, rle) for _, _, category, rle in group]
        try:
            rgb = decode_image(store.read(image_key(image_id, uri)), max_px).rgb
        except (ObjectNotFoundError, ImageError):
            rgb = None
        yield rgb, objects
