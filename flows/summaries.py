"""What a run did: the results of the flows."""

from pydantic import BaseModel

from tasks.curation import CurationSummary
from tasks.ingest_drop import DropSummary
from tasks.label_stats import StatsSummary
from tasks.quarantine import QuarantineLimitError
from tasks.segment_batch import BatchSummary


class DropFailure(BaseModel):
    """A drop that could not be taken in, and why; the next run tries it again."""

    source: str
    reason: str


class DropsFailedError(RuntimeError):
    """Drops could not be taken in; the others were.

    Attributes:
        failed: Each of them.
    """

    def __init__(self, failed: list[DropFailure]) -> None:
        self.failed = failed
        reasons = "; ".join(f"{drop.source}: {drop.reason}" for drop in failed)
        super().__init__(f"not taken in: {reasons}")


class IngestSummary(BaseModel):
    """What `ingest` did.

    Attributes:
        dataset: The dataset.
        drops: Each drop that was looked at.
        failed: Drops that could not be read, or changed while they were.
        quarantine_max_fraction: The share of bad input that is allowed.
    """

    dataset: str
    drops: list[DropSummary]
    failed: list[DropFailure] = []
    quarantine_max_fraction: float

    @property
    def images(self) -> int:
        """Images stored."""
        return sum(drop.images for drop in self.drops)

    def raise_for_bad_drops(self) -> None:
        """Fail the run where a drop could not be taken in, or too much of it is bad.

        Raises:
            DropsFailedError: If a drop could not be read.
            QuarantineLimitError: If more than `quarantine_max_fraction` of a drop is bad.
        """
        if self.failed:
            raise DropsFailedError(self.failed)
        limit = self.quarantine_max_fraction
        bad = [drop for drop in self.drops if drop.bad_fraction > limit]
        if bad:
            worst = max(drop.bad_fraction for drop in bad)
            raise QuarantineLimitError([drop.source for drop in bad], worst, limit)


class SegmentSummary(BaseModel):
    """What `segment` did, and with which models."""

    dataset: str
    model_id: str
    params_id: str
    label_set_id: str
    batches: int
    images: int
    segments: int
    quarantined: int


class NightlySummary(BaseModel):
    """What `nightly` did.

    Attributes:
        ingest: New drops.
        segment: New segments.
        stats: Statistics.
        curation: Whether training has become worthwhile.
        report_uri: The page about it, if one was asked for.
        seconds: How long each stage took.
    """

    ingest: IngestSummary
    segment: SegmentSummary
    stats: StatsSummary
    curation: CurationSummary
    report_uri: str | None
    seconds: dict[str, float]


def add_batches(batches: list[BatchSummary]) -> dict[str, int]:
    """The sums of what batches did."""
    return {
        "images": sum(batch.images for batch in batches),
        "segments": sum(batch.segments for batch in batches),
        "quarantined": sum(batch.quarantined for batch in batches),
    }
