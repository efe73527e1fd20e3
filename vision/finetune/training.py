"""The loop: steps, validation, checkpoints, and where it ends."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from accelerate import Accelerator
from accelerate.utils import gather_object

from vision.finetune.average import assign
from vision.finetune.batches import Batch, Course, Skipped, StepBatches, StepImages, load
from vision.finetune.checkpoints import CheckpointStore, Progress
from vision.finetune.config import TrainConfig
from vision.finetune.exam import Exam, is_gain
from vision.finetune.hardware import known
from vision.finetune.learner import Learner
from vision.finetune.losses import Losses
from vision.finetune.run_folder import CHECKPOINTS, PICTURES
from vision.finetune.split import Split
from vision.finetune.trackers import PictureLog
from vision.finetune.training_images import TrainingImage

Ending = Literal["all steps", "no more gain", "time is up", "asked to stop"]

_log = logging.getLogger(__name__)


class StepReport(NamedTuple):
    """What is told after each step.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        loss: Of this step.
        miou: Of the last validation, 0 to 1; None before the first one.
        images_per_second: Over all devices, since this attempt began.
        learning_rate: Of the decoder.
        seconds: Time spent, over all attempts.
    """

    step: int
    steps: int
    loss: float
    miou: float | None
    images_per_second: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """How the loop ended.

    Attributes:
        progress: How far it came.
        steps: Steps that were planned.
        epochs: Times every image was seen.
        ending: Why it ended.
    """

    progress: Progress
    steps: int
    epochs: float
    ending: Ending


class Training:
    """A run, from where its last checkpoint left it."""

    def __init__(
        self,
        learner: Learner,
        config: TrainConfig,
        images: Sequence[TrainingImage],
        split: Split,
        folder: Path,
        accelerator: Accelerator,
        on_step: Callable[[StepReport], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Take all that a run needs.

        Args:
            learner: The model.
            config: Without `auto`.
            images: All images.
            split: Which of them do what.
            folder: Of the run.
            accelerator: accelerate's.
            on_step: Called after each step.
            should_stop: Asked before each step.
        """
        self._learner = learner
        self._config = config
        self._accelerator = accelerator
        self._on_step = on_step
        self._should_stop = should_stop
        self._store = CheckpointStore(folder / CHECKPOINTS, config.checkpoints.keep)
        self._pictures = PictureLog(folder / PICTURES, accelerator)
        self._exam = Exam(images, split.val, config, accelerator) if split.val else None
        self._batches = known(config.data.accumulate)
        per_step = known(config.data.batch_images) * self._batches * accelerator.num_processes
        self._course = Course(split, per_step, config.seed)
        self._images = StepImages(images, split, config)
        self._progress = Progress()
        self._saved_step: int | None = None

    @property
    def steps(self) -> int:
        """Steps in all, if nothing ends training sooner."""
        limits = self._config.limits
        by_epochs = None if limits.epochs is None else limits.epochs * self._course.steps_per_epoch
        return min(count for count in (by_epochs, limits.steps) if count is not None)

    def run(self) -> Outcome:
        """Train; afterwards the model has the best weights, or else the average of the last ones.

        Raises:
            NonFiniteLossError: The loss of a step, or its gradient, is infinite or no number.
            OutOfMemoryError: A step does not fit the accelerator.
            NoSpaceError: A checkpoint does not fit the disk.
            TrainingDataError: Many images in a row cannot be used.
            CheckpointError: There are checkpoints, but all are damaged.
        """
        self._restore()
        progress = self._progress
        began = time.monotonic() - progress.seconds
        if progress.step == 0 and self._config.validation.at_start:
            self._validate()
            progress.start_miou = progress.miou
        ending = self._loop(began)
        if ending != "asked to stop":
            self._validate()
        progress.seconds = time.monotonic() - began
        self._save()
        if ending != "asked to stop":
            self._keep_best()
        epochs = progress.step / self._course.steps_per_epoch
        return Outcome(progress, self.steps, epochs, ending)

    def _loop(self, began: float) -> Ending:
        with contextlib.closing(self._load()) as batches:
            return self._learn_from(batches, began)

    def _learn_from(self, batches: Iterator[Batch], began: float) -> Ending:
        progress = self._progress
        first, first_second = progress.step, time.monotonic()
        while progress.step < self.steps:
            progress.seconds = time.monotonic() - began
            ending = self._ending()
            if ending is not None:
                return ending
            parts = [next(batches) for _ in range(self._batches)]
            for part in parts:
                self._note(part.skipped)
            losses = self._learner.learn(parts, progress.step, self._done())
            progress.step += 1
            progress.seconds = time.monotonic() - began
            images = (progress.step - first) * self._course.images_per_step
            self._tell(losses, images / (time.monotonic() - first_second))
            if self._is_time_to_validate():
                self._validate()
                self._save()
            elif self._is_time_to_save():
                self._save()
        return "all steps"

    def _restore(self) -> None:
        checkpoint = self._store.last()
        if checkpoint is not None:
            _log.info("going on from step %d", checkpoint.progress.step)
            self._progress = checkpoint.progress
            self._learner.restore(checkpoint)

    def _load(self) -> Generator[Batch, None, None]:
        accelerator, data = self._accelerator, self._config.data
        places = StepBatches(
            self._course,
            range(self._progress.step, self.steps),
            self._batches,
            known(data.batch_images),
            accelerator.process_index,
            accelerator.num_processes,
        )
        return load(self._images, places, known(data.workers), accelerator.device.type == "cuda")

    def _done(self) -> float:
        """How much of the training is done, 0 to 1; by the clock where that is further."""
        done = self._progress.step / self.steps
        minutes = self._config.limits.minutes
        return done if minutes is None else max(done, self._progress.seconds / (minutes * 60))

    def _ending(self) -> Ending | None:
        """Why training ends before the next step, if it does; all processes agree."""
        patience, minutes = self._config.early_stopping.patience_epochs, self._config.limits.minutes
        if patience and self._progress.without_gain >= patience:
            return "no more gain"
        if self._should_stop is not None and self._learner.sum_of(self._should_stop()):
            return "asked to stop"
        if minutes is not None and self._learner.sum_of(self._progress.seconds > minutes * 60):
            return "time is up"
        return None

    def _tell(self, losses: Losses, images_per_second: float) -> None:
        progress = self._progress
        report = StepReport(
            step=progress.step,
            steps=self.steps,
            loss=float(losses.total(self._config.losses)),
            miou=progress.miou,
            images_per_second=images_per_second,
            learning_rate=self._learner.rate,
            seconds=progress.seconds,
        )
        values = {f"loss/{name}": float(value) for name, value in losses._asdict().items()}
        values |= {
            "loss/total": report.loss,
            "learning_rate": report.learning_rate,
            "images_per_second": report.images_per_second,
        }
        self._accelerator.log(values, step=progress.step)
        if self._on_step is not None and self._accelerator.is_main_process:
            self._on_step(report)

    def _is_time_to_validate(self) -> bool:
        epochs, rest = divmod(self._progress.step, self._course.steps_per_epoch)
        return rest == 0 and epochs % self._config.validation.every_epochs == 0

    def _is_time_to_save(self) -> bool:
        every = self._config.checkpoints.every_steps or self._course.steps_per_epoch
        return self._progress.step % every == 0

    def _validate(self) -> None:
        """Validate, unless that was done at this step; keep the weights if they are the best."""
        progress = self._progress
        if self._exam is None or progress.validated_step == progress.step:
            return
        result = self._exam.take(self._learner)
        self._note(result.skipped)
        progress.miou, progress.validated_step = result.miou, progress.step
        least = self._config.early_stopping.min_gain
        gained = is_gain(result.miou, progress.best_miou, least)
        progress.without_gain = 0 if gained else progress.without_gain + 1
        if is_gain(result.miou, progress.best_miou):
            progress.best_miou, progress.best_step = result.miou, progress.step
            if self._accelerator.is_main_process:
                self._store.save_best(progress.step, result.miou, self._learner.average.tensors)
        values = {"validation/miou": result.miou, "validation/loss": result.loss}
        self._accelerator.log(values, step=progress.step)
        if self._accelerator.is_main_process:
            self._pictures.add(progress.step, result.pictures)

    def _save(self) -> None:
        """Keep a checkpoint, unless there is one of this step."""
        if self._saved_step == self._progress.step:
            return
        self._gather_skipped()
        if self._accelerator.is_main_process:
            learner = self._learner
            self._store.save(
                self._progress, learner.parameters, learner.average.tensors, learner.optimizer_state
            )
        self._saved_step = self._progress.step
        self._accelerator.wait_for_everyone()

    def _keep_best(self) -> None:
        """Give the model the weights to keep."""
        step = self._progress.best_step
        best = self._learner.average.tensors if step is None else self._store.best(step)
        assign(self._learner.parameters, best)

    def _note(self, skipped: Iterable[Skipped]) -> None:
        for image_id, reason in skipped:
            if image_id not in self._progress.skipped:
                _log.warning("left out: %s: %s", image_id, reason)
                self._progress.skipped[image_id] = reason

    def _gather_skipped(self) -> None:
        if self._accelerator.num_processes > 1:
            for image_id, reason in gather_object(list(self._progress.skipped.items())):
                self._progress.skipped.setdefault(image_id, reason)
