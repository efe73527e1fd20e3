"""How a dataset stands: the last run, what waits, the live model, curation, quarantine."""

from dataclasses import dataclass
from datetime import datetime

from storage.lake import Lake
from storage.queries import named_query
from storage.session import connect
from storage.settings import Settings
from tasks.curation import CurationSummary, count_curated
from tasks.drops import survey_inbox
from tasks.live_model import LiveModel, live_model
from tasks.models import ModelChoice
from tasks.pending_images import list_pending_images

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
    """

    run_id: str
    stage: str
    units: int
    inputs: int
    outputs: int
    first_at: datetime
    last_at: datetime


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
        images_pending: Images that the models of the settings have not finished.
        model_id: The segmenter of the settings.
        label_set_id: The label set of the settings, with its labeller.
        live: The live model of the root, with the promotion that made it so.
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
    images_pending: int
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
    inbox = survey_inbox(settings.root, dataset, settings.drop_quiet_seconds)
    pending = list_pending_images.fn(settings.root, dataset, choice, settings.batch_images)
    return Overview(
        dataset=dataset,
        images=totals[0],
        segments=totals[1],
        last_runs=[LastRun(*row) for row in stages],
        drops_waiting=[place.prefix for place in inbox.complete],
        drops_uploading=[place.prefix for place in inbox.uploading],
        images_pending=sum(map(len, pending)),
        model_id=choice.model_id,
        label_set_id=choice.label_set_id,
        live=live_model(settings.root),
        curation=count_curated.fn(settings.root, dataset, settings.curated_min_new),
        quarantine_days=days,
        quarantine=dict(refused),
    )
