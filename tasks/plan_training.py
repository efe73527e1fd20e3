"""Fix what a training learns from and begins with, for all attempts at it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import ObjectNotFoundError, VersionGoneError
from storage.lake import Lake
from storage.model_store import ModelStore
from storage.objects import ObjectStore, open_store
from storage.session import connect
from storage.settings import Settings
from storage.units import unit_id
from tasks.data_version import DataVersion
from tasks.live_model import resolve_reference
from tasks.training_data import TrainingData
from vision.finetune import TrainConfig, make_config, read_config


@dataclass(frozen=True)
class TrainingPlan:
    """A training, before it begins.

    Attributes:
        training_run_id: Hash of all that decides what comes of it.
        root: The data root.
        folder: Where it keeps checkpoints, pictures and logs on this machine.
        base: Reference of the model that it begins with, never `promoted`.
        base_model_id: The id of this model.
        data: Which curated masks it reads.
        config: Its settings, as given.
        images: How many images it reads.
        masks: How many masks.
        labels: Masks by label.
        begun_at: When it was first planned, UTC.
        max_image_px: Largest image that is decoded, px.
    """

    training_run_id: str
    root: str
    folder: Path
    base: str
    base_model_id: str
    data: DataVersion
    config: TrainConfig
    images: int
    masks: int
    labels: dict[str, int]
    begun_at: datetime
    max_image_px: int


@task(name="read-train-config", cache_policy=NO_CACHE)
def read_train_config(
    path: str | None, overrides: Sequence[str] = (), model: str | None = None
) -> TrainConfig:
    """Read the settings of a training.

    Args:
        path: A YAML file; None for `configs/train.yaml`.
        overrides: `section.key=value` each; later ones win.
        model: Reference of the model to begin with, in place of `model.base`.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If something in it is unknown, out of range or at odds.
    """
    config = read_config(Path(path) if path else None, overrides)
    if model is None:
        return config
    return config.model_copy(update={"model": config.model.model_copy(update={"base": model})})


@task(name="plan-training", cache_policy=NO_CACHE)
def plan_training(
    dataset: str,
    config: TrainConfig,
    settings: Settings,
    *,
    crossing_id: str | None = None,
    write: bool = True,
) -> TrainingPlan:
    """Choose the tables' versions and the model, or find what an earlier attempt chose.

    The plan is kept in the root, where every machine finds it. A training for a crossing is one
    training, whatever was curated or promoted since it was begun; any other is the same as an
    earlier one if no mask was curated since, and model and settings are the same. Where nothing was
    made of an earlier attempt and its data can no longer be read, it is planned again, under
    another id.

    Args:
        dataset: The dataset.
        config: How to train.
        settings: Of the machine.
        crossing_id: The occasion that it is for.
        write: Whether the plan is kept.

    Raises:
        NoTrainingDataError: If there is no curated mask to train on.
        ModelReferenceError: If `config.model.base` names no model, or it is not there.
    """
    asked = config.model_dump(mode="json")
    store = open_store(settings.root)
    if crossing_id is not None:
        training_run_id, known = _attempt(settings, crossing_id=crossing_id, config=asked)
        if known is not None:
            return known
    base = resolve_reference(config.model.base, settings.root)
    with TrainingData(Lake.open(settings.root), dataset=dataset) as data:
        version, counts = data.version, data.counts
    if crossing_id is None:
        about = {
            "dataset": dataset,
            "reviews_version": version.mark.reviews_version,
            "annotations_until": version.mark.annotations_until.isoformat(),
        }
        training_run_id, known = _attempt(settings, data=about, base=base.model_id, config=asked)
        if known is not None:
            return known
    plan = TrainingPlan(
        training_run_id=training_run_id,
        root=settings.root,
        folder=training_folder(settings, training_run_id),
        base=base.reference,
        base_model_id=base.model_id,
        data=version,
        config=config,
        images=counts.images,
        masks=counts.masks,
        labels=dict(counts.labels),
        begun_at=datetime.now(UTC),
        max_image_px=settings.max_image_px,
    )
    if write:
        store.create(_key(training_run_id), _as_json(plan))
    # Another attempt may have been first.
    return _read(store, training_run_id, settings) or plan


def _attempt(settings: Settings, **about: Any) -> tuple[str, TrainingPlan | None]:
    """The id of a training, and the plan that was kept of it; past those that cannot go on."""
    store = open_store(settings.root)
    again = 0
    while True:
        salt = {"again": again} if again else {}
        training_run_id = unit_id("train", [], **about, **salt)
        known = _read(store, training_run_id, settings)
        if known is None or _is_readable(known) or _is_made(known):
            return training_run_id, known
        again += 1


def _is_readable(plan: TrainingPlan) -> bool:
    try:
        connect(Lake.open(plan.root), plan.data.tables).close()
    except VersionGoneError:
        return False
    return True


def _is_made(plan: TrainingPlan) -> bool:
    models = ModelStore(plan.root).models()
    return any(model.training_run_id == plan.training_run_id for model in models)


def training_folder(settings: Settings, training_run_id: str) -> Path:
    """Where a training keeps its files on this machine."""
    return Path(settings.training_folder).expanduser().absolute() / training_run_id[:16]


def _key(training_run_id: str) -> str:
    return f"trainings/{training_run_id}/plan.json"


def _as_json(plan: TrainingPlan) -> bytes:
    about: dict[str, Any] = {
        "training_run_id": plan.training_run_id,
        "base": plan.base,
        "base_model_id": plan.base_model_id,
        "data": plan.data.to_json(),
        "config": plan.config.model_dump(mode="json"),
        "images": plan.images,
        "masks": plan.masks,
        "labels": plan.labels,
        "begun_at": plan.begun_at.isoformat(),
    }
    return json.dumps(about, indent=1).encode()


def _read(store: ObjectStore, training_run_id: str, settings: Settings) -> TrainingPlan | None:
    try:
        about = json.loads(store.read(_key(training_run_id)))
    except ObjectNotFoundError:
        return None
    data = DataVersion.from_json(about["data"])
    assert data is not None
    return TrainingPlan(
        training_run_id=training_run_id,
        root=settings.root,
        folder=training_folder(settings, training_run_id),
        base=about["base"],
        base_model_id=about["base_model_id"],
        data=data,
        config=make_config(about["config"]),
        images=about["images"],
        masks=about["masks"],
        labels=about["labels"],
        begun_at=datetime.fromisoformat(about["begun_at"]),
        max_image_px=settings.max_image_px,
    )
