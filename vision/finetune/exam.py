"""Validation of a model on all images that are kept for it, by all processes together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from vision.finetune.batches import Skipped
from vision.finetune.config import TrainConfig
from vision.finetune.errors import TrainingDataError
from vision.finetune.learner import Learner
from vision.finetune.pictures import draw_comparison
from vision.finetune.training_images import TrainingImage
from vision.finetune.validation import ValidatedImage, validate_image


class ExamResult(NamedTuple):
    """How well a model did.

    Attributes:
        miou: Mean IoU of all objects, 0 to 1.
        loss: Mean loss of a click.
        masks: How many objects there were.
        pictures: Some images with their masks drawn, RGB.
        skipped: What was left out, in this process.
    """

    miou: float
    loss: float
    masks: int
    pictures: list[NDArray[np.uint8]]
    skipped: list[Skipped]


class Exam:
    """The images to validate on."""

    def __init__(
        self,
        images: Sequence[TrainingImage],
        places: Sequence[int],
        config: TrainConfig,
        accelerator: Accelerator,
    ) -> None:
        """Take the images.

        Args:
            images: All images.
            places: Those to validate on.
            config: Without `auto`.
            accelerator: accelerate's.
        """
        self._images = images
        self._places = list(places)[accelerator.process_index :: accelerator.num_processes]
        self._config = config
        self._accelerator = accelerator

    def take(self, learner: Learner) -> ExamResult:
        """Validate the average of the weights.

        Raises:
            TrainingDataError: None of the images can be used.
        """
        overlap = loss = 0.0
        masks = 0
        pictures: list[NDArray[np.uint8]] = []
        skipped: list[Skipped] = []
        learner.model.eval()
        with learner.average.applied(), self._accelerator.autocast():
            for place in self._places:
                image = self._images[place]
                seen = validate_image(learner.model, image, self._config)
                if not isinstance(seen, ValidatedImage):
                    skipped.append(seen)
                    continue
                skipped += seen.skipped
                overlap += float(seen.ious.sum())
                masks += len(seen.ious)
                loss += seen.loss
                wanted = self._config.validation.pictures
                if self._accelerator.is_main_process and len(pictures) < wanted:
                    pictures.append(draw_comparison(seen))
        learner.model.train()
        total = learner.sum_of(masks)
        if not total:
            told = f"; {skipped[-1].image_id}: {skipped[-1].reason}" if skipped else ""
            raise TrainingDataError(f"no image for validation can be used{told}")
        return ExamResult(
            learner.sum_of(overlap) / total,
            learner.sum_of(loss) / total,
            int(total),
            pictures,
            skipped,
        )


def is_gain(miou: float, best: float | None, least: float = 0.0) -> bool:
    """Whether a result beats the best one so far by at least so much, and more than nothing."""
    return best is None or (miou > best and miou - best >= least)
