"""Measure a SAM 2 model on held-back images: by clicks, from boxes, and what it finds by itself."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import ObjectNotFoundError
from storage.evaluations import Evaluation, Metric, read_evaluations, store_evaluation
from storage.lake import Lake
from storage.settings import get_settings
from tasks.frozen_set import FrozenSet, frozen_split, read_frozen
from tasks.live_model import ResolvedModel, local_reference, resolve_reference
from tasks.models import Compute, ModelChangedError, UnknownPresetError
from tasks.report.data import Progress
from vision.images import ImageError
from vision.metrics.image_values import Values, automatic_values, prompt_values
from vision.metrics.prompts import PromptSample
from vision.sam2 import PRESETS, GeneratorParams, load_segmenter, params_id

if TYPE_CHECKING:
    from vision.sam2.generator import AutomaticMaskGenerator
    from vision.sam2.prompted import PromptedSam2

STAGE = "evaluate"
WORST_BY = "miou@1.centre"
WORST_IMAGES = 12

# Another one where the same name stands for another number than before.
_SCHEME = 1
_SEED = 0

_log = logging.getLogger(__name__)


class NothingMeasuredError(RuntimeError):
    """Not one image could be read."""

    def __init__(self, frozen: FrozenSet, first: str) -> None:
        super().__init__(
            f"none of the {len(frozen.names):,} images of {frozen.dataset}/{frozen.split} can be "
            f"read; the first one: {first}"
        )


@dataclass(frozen=True)
class WorstImage:
    """An image on which a model did badly.

    Attributes:
        image_id: The image.
        file_name: Its name in its drop.
        miou: Mean over its objects of the IoU after one click in their centre, 0 to 1.
    """

    image_id: str
    file_name: str
    miou: float


@dataclass(frozen=True)
class EvaluationSummary:
    """What was measured of a model.

    Attributes:
        evaluation_id: Its id in the table `evaluations`; None if it was not stored.
        model_id: The model.
        dataset: Where the images are from.
        split: Which of them.
        params_id: Parameters of the mask generator; None if it did not take part.
        set_id: Hash of the images, their true masks and how the model was asked: measurements with
            the same one can be compared.
        metrics: The numbers by name, 0 to 1 but for `masks_per_image`.
        images: How many images were measured.
        objects: How many objects they have.
        skipped: Names of the images that could not be read.
        reused: Whether it had been measured before, and was not measured again.
        worst: The images with the lowest `miou@1.centre`, the lowest first.
    """

    evaluation_id: str | None
    model_id: str
    dataset: str
    split: str
    params_id: str | None
    set_id: str
    metrics: dict[str, float]
    images: int
    objects: int
    skipped: list[str]
    reused: bool
    worst: list[WorstImage]


@dataclass(frozen=True)
class EvaluationPlan:
    """What would be measured.

    Attributes:
        model: The model.
        params: How masks are generated; None if they are not.
        precision: `exact` or `fast`.
        set_id: Hash of the images, their true masks and how the model is asked.
        images: How many images.
        objects: How many objects.
        groups: How many groups of images that look alike, images alone being one.
        stored: The measurement of the same, if there is one.
    """

    model: ResolvedModel
    params: GeneratorParams | None
    precision: str
    set_id: str
    images: int
    objects: int
    groups: int
    stored: Evaluation | None

    @property
    def params_id(self) -> str | None:
        """Hash of `params`."""
        return None if self.params is None else params_id(self.params)


@task(name="evaluate-model", cache_policy=NO_CACHE)
def evaluate_model(
    root: str,
    reference: str,
    dataset: str,
    *,
    split: str = "test",
    max_images: int | None = None,
    device: str | None = None,
    run_id: str | None = None,
    automatic: bool = True,
    again: bool = False,
    preset: str | None = None,
    progress: Progress | None = None,
) -> EvaluationSummary:
    """Measure a model on the held-back images of a split, and store what was found.

    All models get the same images, masks, clicks and seeds. What was measured before, of the same
    model on the same images and masks in the same way, is found again. An image is in memory at a
    time; of each only numbers are kept. An image that cannot be read is skipped.

    Args:
        root: The data root.
        reference: The model, as `tasks.live_model.resolve_reference` takes it.
        dataset: The dataset.
        split: `test`, `val` or another one but `train`.
        max_images: Measure at most so many images, the same ones for each model.
        device: What computes; None takes that of the settings.
        run_id: The run to name on each row.
        automatic: Whether the model also looks for masks by itself.
        again: Measure also what was measured before.
        preset: Parameters of the mask generator; None takes those of the settings.
        progress: Told after each image.

    Raises:
        NoFrozenSetError: If there is no image to measure on.
        NothingMeasuredError: If no image can be read.
        ModelReferenceError: If there is no such model.
        WeightsFileError: If its weights are damaged or of no model known here.
        UnknownPresetError: If there is no such preset.
        StorageError: As `Lake.append`.
    """
    lake = Lake.open(root)
    with frozen_split(root, dataset, split, max_images) as frozen:
        plan = plan_evaluation(root, reference, frozen, automatic=automatic, preset=preset)
        if plan.stored is not None and not again:
            return _summary(plan, frozen, plan.stored)
        metrics = measure(root, plan, frozen, device=device, progress=progress)
        stored = store_evaluation(
            lake,
            model_id=plan.model.model_id,
            dataset=frozen.dataset,
            split=frozen.split,
            images=len(metrics[WORST_BY].per_image),
            metrics=metrics,
            params_id=plan.params_id,
            run_id=run_id,
            set_id=plan.set_id,
        )
        return replace(_summary(plan, frozen, stored), reused=False)


def evaluate_folder(
    root: str,
    reference: str,
    frozen: FrozenSet,
    *,
    device: str | None = None,
    automatic: bool = True,
    preset: str | None = None,
    progress: Progress | None = None,
) -> EvaluationSummary:
    """Measure a model on images that are in no lake; nothing is stored. As `evaluate_model`.

    Args:
        root: The data root whose models `promoted` and `model:ID` are.
        reference: The model.
        frozen: The images.
        device: What computes.
        automatic: Whether the model also looks for masks by itself.
        preset: Parameters of the mask generator.
        progress: Told after each image.
    """
    plan = plan_evaluation(
        root, reference, frozen, automatic=automatic, preset=preset, look_back=False
    )
    metrics = measure(root, plan, frozen, device=device, progress=progress)
    return _of_metrics(plan, frozen, metrics, evaluation_id=None, reused=False)


def plan_evaluation(
    root: str,
    reference: str,
    frozen: FrozenSet,
    *,
    automatic: bool = True,
    preset: str | None = None,
    look_back: bool = True,
) -> EvaluationPlan:
    """Settle what is measured and how, and look whether it was measured before.

    Args:
        root: The data root.
        reference: The model.
        frozen: The images.
        automatic: Whether the model also looks for masks by itself.
        preset: Parameters of the mask generator; None takes those of the settings.
        look_back: Whether to look for an earlier measurement.
    """
    settings = get_settings()
    name = preset or settings.preset
    if name not in PRESETS:
        raise UnknownPresetError(name)
    model = resolve_reference(reference, root)
    params = replace(PRESETS[name], precision=settings.precision) if automatic else None
    asked = json.dumps([_SCHEME, frozen.digest, _SEED, settings.precision])
    plan = EvaluationPlan(
        model=model,
        params=params,
        precision=settings.precision,
        set_id=hashlib.sha256(asked.encode()).hexdigest(),
        images=len(frozen.names),
        objects=frozen.objects,
        groups=len({frozen.groups.get(image_id, image_id) for image_id in frozen.names}),
        stored=None,
    )
    if not look_back:
        return plan
    earlier = [
        each
        for each in read_evaluations(Lake.open(root), model.model_id)
        if (each.set_id, each.params_id) == (plan.set_id, plan.params_id)
        and (each.dataset, each.split) == (frozen.dataset, frozen.split)
        and each.images == len(frozen.names)  # or some could not be read then
    ]
    return replace(plan, stored=earlier[-1] if earlier else None)


def measure(
    root: str,
    plan: EvaluationPlan,
    frozen: FrozenSet,
    *,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Metric]:
    """Measure a model, image by image.

    Returns:
        The numbers by name with the values of each image that could be read.

    Raises:
        NothingMeasuredError: If none could.
    """
    settings = get_settings()
    prompted, segmenter = load_both(root, plan, device)
    values: dict[str, dict[str, tuple[float, ...]]] = {}
    refused: list[str] = []
    for number, image in enumerate(frozen.images(), start=1):
        try:
            rgb = read_frozen(frozen.store, image, settings.max_image_px)
        except (ImageError, ObjectNotFoundError) as error:
            _log.warning("%s is skipped: %s", image.file_name, error)
            refused.append(f"{image.file_name}: {error}")
        else:
            sample = PromptSample(image.image_id, rgb, image.rles)
            found: Values = prompt_values(prompted, sample, _SEED)
            if plan.params is not None:
                found |= automatic_values(segmenter, sample)
            for name, of_image in found.items():
                values.setdefault(name, {})[image.image_id] = of_image
        if progress is not None:
            progress(STAGE, number, len(frozen.names), image.file_name)
    if not values:
        raise NothingMeasuredError(frozen, refused[0] if refused else "unknown")
    return {name: _metric(per_image, frozen.groups) for name, per_image in values.items()}


def load_both(
    root: str, plan: EvaluationPlan, device: str | None = None
) -> "tuple[PromptedSam2, AutomaticMaskGenerator]":
    """The model to be asked, and to look by itself, with one set of weights in memory.

    Raises:
        ModelChangedError: If its weights are others than when they were resolved.
    """
    # Read when torch is loaded, which importing a flow must not do; see `tasks.models`.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from vision.sam2.prompted import PromptedSam2

    compute = Compute.of(get_settings())
    weights = local_reference(plan.model.reference, root)
    params = plan.params or GeneratorParams()
    segmenter = load_segmenter(weights, params, device or compute.device)
    if segmenter.model_id != plan.model.model_id:
        raise ModelChangedError(plan.model.reference, plan.model.model_id, segmenter.model_id)
    if segmenter.on_accelerator:
        segmenter.points_per_batch = compute.points_per_batch
        segmenter.images_per_batch = compute.images_per_batch
    fast = plan.precision == "fast"
    return PromptedSam2(segmenter.model, segmenter.model_id, fast), segmenter


def worst_images(
    metrics: Mapping[str, Metric], names: Mapping[str, str], count: int = WORST_IMAGES
) -> list[WorstImage]:
    """The images with the lowest mean IoU after one click, the lowest first.

    Args:
        metrics: What was measured.
        names: File names by image id.
        count: How many.
    """
    means = {
        image_id: sum(values) / len(values)
        for image_id, values in metrics[WORST_BY].per_image.items()
    }
    lowest = sorted(means.items(), key=lambda item: (item[1], item[0]))[:count]
    return [WorstImage(image_id, names[image_id], mean) for image_id, mean in lowest]


def _metric(per_image: Mapping[str, Sequence[float]], groups: Mapping[str, str]) -> Metric:
    every = [value for values in per_image.values() for value in values]
    of_groups = {image_id: groups[image_id] for image_id in per_image if image_id in groups}
    return Metric(sum(every) / len(every), per_image, of_groups)


def _summary(plan: EvaluationPlan, frozen: FrozenSet, stored: Evaluation) -> EvaluationSummary:
    return _of_metrics(
        plan, frozen, stored.metrics, evaluation_id=stored.evaluation_id, reused=True
    )


def _of_metrics(
    plan: EvaluationPlan,
    frozen: FrozenSet,
    metrics: Mapping[str, Metric],
    *,
    evaluation_id: str | None,
    reused: bool,
) -> EvaluationSummary:
    measured = metrics[WORST_BY].per_image
    return EvaluationSummary(
        evaluation_id=evaluation_id,
        model_id=plan.model.model_id,
        dataset=frozen.dataset,
        split=frozen.split,
        params_id=plan.params_id,
        set_id=plan.set_id,
        metrics={name: metric.value for name, metric in metrics.items()},
        images=len(measured),
        objects=sum(map(len, measured.values())),
        skipped=[name for image_id, name in frozen.names.items() if image_id not in measured],
        reused=reused,
        worst=worst_images(metrics, frozen.names),
    )
