"""Fine-tune SAM 2 on images: from settings and data to a model's folder."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, GradientState, PartialState

from vision.finetune.base_model import BaseModel, load_base_model
from vision.finetune.config import TrainConfig
from vision.finetune.errors import ConfigError
from vision.finetune.hardware import fill_in, this_machine
from vision.finetune.learner import Learner
from vision.finetune.lora import add_adapters
from vision.finetune.model_folder import (
    MANIFEST,
    SAM2_CONFIG,
    SETTINGS,
    WEIGHTS,
    count_parameters,
    read_manifest,
    write_model,
)
from vision.finetune.run_folder import (
    CHECKPOINTS,
    LOGS,
    PICTURES,
    RUN,
    begin_run,
    flat_settings,
    locked,
)
from vision.finetune.split import Split, split_images
from vision.finetune.trackers import choose_trackers
from vision.finetune.training import Ending, Outcome, StepReport, Training
from vision.finetune.training_images import TrainingImage

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneResult:
    """What came of a run.

    Attributes:
        folder: The run's; with `weights`, `sam2.yaml`, `config.json` and `manifest.json` once it
            is finished. `file:FOLDER` names the model.
        weights: The model, safetensors; None if the run was asked to stop.
        ending: Why it ended.
        steps: Steps done.
        epochs: Times every image was seen.
        seconds: Time spent, over all attempts.
        start_miou: 1-click mIoU of the weights that training began with; None without validation.
        best_miou: That of the weights that were kept.
        best_step: The step they are of.
        skipped: Why an image was left out, by its id.
        notes: What the user should know.
    """

    folder: Path
    weights: Path | None
    ending: Ending
    steps: int
    epochs: float
    seconds: float
    start_miou: float | None
    best_miou: float | None
    best_step: int | None
    skipped: dict[str, str]
    notes: list[str]


def finetune(
    config: TrainConfig,
    images: Sequence[TrainingImage],
    folder: Path,
    *,
    base: BaseModel | None = None,
    resume: bool = True,
    on_step: Callable[[StepReport], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> FinetuneResult:
    """Fine-tune a model; a run that was cut off goes on where its last checkpoint left it.

    Started by `accelerate launch` or `torchrun`, several devices work on one run.

    Args:
        config: The settings.
        images: What to learn from and to validate on; read again and again, a few at a time.
        folder: Of the run; made if it is not there.
        base: The model to begin with; it is changed. None loads `config.model.base`.
        resume: Whether to go on from the checkpoints in `folder`, and to do nothing if the run is
            finished; otherwise what is there is removed.
        on_step: Called after each step.
        should_stop: Asked before each step; when it says so, a checkpoint is kept and the run ends
            unfinished.

    Raises:
        FinetuneError: As `vision.finetune.errors` tells.
        ModelReferenceError: `config.model.base` names no model.
        WeightsFileError: Its weights are damaged or of no model known here.
    """
    trackers = choose_trackers(config.trackers)
    hardware = this_machine(config.device)
    size = None if config.data.image_size == "auto" else config.data.image_size
    base = base or load_base_model(config.model.base, size, config.seed)
    if size not in (None, base.model.image_size):
        told = f"found {size}, but the model is for {base.model.image_size}"
        raise ConfigError("settings", [f"data.image_size: {told}"])
    filled = fill_in(config, hardware, base.model.image_size)
    split = split_images(images, config.data.val_share, config.seed, config.data.max_val_images)
    for note in split.notes:
        _log.warning("%s", note)
    accelerator = _accelerator(filled, trackers, folder)
    main = accelerator.is_main_process
    with locked(folder) if main else contextlib.nullcontext():
        if main and not resume:
            _clear(folder)
        with accelerator.main_process_first():
            filled = begin_run(folder, config, filled, split.digest, base.model_id, write=main)
        manifest = read_manifest(folder)
        if manifest and manifest.get("asked") == flat_settings(config):
            return FinetuneResult(folder, folder / WEIGHTS, **manifest["training"])
        if filled.model.lora_rank:
            settings = filled.model
            add_adapters(base.model, settings.lora_rank, settings.lora_alpha, filled.seed)
        shown = {name: str(value) for name, value in flat_settings(filled).items()}
        accelerator.init_trackers(filled.trackers.project, shown)
        learner = Learner(base.model, filled, accelerator)
        training = Training(
            learner, filled, images, split, folder, accelerator, on_step, should_stop
        )
        try:
            outcome = training.run()
        finally:
            accelerator.end_training()
        run = _told(outcome, split)
        if outcome.ending == "asked to stop":
            return FinetuneResult(folder, None, **run)
        if main:
            facts = _facts(config, filled, split, learner, run)
            write_model(folder, base, filled, facts)
        return FinetuneResult(folder, folder / WEIGHTS, **run)


def _accelerator(config: TrainConfig, trackers: list[str], folder: Path) -> Accelerator:
    if PartialState._shared_state and not _several_processes():
        # accelerate keeps the device and precision of the first run of a process for all others.
        AcceleratorState._reset_state(True)
        GradientState._reset_state()
    # Prompts of one kind leave the weights of the others without a gradient.
    several = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(
        cpu=config.device == "cpu",
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        log_with=trackers or None,
        project_dir=str(folder / LOGS),
        kwargs_handlers=[several],
    )


def _several_processes() -> bool:
    return bool(PartialState().num_processes > 1)


def _clear(folder: Path) -> None:
    """Remove what a run wrote, the manifest first."""
    for name in (MANIFEST, RUN, WEIGHTS, SAM2_CONFIG, SETTINGS):
        (folder / name).unlink(missing_ok=True)
    for name in (CHECKPOINTS, PICTURES, LOGS):
        shutil.rmtree(folder / name, ignore_errors=True)


def _told(outcome: Outcome, split: Split) -> dict[str, Any]:
    """What the result tells, as JSON has it."""
    progress = outcome.progress
    return {
        "ending": outcome.ending,
        "steps": progress.step,
        "epochs": round(outcome.epochs, 3),
        "seconds": round(progress.seconds, 1),
        "start_miou": progress.start_miou,
        "best_miou": progress.best_miou,
        "best_step": progress.best_step,
        "skipped": progress.skipped,
        "notes": [*split.notes, *progress.notes],
    }


def _facts(
    asked: TrainConfig, filled: TrainConfig, split: Split, learner: Learner, run: dict[str, Any]
) -> dict[str, Any]:
    """What the manifest tells of the training."""
    return {
        "training": run,
        "seed": filled.seed,
        "trained_parameters": count_parameters(learner.parameters),
        "data": {
            "sha256": split.digest,
            "images": split.images,
            "masks": split.masks,
            "groups": split.groups,
            "labels": split.labels,
            "train_images": len(split.train),
            "val_images": len(split.val),
        },
        "asked": flat_settings(asked),
    }
