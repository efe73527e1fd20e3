"""One step of learning: losses of its batches, gradients, AdamW, the average of the weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from vision.finetune.average import Average, Tensors, assign
from vision.finetune.batches import PROMPTS, Batch, random_of
from vision.finetune.checkpoints import Checkpoint
from vision.finetune.config import TrainConfig
from vision.finetune.errors import NonFiniteLossError, OutOfMemoryError
from vision.finetune.lesson import Lesson
from vision.finetune.losses import Losses
from vision.finetune.parameters import choose_parameters, parameter_groups, rate_factor


class Learner:
    """A model that learns.

    Attributes:
        model: sam2's `SAM2Base`.
        parameters: What learns, by name.
        average: Its moving average.
    """

    def __init__(self, model: Any, config: TrainConfig, accelerator: Accelerator) -> None:
        """Choose what learns.

        Args:
            model: sam2's `SAM2Base`, with adapters if there are any; it is changed.
            config: Without `auto`.
            accelerator: accelerate's.
        """
        assert config.model.train != "auto"
        self.model = model
        self._config = config
        self._accelerator = accelerator
        adapters = config.model.lora_rank > 0
        self.parameters = choose_parameters(model, config.model.train, adapters)
        groups = parameter_groups(model, self.parameters, config.optimizer)
        lesson = Lesson(model, config)
        # The average is of what learns, where it learns: accelerate moves it to the device.
        self._lesson, self._optimizer = accelerator.prepare(lesson, torch.optim.AdamW(groups))
        self.average = Average(self.parameters, config.ema.decay)

    @property
    def optimizer_state(self) -> dict[str, Tensors]:
        """AdamW's tensors of each parameter that has got a gradient so far, by name."""
        state = self._adamw.state
        return {name: dict(state[p]) for name, p in self.parameters.items() if p in state}

    @property
    def rate(self) -> float:
        """The decoder's learning rate, now."""
        group = self._adamw.param_groups[0]
        return float(self._config.optimizer.lr * group["lr"] / group["full_lr"])

    @property
    def _adamw(self) -> torch.optim.Optimizer:
        inner: torch.optim.Optimizer = self._optimizer.optimizer
        return inner

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        assign(self.parameters, checkpoint.weights)
        for name, value in checkpoint.average.items():
            self.average.tensors[name].copy_(value)
        for name, tensors in checkpoint.optimizer.items():
            parameter = self.parameters[name]
            # AdamW leaves its count of steps on the CPU.
            self._adamw.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device)
                for key, value in tensors.items()
            }

    def learn(self, batches: Sequence[Batch], step: int, progress: float) -> Losses:
        """Do a step.

        Args:
            batches: Those of this process.
            step: Number of the step, from 0.
            progress: How much of the training is done, 0 to 1.

        Returns:
            The losses, without gradients.

        Raises:
            NonFiniteLossError: The loss, or its gradient, is infinite or no number; the weights
                are as before.
            OutOfMemoryError: The step does not fit the accelerator.
        """
        accelerator, settings = self._accelerator, self._config.optimizer
        factor = rate_factor(progress, step, settings)
        for group in self._adamw.param_groups:
            group["lr"] = group["full_lr"] * factor
        self._lesson.train()
        count = sum(len(batch.masks) for batch in batches)
        # All batches of a step count as one, so that few objects in one of them weigh no more.
        objects = max(1.0, self.sum_of(count) / accelerator.num_processes)
        losses = Losses(*torch.zeros(4))
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self._lesson):
                losses = losses.plus(self._teach(batch, objects, self._seed(step, number)))
        parameters = list(self.parameters.values())
        norm = float(accelerator.clip_grad_norm_(parameters, settings.clip_norm))
        total = float(losses.total(self._config.losses))
        finite = math.isfinite(total) and math.isfinite(norm)
        if self.sum_of(0 if finite else 1):
            self._optimizer.zero_grad()
            ids = [image_id for batch in batches for image_id in batch.image_ids]
            if accelerator.num_processes > 1:
                ids = gather_object(ids)
            raise NonFiniteLossError(step, norm if math.isfinite(total) else total, ids)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.average.update(step)
        return losses

    def sum_of(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self._accelerator.num_processes == 1:
            return float(value)
        tensor = torch.tensor(float(value), device=self._accelerator.device)
        return float(self._accelerator.reduce(tensor, "sum"))

    def _teach(self, batch: Batch, objects: float, seed: int) -> Losses:
        accelerator = self._accelerator
        device = accelerator.device
        try:
            # What modules draw themselves, such as paths to drop, must not depend on the past.
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                torch.manual_seed(seed)
                losses: Losses = self._lesson(
                    batch.images.to(device, non_blocking=True),
                    batch.masks.to(device, non_blocking=True),
                    batch.image_of.to(device, non_blocking=True),
                    objects,
                    seed,
                )
                accelerator.backward(losses.total(self._config.losses))
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(_advice(self._config)) from error
        return Losses(*(value.detach().float().cpu() for value in losses))

    def _seed(self, step: int, number: int) -> int:
        rank = self._accelerator.process_index
        return int(random_of(self._config.seed, PROMPTS, step, number, rank).integers(2**31))


def _advice(config: TrainConfig) -> str:
    data = config.data
    return (
        f"a batch of {data.batch_images} images of {data.image_size} px with up to "
        f"{data.masks_per_image} masks each does not fit the accelerator's memory: lower "
        "data.batch_images (and raise data.accumulate by as much), then data.masks_per_image, "
        "then data.image_size, or train less of the model (model.train, model.lora_rank)"
    )
