"""What a run of `segment` did, read from the tables: it may have been on another machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.queries import named_query
from storage.session import connect
from tasks.models import ModelChoice


@dataclass(frozen=True)
class SegmentedByRun:
    """What a run finished with the models that it was to use.

    Batches that another run had finished before are that one's. Of a batch that was retracted
    meanwhile nothing is left.

    Attributes:
        batches: Units.
        images: Images that were segmented.
        segments: Their segments.
        quarantined: Images that were set aside.
        seconds: How long each device was held, s, by its name; only by attempts that finished.
        other_models: What it used besides, as `model_id, params_id, label_set_id`: nothing, if all
            is well.
    """

    batches: int = 0
    images: int = 0
    segments: int = 0
    quarantined: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    other_models: tuple[str, ...] = ()


@task(name="read-segmented", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5)
def read_segmented(root: str, choice: ModelChoice, run_id: str) -> SegmentedByRun:
    """Add up what a run finished.

    Args:
        root: The data root.
        choice: The models that it was to use.
        run_id: The run.
    """
    with connect(Lake.open(root)) as session:
        rows = session.execute(named_query("segmented_by_run"), {"run_id": run_id}).fetchall()
    wanted = (choice.model_id, choice.params_id, choice.label_set_id)
    mine = [row[3:] for row in rows if row[:3] == wanted]
    return SegmentedByRun(
        batches=sum(row[1] for row in mine),
        images=sum(row[2] for row in mine),
        segments=sum(row[3] for row in mine),
        quarantined=sum(row[4] for row in mine),
        seconds={device: round(seconds, 3) for device, *_, seconds in mine if device},
        other_models=tuple(
            sorted({", ".join(map(str, row[:3])) for row in rows if row[:3] != wanted})
        ),
    )
