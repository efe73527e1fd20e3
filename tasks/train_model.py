"""Train as planned, register the model, and record the training."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.model_store import ModelStore
from tasks.live_model import local_reference
from tasks.plan_training import TrainingPlan
from tasks.register_model import register_model
from tasks.report.data import Progress
from tasks.training_data import TrainingData
from tasks.training_images import training_images
from vision.finetune.errors import (
    ConfigError,
    FinetuneError,
    FolderInUseError,
    MissingExtraError,
    OtherRunError,
)

if TYPE_CHECKING:
    from vision.finetune.run import FinetuneResult
    from vision.finetune.training import StepReport

State = Literal["completed", "failed", "stopped"]

MOST_SKIPPED = 100
"""So many images that were left out are named, here and in the model's configuration."""


@dataclass(frozen=True)
class TrainingSummary:
    """What came of a training.

    Attributes:
        training_run_id: Its id in `training_runs`.
        model_id: The model that it made, registered; None if it was stopped before its end.
        base_model_id: The model that it began with.
        folder: Pictures and logs, on the machine that trained.
        ending: Why it ended.
        images: Images that it read.
        masks: Masks that it read.
        steps: Steps done.
        seconds: Time spent, over all attempts, s.
        start_miou: 1-click mIoU on its own validation images before; None without any.
        best_miou: That of the weights that were kept.
        final_loss: Of the last step; None if this attempt did none.
        skipped: Why an image was left out, by its id; of the first `MOST_SKIPPED`.
        notes: What the user should know.
        skipped_count: How many images were left out.
    """

    training_run_id: str
    model_id: str | None
    base_model_id: str
    folder: str
    ending: str
    images: int
    masks: int
    steps: int
    seconds: float
    start_miou: float | None
    best_miou: float | None
    final_loss: float | None
    skipped: dict[str, str]
    notes: list[str]
    skipped_count: int = 0


@task(name="train-model", cache_policy=NO_CACHE)
def train_model(
    plan: TrainingPlan,
    *,
    run_id: str | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainingSummary:
    """Fine-tune the model, or go on where an attempt was cut off, and register what comes of it.

    A training that is done is found again: its model is registered, and its row stored, once.

    Args:
        plan: What to do.
        run_id: The run that trains, recorded where it fails.
        progress: Told after each step.
        should_stop: Asked before each step; when it says so, a checkpoint is kept.

    Raises:
        FinetuneError: As `vision.finetune.run.finetune`; it is recorded.
        NoTrainingDataError: If none of the data counts.
        ModelReferenceError: If the model to begin with is gone.
        VersionGoneError: If the data can no longer be read; `plan_training` plans anew then.
        StorageError: As `ModelStore.put` and `Lake.append`.
    """
    from vision.finetune.run import finetune

    last: list[StepReport] = []

    def stepped(report: "StepReport") -> None:
        last[:] = [report]
        if progress is not None:
            progress("train", report.step, report.steps, step_detail(report))

    lake = Lake.open(plan.root)
    store = ModelStore(plan.root)
    made = [model for model in store.models() if model.training_run_id == plan.training_run_id]
    if made:
        # An attempt on another machine came this far, and its data may be gone since.
        told = store.config(made[0])["training"]
        _record(lake, plan, "completed", None, steps=told["steps"], loss=told["final_loss"])
        # Those of older versions named all of them.
        told = {"skipped_count": len(told["skipped"])} | told
        return TrainingSummary(**told | {"model_id": made[0].model_id})
    base = local_reference(plan.base, plan.root)
    model = plan.config.model.model_copy(update={"base": base})
    config = plan.config.model_copy(update={"model": model})
    with TrainingData(lake, dataset=plan.data.dataset, version=plan.data) as data:
        images, left_out = training_images(plan.root, data, plan.max_image_px)
    try:
        result = finetune(config, images, plan.folder, on_step=stepped, should_stop=should_stop)
    except (ConfigError, FolderInUseError, MissingExtraError, OtherRunError):
        raise  # nothing was trained, or another process is at it
    except FinetuneError:
        _record(lake, plan, "failed", last[-1] if last else None, run_id=run_id)
        raise
    report = last[-1] if last else None
    if result.weights is None:
        return _told(plan, result, report, left_out)
    summary = _told(plan, result, report, left_out)
    found, _ = register_model(
        plan.root,
        f"file:{result.weights}",
        name=plan.data.dataset,
        config={"training": asdict(summary)},
        parent_id=plan.base_model_id,
        training_run_id=plan.training_run_id,
    )
    _record(lake, plan, "completed", report, steps=result.steps)
    # Half a gigabyte each for the larger models, and of no more use.
    shutil.rmtree(plan.folder / "checkpoints", ignore_errors=True)
    return replace(summary, model_id=found.model_id)


def step_detail(report: "StepReport") -> str:
    """A few words on a step."""
    miou = "" if report.miou is None else f", mIoU {report.miou:.3f}"
    return f"loss {report.loss:.3f}{miou}, {report.images_per_second:.1f} images/s"


def _told(
    plan: TrainingPlan,
    result: "FinetuneResult",
    report: "StepReport | None",
    left_out: dict[str, str],
) -> TrainingSummary:
    skipped = left_out | result.skipped
    return TrainingSummary(
        training_run_id=plan.training_run_id,
        model_id=None,
        base_model_id=plan.base_model_id,
        folder=str(plan.folder),
        ending=result.ending,
        images=plan.images,
        masks=plan.masks,
        steps=result.steps,
        seconds=result.seconds,
        start_miou=result.start_miou,
        best_miou=result.best_miou,
        final_loss=report.loss if report else None,
        skipped=dict(islice(skipped.items(), MOST_SKIPPED)),
        notes=result.notes,
        skipped_count=len(skipped),
    )


def _record(
    lake: Lake,
    plan: TrainingPlan,
    state: State,
    report: "StepReport | None",
    *,
    steps: int | None = None,
    loss: float | None = None,
    run_id: str | None = None,
) -> None:
    row = {
        "training_run_id": plan.training_run_id,
        "base_model_id": plan.base_model_id,
        "config": json.dumps(plan.config.model_dump(mode="json"), sort_keys=True),
        "data_version": plan.data.to_json(),
        "seed": plan.config.seed,
        "steps": steps if steps is not None else report.step if report else 0,
        "annotations": plan.masks,
        "final_loss": report.loss if report else loss,
        "started_at": plan.begun_at,
        "ended_at": datetime.now(UTC),
        "state": state,
    }
    # It is completed once; each run may fail at it.
    attempt = f"-{run_id or datetime.now(UTC).isoformat()}" if state == "failed" else ""
    lake.append("training_runs", [row], f"training-{plan.training_run_id}-{state}{attempt}")
