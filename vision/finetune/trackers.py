"""Where the course of a run is logged, through accelerate, and pictures of it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.finetune.config import TrackersSection
from vision.finetune.errors import MissingExtraError
from vision.finetune.tensor_files import write_file

_EXTRA = "tracking"


def choose_trackers(settings: TrackersSection) -> list[str]:
    """The names, for accelerate, of the trackers that are asked for.

    Raises:
        MissingExtraError: One of them is not installed.
    """
    asked = {
        "tensorboard": settings.use_tensorboard is True,
        "wandb": settings.use_wandb,
        "mlflow": settings.use_mlflow,
    }
    for name, wanted in asked.items():
        if wanted and find_spec(name) is None:
            raise MissingExtraError(name, _EXTRA, f"trackers.use_{name}")
    if settings.use_tensorboard == "auto":
        asked["tensorboard"] = find_spec("tensorboard") is not None
    return [name for name, wanted in asked.items() if wanted]


class PictureLog:
    """Keeps pictures as PNGs and hands them to the trackers that show pictures."""

    def __init__(self, folder: Path, accelerator: Any) -> None:
        """Name the folder.

        Args:
            folder: It is made for the first picture.
            accelerator: accelerate's, with its trackers begun.
        """
        self._folder = folder
        self._accelerator = accelerator

    def add(self, step: int, pictures: list[NDArray[np.uint8]]) -> None:
        """Keep the pictures (RGB, uint8, shape (height, width, 3)) of a step."""
        for number, picture in enumerate(pictures):
            self._folder.mkdir(parents=True, exist_ok=True)
            _, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
            write_file(self._folder / f"step-{step:06d}-{number}.png", data.tobytes())
        for tracker in self._accelerator.trackers:
            if tracker.name not in ("tensorboard", "wandb"):
                continue
            # TensorBoard wants to be told that the colours come last.
            order = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            for number, picture in enumerate(pictures):
                tracker.log_images({f"validation/{number}": picture[None]}, step=step, **order)
