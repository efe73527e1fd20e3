"""Resolve model references once a run, and load the models once a process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import BoundedSemaphore, Lock

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.settings import Settings
from tasks.live_model import local_reference, resolve_reference
from vision.clip import Labeller, load_label_set, load_labeller
from vision.devices import chosen_device, device_name
from vision.models import resolve_model
from vision.sam2 import PRESETS, Precision, Segmenter, load_segmenter, params_id

DEMO_LABELLER_FILE = "clip.safetensors"

_LOADING = Lock()


class UnknownPresetError(ValueError):
    """There are no mask generator parameters of this name.

    Attributes:
        preset: The name.
    """

    def __init__(self, preset: str) -> None:
        self.preset = preset
        super().__init__(f"no preset {preset!r}: give one of {', '.join(PRESETS)}")


class ModelChangedError(RuntimeError):
    """A reference leads to other weights than when the run chose its models.

    Attributes:
        reference: The reference.
    """

    def __init__(self, reference: str, chosen: str, found: str) -> None:
        self.reference = reference
        super().__init__(
            f"model {reference!r} was {chosen} when the run began, but is {found} on this machine: "
            "put the same weights on all machines and run again"
        )


@dataclass(frozen=True)
class ModelChoice:
    """The models of a run, resolved: what is recorded on each row and what loads them again.

    Attributes:
        segmenter: Reference of the segmenter, never `promoted` nor a part of an id.
        model_id: Name and weights hash of the segmenter.
        labeller: Reference of the labeller.
        preset: Name of the mask generator's parameters.
        precision: `exact` or `fast`.
        params_id: Hash of these parameters.
        labels: Name or path of the label set.
        label_set_id: Hash of the label set and of the labeller's weights: both decide a label.
        root: The data root in whose model store `model:ID` is.
    """

    segmenter: str
    model_id: str
    labeller: str
    preset: str
    precision: Precision
    params_id: str
    labels: str
    label_set_id: str
    root: str = ""


class OtherModelsError(RuntimeError):
    """References of another machine stand for other models, parameters or labels on this one.

    Attributes:
        differing: Each id that differs, as (name, expected, found).
    """

    def __init__(self, differing: list[tuple[str, str, str]]) -> None:
        self.differing = differing
        told = "; ".join(f"{name}: expected {one}, found {two}" for name, one, two in differing)
        super().__init__(
            f"this machine has not what the one has that started the run ({told}): put the same "
            "version, weights and label sets on both"
        )


def require_ids(choice: ModelChoice, **expected: str) -> None:
    """Refuse models that are not those of whoever asked for this run.

    Args:
        choice: What the references stand for here.
        **expected: What its `model_id`, `params_id` and `label_set_id` must be.

    Raises:
        OtherModelsError: If one of them is another.
    """
    differing = [
        (name, wanted, found)
        for name, wanted in expected.items()
        if (found := getattr(choice, name)) != wanted
    ]
    if differing:
        raise OtherModelsError(differing)


@dataclass(frozen=True)
class Compute:
    """What a machine computes with; changes nothing but rounding.

    Attributes:
        device: `cpu`, `cuda`, `mps`, or `auto`.
        points_per_batch: Points decoded at once on an accelerator, if its memory suffices.
        images_per_batch: Images encoded at once on an accelerator, likewise.
        compiled: Whether the image encoder is compiled first.
        most_slots: Images computed at once on a processor, if so many cores are free. A cluster
            gives a task one core, whatever the machine has.
        accelerators: What a process has of them: 0.5 where two processes share one.
    """

    device: str = "auto"
    points_per_batch: int = 1024
    images_per_batch: int = 8
    compiled: bool = False
    most_slots: int = 8  # each holds the activations of an image
    accelerators: float = 1.0

    @classmethod
    def of(cls, settings: Settings) -> "Compute":
        """What the settings of the machine say."""
        return cls(
            settings.device,
            settings.points_per_batch,
            settings.images_per_batch,
            settings.compile,
            cls.most_slots if settings.engine == "threads" else 1,
            1.0 if settings.engine == "threads" else settings.gpus_per_task or 1.0,
        )

    def device_name(self) -> str:
        """Name of the device, as this machine would choose it; see `vision.devices`."""
        return device_name(chosen_device(self.device))


@dataclass(frozen=True)
class LoadedModels:
    """A segmenter and a labeller, ready to use."""

    segmenter: Segmenter
    labeller: Labeller


@task(name="choose-models", cache_policy=NO_CACHE)
def choose_models(
    *, model: str, clip_model: str, preset: str, precision: Precision, labels: str, root: str
) -> ModelChoice:
    """Resolve references to what will run, so that a whole run uses one model.

    The live model is asked for here, once: who is promoted or rolled back to later is of the next
    run.

    Raises:
        ModelReferenceError: If a reference names no model, or the model is not there.
        DamagedModelError: If a file of a registered model is missing.
        DamagedFileError: If the tables that say which model is live are damaged.
        LabelSetError: If the label set cannot be read.
        UnknownPresetError: If there is no such preset.
    """
    if preset not in PRESETS:
        raise UnknownPresetError(preset)
    segmenter = resolve_reference(model, root)
    return ModelChoice(
        segmenter=segmenter.reference,
        model_id=segmenter.model_id,
        labeller=clip_model,
        preset=preset,
        precision=precision,
        params_id=params_id(replace(PRESETS[preset], precision=precision)),
        labels=labels,
        label_set_id=f"{load_label_set(labels).label_set_id}.{labeller_id(clip_model)}",
        root=root,
    )


def labeller_id(reference: str) -> str:
    """The id of a labeller's weights."""
    if reference.startswith("hub:"):
        # A repository may hold the same weights in several files; the loaded model knows.
        return load_labeller(reference).model_id
    return resolve_model(reference, DEMO_LABELLER_FILE).model_id


def load_models(choice: ModelChoice, compute: Compute) -> LoadedModels:
    """Load the models of a run; a process keeps the last ones it used."""
    with _LOADING:
        return _load_models(choice, compute)


@lru_cache(maxsize=1)
def _load_models(choice: ModelChoice, compute: Compute) -> LoadedModels:
    # Read when torch is loaded. Threads that spin while they wait for each other made one image
    # take 12 times as long on two cores that had other work too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    params = replace(PRESETS[choice.preset], precision=choice.precision)
    weights = local_reference(choice.segmenter, choice.root)
    segmenter = load_segmenter(weights, params, compute.device, compiled=compute.compiled)
    if segmenter.model_id != choice.model_id:
        raise ModelChangedError(choice.segmenter, choice.model_id, segmenter.model_id)
    if segmenter.on_accelerator:
        segmenter.points_per_batch = compute.points_per_batch
        segmenter.images_per_batch = compute.images_per_batch
    return LoadedModels(segmenter, load_labeller(choice.labeller, choice.labels, compute.device))


class ComputeSlots:
    """How many images a process computes at once; while it does, other threads read and store.

    Attributes:
        count: The slots.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = BoundedSemaphore(count)
        self._entrance = Lock()

    @contextmanager
    def taken(self, every: bool = False) -> Iterator[float]:
        """Hold a slot, or all of them, as soon as they are free; yields their share of the device.

        Slots are equal shares, so that what all of them hold in a second is one device second.
        """
        number = self.count if every else 1
        with self._entrance:
            for _ in range(number):
                self._free.acquire()
        try:
            yield number / self.count
        finally:
            self._free.release(number)


def compute_slots(compute: Compute) -> ComputeSlots:
    """The slots of a process: one on an accelerator, and as many as cores are free on a processor.

    Several images at once use the cores better than several threads on one small image do; where
    torch has a thread for each core already (its default), there is one slot.
    """
    with _LOADING:
        return _compute_slots(compute)


@lru_cache
def _compute_slots(compute: Compute) -> ComputeSlots:
    import torch  # importing a flow must not

    count = 1
    device = compute.device
    if device == "cpu" or (device == "auto" and not torch.accelerator.is_available()):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        count = max(1, min(compute.most_slots, (cores or 1) // torch.get_num_threads()))
    return ComputeSlots(count)
