"""ingest: drops become images, annotations, mask PNGs, and quarantine rows."""

from prefect import flow

from flows.events import IMAGES_INGESTED, QUARANTINE_ALARM, emit
from flows.requests import IngestRequest
from flows.running import OnPrefect, Runner, worker_settings
from flows.summaries import DropFailure, IngestSummary
from storage.errors import ObjectNotFoundError, ObjectUnreadableError
from storage.settings import Settings
from tasks.drop_images import DropChangedError
from tasks.drops import DropPlace, find_drops, place_of, seal_drop
from tasks.ingest_drop import DropSummary, ingest_drop


def run_ingest(request: IngestRequest, settings: Settings, run: Runner) -> IngestSummary:
    """Seal and ingest the drop of the request, or every complete drop in the inbox."""
    with run.stage("ingest"):
        if request.source:
            places: list[DropPlace] = [place_of(request.source, request.dataset)]
        else:
            places = run.call(
                find_drops, settings.root, request.dataset, settings.drop_quiet_seconds
            )
        drops, failed = [], []
        for place in places:
            try:
                drops.append(_ingest_one(place, settings, run))
            except (ObjectUnreadableError, ObjectNotFoundError, DropChangedError) as error:
                # The other drops must not wait for this one to be mended, or to be written.
                failed.append(DropFailure(source=place.source, reason=str(error)))
    return IngestSummary(
        dataset=request.dataset,
        drops=drops,
        failed=failed,
        quarantine_max_fraction=settings.quarantine_max_fraction,
    )


def _ingest_one(place: DropPlace, settings: Settings, run: Runner) -> DropSummary:
    return run.call(
        ingest_drop,
        settings.root,
        run.call(seal_drop, settings.root, place, run.progress),
        run_id=run.run_id,
        max_image_px=settings.max_image_px,
        max_image_bytes=settings.max_image_bytes,
        max_json_bytes=settings.max_json_bytes,
        progress=run.progress,
    )


def sound_alarm(summary: IngestSummary) -> None:
    """Say `quarantine.alarm` for each drop of which too much is bad."""
    for drop in summary.bad_drops:
        emit(
            QUARANTINE_ALARM,
            summary.dataset,
            source=drop.source,
            percent=round(100 * drop.bad_fraction),
            quarantined=drop.quarantined,
        )


@flow(name="ingest", flow_run_name="ingest-{request.dataset}")
def ingest(request: IngestRequest) -> IngestSummary:
    """Take in a drop, or all complete drops of the inbox."""
    summary = run_ingest(request, worker_settings(), OnPrefect())
    if summary.images:
        emit(IMAGES_INGESTED, request.dataset, count=summary.images)
    sound_alarm(summary)
    summary.raise_for_bad_drops()
    return summary
