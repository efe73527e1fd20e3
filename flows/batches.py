"""What the batches of a run did together."""

from dataclasses import asdict
from typing import Any, TypedDict

from storage.settings import Settings
from tasks.device_budget import NightPlan
from tasks.device_use import DeviceUse, cost_of
from tasks.segment_batch import BatchSummary

_MOST_ROWS = 200


class BatchTotals(TypedDict):
    """Some fields of `flows.summaries.SegmentSummary`."""

    images: int
    segments: int
    quarantined: int
    points_per_batch: int
    images_per_batch: int


def add_batches(batches: list[BatchSummary]) -> BatchTotals:
    """What batches did together."""
    worked = [batch for batch in batches if batch.points_per_batch]
    return {
        "images": sum(batch.images for batch in batches),
        "segments": sum(batch.segments for batch in batches),
        "quarantined": sum(batch.quarantined for batch in batches),
        "points_per_batch": min((batch.points_per_batch for batch in worked), default=0),
        "images_per_batch": min((batch.images_per_batch for batch in worked), default=0),
    }


def device_use(plan: NightPlan, done: list[BatchSummary], settings: Settings) -> DeviceUse:
    """What batches took of their devices, and what their plan left."""
    seconds: dict[str, float] = {}
    for batch in done:
        if batch.device:
            seconds[batch.device] = seconds.get(batch.device, 0.0) + batch.device_seconds
    return DeviceUse(
        seconds={name: round(value, 3) for name, value in sorted(seconds.items())},
        images_deferred=plan.images_left(len(done)),
        deferred_because=plan.why_left(len(done)),
        budget_seconds=plan.budget_seconds,
        cost=cost_of(sum(seconds.values()), settings.gpu_cost_per_hour),
        currency=settings.currency,
    )


def batch_rows(batches: list[BatchSummary]) -> list[dict[str, Any]]:
    """A table of batches, the slowest first, for the run's page."""
    slowest = sorted(batches, key=lambda batch: -batch.seconds)[:_MOST_ROWS]
    return [
        asdict(batch)
        | {"seconds": round(batch.seconds, 2), "device_seconds": round(batch.device_seconds, 2)}
        for batch in slowest
    ]
