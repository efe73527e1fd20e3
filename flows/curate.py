"""curate: accept segments by rules, and see whether training has become worthwhile."""

from uuid import UUID, uuid5

from prefect import flow

from flows.events import CURATION_READY, emit, has_arrived
from flows.requests import CurateRequest, NightlyRequest
from flows.running import OnPrefect, Runner, worker_settings
from flows.summaries import CurateSummary
from storage.settings import Settings
from tasks.apply_rules import apply_rules, read_rules
from tasks.crossings import Crossing, find_crossing, note_said
from tasks.curation import count_curated
from tasks.curation_rules import CurationRules


def wanted_rules(
    request: CurateRequest | NightlyRequest, settings: Settings, run: Runner
) -> CurationRules | None:
    """The rules of the request, else those of the machine's settings; None if there are none."""
    name = request.rules or settings.curation_rules
    return run.call(read_rules, name, request.labels or settings.labels) if name else None


def run_curate(
    dataset: str,
    rules: CurationRules | None,
    settings: Settings,
    run: Runner,
    *,
    dry_run: bool = False,
) -> CurateSummary:
    """Let rules decide, if there are any, and count what is curated."""
    with run.stage("curate"):
        applied = None
        if rules is not None:
            applied = run.call(apply_rules, settings.root, dataset, rules, dry_run=dry_run)
        curation = run.call(
            count_curated,
            settings.root,
            dataset,
            settings.curated_min_new,
            settings.curated_min_per_label,
        )
    return CurateSummary(dataset=dataset, rules=applied, curation=curation)


def say_ready(dataset: str, settings: Settings, run: Runner) -> Crossing | None:
    """Say `curation.ready` if enough new masks have come together, once for the same ones.

    That they have is noted first, and that it was said after the server has the event: if this
    dies in between, the next run says it again, with the same `crossing_id`.
    """
    crossing = run.call(
        find_crossing,
        settings.root,
        dataset,
        settings.curated_min_new,
        settings.curated_min_per_label,
        run.run_id,
    )
    if crossing is None:
        return None
    event_id = UUID(crossing.crossing_id[:32])
    if crossing.attempt:
        event_id = uuid5(event_id, str(crossing.attempt))  # the server takes an id once
    emit(
        CURATION_READY,
        dataset,
        event_id=event_id,
        crossing_id=crossing.crossing_id,
        new=crossing.new,
        needed=crossing.needed,
    )
    if has_arrived(event_id):
        run.call(note_said, settings.root, crossing, run.run_id)
    return crossing


@flow(name="curate", flow_run_name="curate-{request.dataset}")
def curate(request: CurateRequest) -> CurateSummary:
    """Accept segments by rules, and emit `curation.ready` if training has become worthwhile."""
    settings, run = worker_settings(), OnPrefect()
    rules = wanted_rules(request, settings, run)
    summary = run_curate(request.dataset, rules, settings, run)
    summary.crossing = say_ready(request.dataset, settings, run)
    return summary
