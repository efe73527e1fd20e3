"""Identity of a unit of work: the same inputs and parameters always give the same id."""

import hashlib
import json
from collections.abc import Iterable
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
