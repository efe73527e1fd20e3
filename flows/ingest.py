"""ingest: drops become images, annotations, mask PNGs, and quarantine rows."""

from collections.abc import Callable

from prefect import flow

from flows.events import IMAGES_INGESTED, QUARANTINE_ALARM, emit
from flows.requests import IngestRequest
from flows.running import OnPrefect, Runner, worker_settings
from flows.summaries import DropFailure, IngestSummary
from storage.settings import Settings
from tasks.drop_units import Limits
from tasks.drops import find_drops, list_drop, place_of
from tasks.ingest_drops import DropSummary, group_drops, ingest_drops
from tasks.seal_drops import FailedDrop, seal_drops


def run_ingest(
    request: IngestRequest,
    settings: Settings,
    run: Runner,
    after_group: Callable[[IngestSummary], None] | None = None,
) -> IngestSummary:
    """Seal and ingest the drop of the request, or every complete drop in the inbox.

    Args:
        request: Which.
        settings: Of the machine.
        run: What runs the steps.
        after_group: Told what became of each group of drops once it is committed: no later run
            looks at these again, whatever becomes of this one.
    """

    def summary_of(drops: list[DropSummary], failed: list[FailedDrop]) -> IngestSummary:
        return IngestSummary(
            dataset=request.dataset,
            drops=drops,
            failed=[DropFailure(source=drop.place.source, reason=drop.reason) for drop in failed],
            quarantine_max_fraction=settings.quarantine_max_fraction,
        )

    limits = Limits.of(settings)
    with run.stage("ingest"):
        if request.source:
            found = [list_drop(place_of(request.source, request.dataset))]
        else:
            found = run.call(
                find_drops, settings.root, request.dataset, settings.drop_quiet_seconds, limits
            )
        # All of them first, so that what the run does is settled, and known.
        sealed = run.call(seal_drops, settings.root, found, run.progress)
        drops, failed = [], sealed.failed
        for group in group_drops(sealed.drops):
            taken = run.call(
                ingest_drops,
                settings.root,
                group,
                run_id=run.run_id,
                limits=limits,
                progress=run.progress,
            )
            if after_group is not None:
                after_group(summary_of(taken.drops, taken.failed))
            if taken.stopped_by is not None:
                raise taken.stopped_by
            drops += taken.drops
            failed += taken.failed
    return summary_of(drops, failed)


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
    images = 0

    def tell(group: IngestSummary) -> None:
        nonlocal images
        images += group.images
        sound_alarm(group)

    try:
        summary = run_ingest(request, worker_settings(), OnPrefect(), tell)
    finally:
        # Also where a later drop ended the run.
        if images:
            emit(IMAGES_INGESTED, request.dataset, count=images)
    summary.raise_for_bad_drops()
    return summary
