"""nightly: sweep the inbox, ingest, segment, count, accept, see whether training is worthwhile."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from prefect import flow

from flows.curate import run_curate, say_ready, wanted_rules
from flows.engines import task_runner
from flows.ingest import run_ingest, sound_alarm
from flows.requests import IngestRequest, NightlyRequest
from flows.running import OnPrefect, Runner, worker_settings
from flows.segment import run_segment
from flows.segment_elsewhere import SegmentStage, segment_elsewhere
from flows.stats import run_stats
from flows.summaries import IngestSummary, NightlySummary
from storage.settings import Settings
from tasks.models import choose_models
from tasks.report.data import ReportData
from tasks.write_report import write_report


def run_nightly(
    request: NightlyRequest,
    settings: Settings,
    run: Runner,
    next_commands: Sequence[tuple[str, str]] = (),
    segment_stage: SegmentStage = run_segment,
    after_group: Callable[[IngestSummary], None] | None = None,
) -> tuple[NightlySummary, ReportData | None]:
    """Run all stages with one choice of models; the report's figures come along.

    Args:
        request: What to do; its `segment_deployment` is `nightly`'s affair, which passes the stage.
        settings: Of the machine.
        run: What runs the steps.
        next_commands: What the report says can be done next: commands, and what they do.
        segment_stage: What segments.
        after_group: As `run_ingest`.
    """
    choice = run.call(choose_models, **request.models(settings))
    rules = wanted_rules(request, settings, run)
    drops = IngestRequest(dataset=request.dataset, source=request.source)
    ingested = run_ingest(drops, settings, run, after_group)
    budget_seconds = request.budget_seconds(settings)
    segmented = segment_stage(request.dataset, choice, settings, run, budget_seconds=budget_seconds)
    counted = run_stats(request.dataset, choice, settings, run)
    curated = run_curate(request.dataset, rules, settings, run)
    data, uri = None, None
    if request.report:
        data, uri = run.call(
            write_report,
            settings.root,
            request.dataset,
            choice,
            report_name(request.dataset),
            stages=run.stages,
            device=segmented.device,
            next_commands=next_commands,
            progress=run.progress,
        )
    summary = NightlySummary(
        ingest=ingested,
        segment=segmented,
        stats=counted,
        rules=curated.rules,
        curation=curated.curation,
        report_uri=uri,
        seconds={stage.stage: round(stage.seconds, 3) for stage in run.stages},
    )
    return summary, data


def report_name(dataset: str) -> str:
    """Name of the page of tonight, without its ending."""
    return f"{dataset}-{datetime.now(UTC):%Y-%m-%d}"


@flow(name="nightly", task_runner=task_runner(), flow_run_name="nightly-{request.dataset}")
def nightly(request: NightlyRequest) -> NightlySummary:
    """Everything a night does, from the inbox to the report.

    With `segment_deployment` a run of that deployment segments, on whatever machine does it.
    """
    settings, run = worker_settings(), OnPrefect()
    stage: SegmentStage = run_segment
    if request.segment_deployment:
        stage = partial(
            segment_elsewhere,
            deployment=request.segment_deployment,
            silence_seconds=request.segment_silence_seconds,
            most_seconds=request.segment_most_seconds,
        )
    summary, _ = run_nightly(request, settings, run, segment_stage=stage, after_group=sound_alarm)
    say_ready(request.dataset, settings, run)
    summary.raise_for_problems()
    return summary
