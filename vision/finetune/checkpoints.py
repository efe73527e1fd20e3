"""Checkpoints of a run: the last ones to go on from, and the best weights so far."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from vision.finetune.errors import CheckpointError
from vision.finetune.tensor_files import (
    PARTIAL,
    DamagedFolderError,
    read_facts,
    read_folder,
    write_folder,
)

Tensors = Mapping[str, torch.Tensor]

_LAST, _BEST = "step-", "best-"
_WEIGHTS, _AVERAGE, _FIRST, _SECOND = "weights", "average", "first_moments", "second_moments"

_log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a run is; all that decides how it goes on, beside the tensors.

    Attributes:
        step: Steps done.
        seconds: Time spent, over all attempts.
        miou: That of the last validation, 0 to 1.
        validated_step: When that was.
        best_step: The step whose weights did best in validation; None before the first one.
        best_miou: Their mIoU.
        start_miou: That of the weights that training began with.
        without_gain: Validations since there was a gain.
        skipped: Why an image was left out, by its id.
        notes: What the user should know.
    """

    step: int = 0
    seconds: float = 0.0
    miou: float | None = None
    validated_step: int | None = None
    best_step: int | None = None
    best_miou: float | None = None
    start_miou: float | None = None
    without_gain: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """A run as it was after a step.

    Attributes:
        progress: How far it was.
        weights: Of the parameters that learn, by name.
        average: Their moving average.
        optimizer: State of AdamW: the tensors of each parameter, by name.
    """

    progress: Progress
    weights: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]
    optimizer: dict[str, dict[str, torch.Tensor]]


class CheckpointStore:
    """The checkpoints in a folder."""

    def __init__(self, folder: Path, keep: int) -> None:
        """Name the folder.

        Args:
            folder: It is made when something is saved.
            keep: How many of the last checkpoints are kept.
        """
        self._folder = folder
        self._keep = keep

    def save(
        self, progress: Progress, weights: Tensors, average: Tensors,
        optimizer: Mapping[str, Tensors],
    ) -> None:  # fmt: skip
        """Keep a run as it is; older checkpoints, and weights that were best before, are removed.

        Raises:
            NoSpaceError: The disk is full; older checkpoints are intact.
        """
        # AdamW counts its steps in a tensor of one number for each parameter.
        counts = {name: float(state["step"]) for name, state in optimizer.items()}
        tensors = {
            _WEIGHTS: weights,
            _AVERAGE: average,
            _FIRST: {name: state["exp_avg"] for name, state in optimizer.items()},
            _SECOND: {name: state["exp_avg_sq"] for name, state in optimizer.items()},
        }
        facts = {"progress": asdict(progress), "optimizer_steps": counts}
        write_folder(self._name(_LAST, progress.step), tensors, facts)
        for folder in self._found(_LAST)[: -self._keep]:
            shutil.rmtree(folder)
        # A checkpoint before this one may still speak of another best.
        spoken_of = {_best_step(folder) for folder in self._found(_LAST)}
        for folder in self._found(_BEST):
            if int(folder.name.removeprefix(_BEST)) not in spoken_of:
                shutil.rmtree(folder)
        for folder in self._folder.glob(f"*{PARTIAL}"):
            shutil.rmtree(folder, ignore_errors=True)

    def last(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None if there are none at all.

        Damaged ones are named in the notes of its progress.

        Raises:
            CheckpointError: There are checkpoints, but all are damaged.
        """
        damaged: list[str] = []
        for folder in reversed(self._found(_LAST)):
            try:
                checkpoint = _read(folder)
            except DamagedFolderError as error:
                damaged.append(f"checkpoint {folder.name} is damaged ({error})")
                _log.warning("%s; the one before it is used", damaged[-1])
                continue
            checkpoint.progress.notes += [f"{told}; the one before it was used" for told in damaged]
            return checkpoint
        if damaged:
            raise CheckpointError(
                f"no checkpoint in {self._folder} can be used: {'; '.join(damaged)}. "
                "Remove them to start afresh"
            )
        return None

    def save_best(self, step: int, miou: float, average: Tensors) -> None:
        """Keep the weights that did best so far.

        Raises:
            NoSpaceError: The disk is full.
        """
        write_folder(self._name(_BEST, step), {_AVERAGE: average}, {"step": step, "miou": miou})

    def best(self, step: int) -> dict[str, torch.Tensor]:
        """The weights that did best, at that step.

        Raises:
            CheckpointError: They are damaged or gone.
        """
        folder = self._name(_BEST, step)
        try:
            tensors, _ = read_folder(folder)
        except DamagedFolderError as error:
            raise CheckpointError(f"{folder} is damaged ({error})") from None
        return tensors[_AVERAGE]

    def clear(self) -> None:
        """Remove all."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _name(self, kind: str, step: int) -> Path:
        return self._folder / f"{kind}{step:09d}"

    def _found(self, kind: str) -> list[Path]:
        found = self._folder.glob(f"{kind}*")
        return sorted(folder for folder in found if not folder.name.endswith(PARTIAL))


def _read(folder: Path) -> Checkpoint:
    tensors, facts = read_folder(folder)
    try:
        optimizer: dict[str, dict[str, Any]] = {
            name: {
                "step": torch.tensor(count),
                "exp_avg": tensors[_FIRST][name],
                "exp_avg_sq": tensors[_SECOND][name],
            }
            for name, count in facts["optimizer_steps"].items()
        }
        progress = Progress(**facts["progress"])
        return Checkpoint(progress, tensors[_WEIGHTS], tensors[_AVERAGE], optimizer)
    except (KeyError, TypeError) as error:
        raise DamagedFolderError(f"it lacks {error}") from None


def _best_step(folder: Path) -> int | None:
    try:
        step: int | None = read_facts(folder)["progress"]["best_step"]
    except DamagedFolderError:
        return None
    return step
