"""What a run did: the results of the flows."""

from typing import Any

from pydantic import BaseModel

from storage.gate_decisions import GateDecision
from storage.maintenance import TableMaintenance
from tasks.apply_rules import RulesSummary
from tasks.crossings import Crossing
from tasks.curation import CurationSummary
from tasks.device_use import DeviceUse
from tasks.evaluate_model import EvaluationSummary
from tasks.ingest_drops import DropSummary
from tasks.label_stats import StatsSummary
from tasks.promote_model import PromotionOutcome
from tasks.quarantine import QuarantineLimitError
from tasks.run_history import RunHistory
from tasks.train_model import TrainingSummary


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

    @property
    def bad_drops(self) -> list[DropSummary]:
        """Drops of which more than `quarantine_max_fraction` is bad."""
        return [drop for drop in self.drops if drop.bad_fraction > self.quarantine_max_fraction]

    def raise_for_bad_drops(self) -> None:
        """Fail the run where a drop could not be taken in, or too much of it is bad.

        Raises:
            DropsFailedError: If a drop could not be read.
            QuarantineLimitError: If more than `quarantine_max_fraction` of a drop is bad.
        """
        if self.failed:
            raise DropsFailedError(self.failed)
        if bad := self.bad_drops:
            worst = max(drop.bad_fraction for drop in bad)
            sources = [drop.source for drop in bad]
            raise QuarantineLimitError(sources, worst, self.quarantine_max_fraction)


class QueueProblemError(RuntimeError):
    """The queue of notifications could not be used; the inbox was looked at all the same."""


class WatchSummary(BaseModel):
    """What `watch` found.

    Attributes:
        dataset: The dataset.
        drops: Prefixes of the complete drops that are not ingested.
        messages: Notifications that were received.
        refused: Things in them that say nothing about the inbox.
        returning: Messages that the queue did not delete, so that they come again.
        queue_problem: Why the queue could not be used.
        unreadable: Why drops may not be looked into, a sentence each.
    """

    dataset: str
    drops: list[str]
    messages: int = 0
    refused: int = 0
    returning: int = 0
    queue_problem: str | None = None
    unreadable: list[str] = []

    def raise_for_queue(self) -> None:
        """Fail the run where the queue could not be used.

        Raises:
            QueueProblemError: If so.
        """
        if self.queue_problem:
            raise QueueProblemError(
                f"{self.queue_problem}. The inbox was looked at all the same: drops are found "
                "by every sweep, only later"
            )


class TablesDamagedError(RuntimeError):
    """Tables hold damaged files and were left alone; the others were maintained.

    Attributes:
        damaged: What is wrong, a sentence a table.
    """

    def __init__(self, damaged: list[str]) -> None:
        self.damaged = damaged
        super().__init__("not maintained: " + "; ".join(damaged))


class MaintainSummary(BaseModel):
    """What `maintain` did, or in a dry run what it would do.

    Attributes:
        tables: Each table that was ever written.
        damaged: What is wrong with tables that were left alone.
        retention_hours: How long files stay that the newest tables do not need, h.
        dry_run: Whether nothing was changed.
        runs: Prefect's records of old runs that were deleted; None without a Prefect server.
    """

    tables: list[TableMaintenance]
    damaged: list[str]
    retention_hours: int
    dry_run: bool
    runs: RunHistory | None = None

    def raise_for_damage(self) -> None:
        """Fail the run where a table holds a damaged file.

        Raises:
            TablesDamagedError: If one does.
        """
        if self.damaged:
            raise TablesDamagedError(self.damaged)


class NotSegmentedError(RuntimeError):
    """The run that was to segment for a night did not; the rest of the night was done."""


class SegmentSummary(BaseModel):
    """What `segment` did, and with which models.

    Where a run of another deployment did it this is read from the tables, which do not have all:
    `points_per_batch` and `images_per_batch` are 0 then, `device.seconds` has only what finished
    batches took, and `device.budget_seconds` is None where the other machine's settings decide.

    Attributes:
        points_per_batch: Points that were decoded at once, at the least: where memory was short,
            fewer than the settings say; 0 where nothing was done.
        images_per_batch: Images that were encoded at once, likewise.
        device: What the models took of their device, what it cost, and what was left.
        child_run_id: The run of another deployment that did it, if one was asked.
        problem: Why that run did not do its work, and what to do; None if it did.
    """

    dataset: str
    model_id: str
    params_id: str
    label_set_id: str
    batches: int
    images: int
    segments: int
    quarantined: int
    points_per_batch: int
    images_per_batch: int
    device: DeviceUse
    child_run_id: str | None = None
    problem: str | None = None


class CurateSummary(BaseModel):
    """What `curate` did.

    Attributes:
        dataset: The dataset.
        rules: What rules decided; None without any.
        curation: Whether training has become worthwhile.
        crossing: The occasion to train that was said, if there was one.
    """

    dataset: str
    rules: RulesSummary | None
    curation: CurationSummary
    crossing: Crossing | None = None


class FinetuneSummary(BaseModel):
    """What `finetune` did.

    Attributes:
        dataset: The dataset.
        crossing_id: The occasion that it was for, if there was one.
        taken_by_another: Whether another run trains for this occasion, so that this one did not.
        training: What came of the training.
        candidate: Measurement of its model.
        live: Measurement of the model that was live.
        outcome: What the gate found, and what became live.
    """

    dataset: str
    crossing_id: str | None
    taken_by_another: bool = False
    training: TrainingSummary | None = None
    candidate: EvaluationSummary | None = None
    live: EvaluationSummary | None = None
    outcome: PromotionOutcome | None = None


class NightlySummary(BaseModel):
    """What `nightly` did.

    Attributes:
        ingest: New drops.
        segment: New segments.
        stats: Statistics.
        rules: What rules accepted; None without any.
        curation: Whether training has become worthwhile.
        report_uri: The page about it, if one was asked for.
        seconds: How long each stage took.
    """

    ingest: IngestSummary
    segment: SegmentSummary
    stats: StatsSummary
    rules: RulesSummary | None
    curation: CurationSummary
    report_uri: str | None
    seconds: dict[str, float]

    def raise_for_problems(self) -> None:
        """Fail the run where not all was done that should have been.

        Raises:
            NotSegmentedError: If the run that was to segment did not; it tells bad drops, too.
            DropsFailedError: As `IngestSummary.raise_for_bad_drops`.
            QuarantineLimitError: Likewise.
        """
        problem = self.segment.problem
        try:
            self.ingest.raise_for_bad_drops()
        except (DropsFailedError, QuarantineLimitError) as error:
            if problem:
                raise NotSegmentedError(f"{problem}. Besides, {error}") from error
            raise
        if problem:
            raise NotSegmentedError(problem)


def rule_rows(decision: GateDecision) -> list[dict[str, Any]]:
    """What each rule of the gate found, as rows of a table."""
    return [
        {"metric": rule.metric, "passed": rule.passed, "found": rule.words}
        for rule in decision.rules
    ]


def evaluation_rows(summary: EvaluationSummary) -> list[dict[str, Any]]:
    """A table of a measurement's numbers: prompts first, and the best of three masks beside them.

    Returns:
        Rows with `metric`, `value` and `oracle`, which only clicks have.
    """
    numbers = summary.metrics
    names = sorted(name for name in numbers if not name.endswith(".oracle"))
    names.sort(key=lambda name: not name.startswith("miou"))
    return [
        {"metric": name, "value": numbers[name], "oracle": numbers.get(f"{name}.oracle")}
        for name in names
    ]
