"""How a dataset stands: the last run, what waits, the live model, curation, quarantine."""

from dataclasses import dataclass
from datetime import datetime

from storage.lake import Lake
from storage.queries import named_query
from storage.session import connect
from storage.settings import Settings
from tasks.curation import CurationSummary, count_curated
from tasks.device_budget import NightPlan, measured_speed, plan_night
from tasks.device_use import cost_of
from tasks.drop_units import Limits
from tasks.drops import survey_inbox
from tasks.live_model import LiveModel, live_model
from tasks.models import ModelChoice
from tasks.pending_images import PendingImage, list_pending_images

_TOTALS = """
SELECT
    (SELECT count(DISTINCT image_id) FROM images WHERE dataset = $dataset),
    (SELECT count(*) FROM segments
     WHERE image_id IN (SELECT image_id FROM images WHERE dataset = $dataset))
"""
_QUARANTINE = """
SELECT rule, count(*) AS n FROM quarantine
WHERE dataset = $dataset AND quarantine.at >= now() - to_days($days)
GROUP BY rule ORDER BY n DESC, rule
"""


@dataclass(frozen=True)
class LastRun:
    """What the newest run of a stage did.

    Attributes:
        run_id: Its id; of a night, the same for all stages.
        stage: Such as `ingest` or `segment`.
        units: How many units of work it finished.
        inputs: What they took in: files, or images.
        outputs: Rows they wrote.
        first_at: When the first of them was finished, UTC.
        last_at: When the last of them was finished, UTC.
        device_seconds: How long models held their device, s; None where it was not measured.
        devices: What they computed on.
    """

    run_id: str
    stage: str
    units: int
    inputs: int
    outputs: int
    first_at: datetime
    last_at: datetime
    device_seconds: float | None
    devices: list[str]


@dataclass(frozen=True)
class Overview:
    """How a dataset stands.

    Attributes:
        dataset: The dataset.
        images: Images in it.
        segments: Segments on them, of all models.
        last_runs: The newest run of each stage, in the order of their first units.
        drops_waiting: Complete drops in the inbox that are not taken in.
        drops_uploading: Drops that somebody may still be writing.
        drops_unreadable: Drops that may not be looked into.
        images_pending: Images that the models of the settings have not finished.
        model_id: The segmenter of the settings.
        label_set_id: The label set of the settings, with its labeller.
        live: The live model of the root, with the promotion that made it so.
        images_deferred: How many of them the next run would leave for a later one.
        deferred_because: Why; empty where none is left.
        cost: What the newest run's device seconds cost; None where no price is set.
        currency: What the cost is in.
        curation: How many new curated masks there are, and how many it takes.
        quarantine_days: How many days the next field looks back.
        quarantine: What was refused in that time, by rule.
    """

    dataset: str
    images: int
    segments: int
    last_runs: list[LastRun]
    drops_waiting: list[str]
    drops_uploading: list[str]
    drops_unreadable: list[str]
    images_pending: int
    images_deferred: int
    deferred_because: str
    cost: float | None
    currency: str
    model_id: str
    label_set_id: str
    live: LiveModel
    curation: CurationSummary
    quarantine_days: int
    quarantine: dict[str, int]


def overview(settings: Settings, dataset: str, choice: ModelChoice, days: int) -> Overview:
    """Read how a dataset stands; nothing is written.

    Args:
        settings: Of the machine.
        dataset: The dataset.
        choice: The models of the settings.
        days: How far back to look into the quarantine.
    """
    scope = {"dataset": dataset}
    with connect(Lake.open(settings.root)) as session:
        totals = session.execute(_TOTALS, scope).fetchone() or (0, 0)
        stages = session.execute(named_query("last_night"), scope).fetchall()
        refused = session.execute(_QUARANTINE, scope | {"days": days}).fetchall()
    inbox = survey_inbox(settings.root, dataset, settings.drop_quiet_seconds, Limits.of(settings))
    pending = list_pending_images.fn(settings.root, dataset, choice, settings.batch_images)
    plan = _next_night(settings, choice, pending)
    last_runs = [LastRun(*row) for row in stages]
    seconds = sum(run.device_seconds or 0 for run in last_runs)
    return Overview(
        dataset=dataset,
        images=totals[0],
        segments=totals[1],
        last_runs=last_runs,
        drops_waiting=[drop.place.name for drop in inbox.complete],
        drops_uploading=[place.name for place in inbox.uploading],
        drops_unreadable=[drop.place.name for drop in inbox.unreadable],
        images_pending=sum(map(len, pending)),
        images_deferred=plan.images_left(len(plan.tonight)),
        deferred_because=plan.why_left(len(plan.tonight)),
        cost=cost_of(seconds, settings.gpu_cost_per_hour),
        currency=settings.currency,
        model_id=choice.model_id,
        label_set_id=choice.label_set_id,
        live=live_model(settings.root),
        curation=count_curated.fn(
            settings.root, dataset, settings.curated_min_new, settings.curated_min_per_label
        ),
        quarantine_days=days,
        quarantine=dict(refused),
    )


def _next_night(
    settings: Settings, choice: ModelChoice, pending: list[list[PendingImage]]
) -> NightPlan:
    """What the next run does, on whatever the newest was done: this may be another machine."""
    speed = None
    if settings.gpu_seconds_budget is not None:
        speed = measured_speed.fn(settings.root, choice, None)
    return plan_night(pending, settings.gpu_seconds_budget, speed)
