"""Cut and name what is on a batch of images, as one unit."""

import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import ObjectNotFoundError, UnitWithdrawnError
from storage.lake import Lake
from storage.objects import ObjectStore, open_store
from storage.session import connect
from storage.unfinished import give_up_unit
from storage.units import unit_id
from tasks.attempts import Attempts
from tasks.image_inspection import image_failure
from tasks.models import (
    Compute,
    ComputeSlots,
    LoadedModels,
    ModelChoice,
    compute_slots,
    load_models,
)
from tasks.pending_images import PendingImage
from tasks.segment_rows import Segments, image_label_rows, refusal_row, segment_rows
from vision.images import ImageError, decode_image
from vision.masks import mask_to_rle

DEATHS = 2
"""An image at which so many processes died is set aside."""

_REFUSED_FILES = "SELECT file FROM stored.quarantine WHERE unit_id = $unit_id"
_log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class BatchSummary:
    """What a batch gave; zeros where another run had committed it before.

    Attributes:
        images: Images that were segmented.
        segments: Their segments.
        quarantined: Images that were set aside.
        seconds: How long it took.
        points_per_batch: Points that were decoded at once in the end; 0 where nothing was done.
        images_per_batch: Images that were encoded at once in the end, likewise.
        worker: Machine and process that did it.
        device_seconds: How long its models held the device, s. Where a device computes several
            images at once each counts for its share, so that the batches of a process take no more
            than the time that passed.
        device: What computed: `cpu`, or the name of the accelerator; empty where nothing was done.
    """

    images: int
    segments: int
    quarantined: int
    seconds: float = 0.0
    points_per_batch: int = 0
    images_per_batch: int = 0
    worker: str = ""
    device_seconds: float = 0.0
    device: str = ""


@dataclass(frozen=True)
class Refusal:
    """Why an image cannot be segmented."""

    rule: str
    value: str


@task(name="segment-batch", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=10)
def segment_batch(
    batch: Sequence[PendingImage],
    *,
    root: str,
    choice: ModelChoice,
    run_id: str,
    compute: Compute,
    max_image_px: int,
    on_image: Callable[[str], None] | None = None,
) -> BatchSummary:
    """Segment and label a batch of images and commit it; does nothing if it is committed.

    An image that cannot be decoded, fails twice, or has killed two processes goes to quarantine;
    the others are committed.

    Args:
        batch: The images.
        root: The data root.
        choice: The models of the run.
        run_id: The run to name on each row.
        compute: What the machine computes with.
        max_image_px: Largest number of pixels of an image.
        on_image: Called with the name of each image when it is done.
    """
    lake, store = Lake.open(root), open_store(root)
    image_ids = [image.image_id for image in batch]
    models_used: dict[str, Any] = {
        "model_id": choice.model_id,
        "params_id": choice.params_id,
        "label_set_id": choice.label_set_id,
    }
    unit = unit_id("segment", image_ids, **models_used)
    attempts = Attempts(store, unit)
    life = lake.life(unit)
    if life is None:
        attempts.forget()
        return BatchSummary(0, 0, 0)
    started = time.perf_counter()
    models, slots = load_models(choice, compute), compute_slots(compute)
    found: dict[PendingImage, Segments | Refusal] = {}
    work = _Work(store, models, slots, attempts, max_image_px)
    for image, outcome in work.outcomes(batch):
        found[image] = outcome
        if on_image:
            on_image(image.file_name)
    device = models.segmenter.device_name
    device_seconds = work.held_seconds * (1 if device == "cpu" else compute.accelerators)
    refused = _store_refusals(lake, unit, life, found)
    if refused is None:
        # What is known now replaces what an attempt that died had settled.
        give_up_unit(lake, unit, life)
        life = lake.life(unit)
        if life is None:
            return BatchSummary(0, 0, 0)
        refused = _store_refusals(lake, unit, life, found)
    if refused is None:
        raise UnitWithdrawnError(unit)
    cut = {
        image: of
        for image, of in found.items()
        if not isinstance(of, Refusal) and image not in refused
    }
    segments = [row for image, of in cut.items() for row in segment_rows(image, choice, run_id, of)]
    # A report reads by label; one sorted file per unit lets it skip the rest.
    segments.sort(key=lambda row: (row["label"], row["image_id"]))
    lake.append("segments", segments, unit, life)
    partials = [row for image, of in cut.items() for row in image_label_rows(image, choice, of)]
    lake.append("image_labels", partials, unit, life)
    lake.commit_unit(
        stage="segment",
        unit_id=unit,
        subject=batch[0].drop_id,
        inputs=len(batch),
        outputs=len(segments),
        run_id=run_id,
        image_ids=image_ids,
        device_seconds=device_seconds,
        device=device,
        dataset=batch[0].dataset,
        life=life,
        **models_used,
    )
    attempts.forget()
    return BatchSummary(
        images=len(cut),
        segments=len(segments),
        quarantined=len(refused),
        seconds=time.perf_counter() - started,
        points_per_batch=models.segmenter.points_per_batch,
        images_per_batch=models.segmenter.images_per_batch,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        device_seconds=device_seconds,
        device=device,
    )


def _store_refusals(
    lake: Lake, unit: str, life: int, found: Mapping[PendingImage, Segments | Refusal]
) -> set[PendingImage] | None:
    """Store which images are set aside, and return them.

    It is stored first and stays: another attempt at the same unit, which may have refused others,
    may have stored it before.

    Returns:
        Those that are set aside; None if now an image fails that had not failed then.
    """
    refused = {image: of for image, of in found.items() if isinstance(of, Refusal)}
    rows = [refusal_row(image, refusal.rule, refusal.value) for image, refusal in refused.items()]
    if lake.append("quarantine", rows, unit, life):
        return set(refused)
    with connect(lake) as session:
        stored = session.execute(_REFUSED_FILES, {"unit_id": unit}).fetchall()
    settled = {image for image in found if (image.file_name,) in stored}
    return settled if refused.keys() <= settled else None


def segment_images(models: LoadedModels, images: Sequence[Pixels]) -> list[Segments]:
    """Every mask of each image with its label.

    Args:
        models: The models.
        images: Each (h, w, 3), uint8, RGB.
    """
    masks = models.segmenter.segment_many(images)
    labels = models.labeller.label_many(list(zip(images, masks, strict=True)))
    return [list(zip(*pair, strict=True)) for pair in zip(masks, labels, strict=True)]


class _Work:
    """How a batch is worked through: some images read while others are computed.

    Attributes:
        held_seconds: How long the device was held so far, s.
    """

    def __init__(
        self,
        store: ObjectStore,
        models: LoadedModels,
        slots: ComputeSlots,
        attempts: Attempts,
        max_image_px: int,
    ) -> None:
        self._store = store
        self._models = models
        self._slots = slots
        self._attempts = attempts
        self._max_image_px = max_image_px
        self._adding = Lock()
        self.held_seconds = 0.0

    def outcomes(
        self, batch: Sequence[PendingImage]
    ) -> Iterator[tuple[PendingImage, Segments | Refusal]]:
        """Yield what each image gave, as they are done."""
        past = self._attempts.past()
        others = []
        for image in batch:
            deaths = past.deaths[image.image_id]
            if deaths >= DEATHS:
                yield image, Refusal("image.process_died", f"{deaths} processes died at it")
            elif image.image_id in past.suspects:
                yield from self._together([image], nothing_beside=True)
            else:
                others.append(image)
        size = max(1, self._models.segmenter.images_per_batch)
        groups = [others[start : start + size] for start in range(0, len(others), size)]
        # One more than compute: it reads and decodes the next images meanwhile.
        with ThreadPoolExecutor(self._slots.count + 1) as threads:
            for done in threads.map(self._together, groups):
                yield from done

    def _together(
        self, group: Sequence[PendingImage], nothing_beside: bool = False
    ) -> list[tuple[PendingImage, Segments | Refusal]]:
        read = [(image, self._read(image)) for image in group]
        good = [(image, rgb) for image, rgb in read if not isinstance(rgb, Refusal)]
        refused = [(image, rgb) for image, rgb in read if isinstance(rgb, Refusal)]
        if not good:
            return [*refused]
        with ExitStack() as after, self._slots.taken(every=nothing_beside) as share:
            began = time.perf_counter()
            attempt = self._attempts.begin([image.image_id for image, _ in good])
            after.callback(self._attempts.end, attempt)
            found = self._compute(good)
            with self._adding:
                self.held_seconds += share * (time.perf_counter() - began)
        return [*refused, *zip((image for image, _ in good), found, strict=True)]

    def _compute(
        self, group: Sequence[tuple[PendingImage, Pixels]]
    ) -> Sequence[Segments | Refusal]:
        try:
            return segment_images(self._models, [rgb for _, rgb in group])
        except Exception:
            _log.warning("%s failed; trying one by one", group[0][0].file_name, exc_info=True)
            return [self._alone(rgb) for _, rgb in group]

    def _alone(self, rgb: Pixels) -> Segments | Refusal:
        try:
            return segment_images(self._models, [rgb])[0]
        except Exception as error:
            # If a plain image fails too, it is the models or the machine: nothing is committed.
            plain, square = _plain_image()
            self._models.segmenter.segment(plain)
            self._models.labeller.label(plain, [square])
            return Refusal("image.fails", f"{type(error).__name__}: {error}")

    def _read(self, image: PendingImage) -> Pixels | Refusal:
        # By id and ending, so that a root that was moved or mounted elsewhere still works.
        key = f"images/{image.image_id[:2]}/{image.uri.rsplit('/', 1)[-1]}"
        try:
            data = self._store.read(key)
            if hashlib.sha256(data).hexdigest() != image.image_id:
                raise ImageError("image.corrupt", f"other bytes than ingested: {image.uri}")
            return decode_image(data, self._max_image_px).rgb
        except ObjectNotFoundError:
            return Refusal("image.missing", image.uri)
        except ImageError as error:
            failure = image_failure(error)
            return Refusal(failure.rule, failure.value)


def _plain_image() -> tuple[Pixels, bytes]:
    """A gray square with a darker one in it, which any models can be asked about, and its mask."""
    inside = np.zeros((64, 64), np.bool_)
    inside[16:48, 16:48] = True
    rgb = np.where(inside[..., None], 60, 200).astype(np.uint8).repeat(3, axis=2)
    return rgb, mask_to_rle(inside)
