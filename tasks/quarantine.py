"""What is wrong with an input, as rows of the `quarantine` table."""

from datetime import UTC, datetime
from typing import Any

from vision.coco import Finding


class QuarantineLimitError(RuntimeError):
    """More of a drop is bad than `quarantine_max_fraction` allows; what was good is stored.

    Attributes:
        sources: The drops concerned.
        fraction: The largest share of bad images or annotations among them.
        limit: The share allowed.
    """

    def __init__(self, sources: list[str], fraction: float, limit: float) -> None:
        self.sources = sources
        self.fraction = fraction
        self.limit = limit
        names = ", ".join(sources)
        super().__init__(
            f"{fraction:.0%} of {names} is in quarantine, more than the {limit:.0%} allowed "
            "(SEGMILL_QUARANTINE_MAX_FRACTION); what was good is stored"
        )


def quarantine_row(dataset: str, drop_id: str, finding: Finding, stage: str) -> dict[str, Any]:
    """One row of `quarantine`, without its unit.

    Args:
        dataset: The dataset of the drop.
        drop_id: The sealed drop the input came with.
        finding: What is wrong, and where in the drop.
        stage: The stage that found it.
    """
    return {
        "dataset": dataset,
        "drop_id": drop_id,
        "file": finding.file,
        "pointer": finding.pointer,
        "rule": finding.rule,
        "value": finding.value,
        "expected": finding.expected,
        "stage": stage,
        "at": datetime.now(UTC),
    }
