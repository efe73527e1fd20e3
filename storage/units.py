"""Identity of a unit of work: the same inputs and parameters always give the same id."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.schemas import SCHEMA_VERSION


def unit_id(stage: str, inputs: Iterable[str], **parameters: Any) -> str:
    """Hash a unit of work.

    Args:
        stage: The kind of work, such as `ingest` or `segment`.
        inputs: Ids of the inputs (sha256, hex). Their order and repeats do not matter.
        **parameters: Whatever else changes the result, as JSON values: `model_id`, `params_id`...

    Returns:
        64 hex characters.

    Raises:
        ValueError: If a parameter is NaN or infinite, which JSON cannot hold.
        TypeError: If a parameter is no JSON value.
    """
    canonical = json.dumps(
        {
            "stage": stage,
            "inputs": sorted(set(inputs)),
            "parameters": parameters,
            "schema_version": SCHEMA_VERSION,
        },
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class FinishedUnit:
    """What the table `units` says of a unit of work whose rows are all committed.

    Attributes:
        stage: Kind of work: ingest, segment, stats...
        unit_id: The unit.
        subject: What was worked on: a drop, or a batch of images.
        inputs: Number of inputs.
        outputs: Number of rows written.
        run_id: The run that did it.
        image_ids: Images finished by this unit, those without a result as well.
        model_id: Model that was used.
        params_id: Parameters that were used.
        label_set_id: Label set that was used.
        device_seconds: How long models held the device, s.
        device: What they computed on: `cpu`, or the name of the accelerator.
        dataset: Dataset that it was done for.
    """

    stage: str
    unit_id: str
    subject: str
    inputs: int
    outputs: int
    run_id: str | None = None
    image_ids: tuple[str, ...] = ()
    model_id: str | None = None
    params_id: str | None = None
    label_set_id: str | None = None
    device_seconds: float | None = None
    device: str | None = None
    dataset: str | None = None

    def __post_init__(self) -> None:
        if self.stage == "segment" and not self.image_ids:
            raise ValueError("A unit of stage 'segment' must name the images it finished")

    def row(self, committed_at: datetime) -> dict[str, Any]:
        """The row of `units`, without the unit's id, which appending fills in."""
        return {
            "stage": self.stage,
            "subject": self.subject,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "run_id": self.run_id,
            "committed_at": committed_at,
            "image_ids": list(self.image_ids),
            "model_id": self.model_id,
            "params_id": self.params_id,
            "label_set_id": self.label_set_id,
            "device_seconds": self.device_seconds,
            "device": self.device,
            "dataset": self.dataset,
        }
