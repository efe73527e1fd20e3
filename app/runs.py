"""The verbs that run flows: ingest, segment, nightly. None of them needs a server."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.checks import existing_source
from app.dry_runs import plan_drops, plan_images, show_plan
from app.options import (
    ClipModel,
    Dataset,
    DryRun,
    GpuSecondsBudget,
    Json,
    Labels,
    Model,
    Precision,
    Preset,
    Quiet,
    Root,
    plural,
    print_json,
    say,
    settings_for,
)

if TYPE_CHECKING:
    from flows.summaries import IngestSummary, SegmentSummary

OptionalSource = Annotated[
    str | None,
    typer.Argument(
        help="A folder, an image, or s3://bucket/prefix that is one drop.",
        callback=existing_source,
    ),
]


def ingest(
    source: OptionalSource = None,
    dataset: Dataset = "default",
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Take a drop in: images with COCO JSON (annotations.json, or any *.json), or images alone.

    Without SOURCE, every complete drop in the inbox of the root is ingested.
    Bad images and annotations go to the quarantine table with file, JSON
    pointer, rule and value.

    Examples:
      segmill ingest photos/ --dataset street

      segmill ingest s3://bucket/incoming/batch-7

      segmill ingest --dry-run
    """
    from app.terminal import stage_progress
    from flows.ingest import run_ingest
    from flows.requests import IngestRequest
    from flows.running import InProcess

    settings = settings_for(root)
    request = IngestRequest(dataset=dataset, source=source)
    if dry_run:
        with stage_progress(quiet=quiet or as_json) as progress:
            plans = plan_drops(settings, dataset, source, InProcess(progress))
        show_plan(as_json, plans)
        return
    with stage_progress(quiet=quiet or as_json) as progress:
        summary = run_ingest(request, settings, InProcess(progress))
    _report_ingest(summary, as_json, quiet)
    summary.raise_for_bad_drops()


def segment(
    dataset: Dataset = "default",
    model: Model = None,
    clip_model: ClipModel = None,
    labels: Labels = None,
    preset: Preset = None,
    precision: Precision = None,
    max_batches: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many batches.")
    ] = None,
    gpu_seconds_budget: GpuSecondsBudget = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Cut the pending images of a dataset with SAM 2 and name the pieces with CLIP.

    Images that the same model, preset and label set have finished are left alone.

    Examples:
      segmill segment

      segmill segment --model hub:facebook/sam2.1-hiera-tiny --preset sam2 --labels coco80

      segmill segment --gpu-seconds-budget 3600 --dry-run
    """
    from app.terminal import stage_progress
    from flows.requests import SegmentRequest
    from flows.running import InProcess
    from flows.segment import run_segment
    from tasks.models import choose_models

    settings = settings_for(root)
    request = SegmentRequest(
        dataset=dataset, model=model, clip_model=clip_model, labels=labels, preset=preset,
        precision=precision, max_batches=max_batches, gpu_seconds_budget=gpu_seconds_budget,
    )  # fmt: skip
    choice = choose_models.fn(**request.models(settings))
    if dry_run:
        show_plan(as_json, night=plan_images(settings, request, max_batches))
        return
    with stage_progress(quiet=quiet or as_json) as progress:
        summary = run_segment(
            dataset,
            choice,
            settings,
            InProcess(progress),
            max_batches=max_batches,
            budget_seconds=request.budget_seconds(settings),
        )
    _report_segment(summary, as_json, quiet)


def nightly(
    source: OptionalSource = None,
    dataset: Dataset = "default",
    model: Model = None,
    clip_model: ClipModel = None,
    labels: Labels = None,
    preset: Preset = None,
    precision: Precision = None,
    gpu_seconds_budget: GpuSecondsBudget = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> None:
    """Do what every night does: sweep the inbox, ingest, segment, count, write the report.

    Examples:
      segmill nightly

      segmill nightly photos/ --dataset street --labels street
    """
    from app.terminal import print_summary, stage_progress
    from flows.nightly import run_nightly
    from flows.requests import NightlyRequest
    from flows.running import InProcess

    settings = settings_for(root)
    request = NightlyRequest(
        dataset=dataset, source=source, model=model, clip_model=clip_model, labels=labels,
        preset=preset, precision=precision, gpu_seconds_budget=gpu_seconds_budget,
    )  # fmt: skip
    if dry_run:
        with stage_progress(quiet=quiet or as_json) as progress:
            plans = plan_drops(settings, dataset, source, InProcess(progress))
        show_plan(as_json, plans, plan_images(settings, request))
        return
    with stage_progress(quiet=quiet or as_json) as progress:
        summary, data = run_nightly(request, settings, InProcess(progress))
    if as_json:
        print_json(summary.model_dump(mode="json"))
    elif data is not None and not quiet:
        print_summary(data, report_uri=summary.report_uri)
    summary.ingest.raise_for_bad_drops()


def _report_ingest(summary: "IngestSummary", as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json(summary.model_dump(mode="json"))
        return
    for drop in summary.drops:
        if drop.rejected:
            before = " before, under the same limits" if drop.already_ingested else " as a whole"
            say(f"{drop.source}: refused{before}; see the table quarantine", quiet)
        elif drop.already_ingested:
            say(f"{drop.source}: nothing new, it was ingested before", quiet)
        else:
            say(
                f"{drop.source}: {plural(drop.images, 'image')}, "
                f"{plural(drop.annotations, 'annotation')}, {drop.quarantined} in quarantine",
                quiet,
            )
        for note in drop.notes:
            say(f"  note: {note}", quiet)
    for failure in summary.failed:
        say(f"{failure.source}: not taken in: {failure.reason}", quiet)
    if not summary.drops and not summary.failed:
        say(
            "no new drop in ROOT/inbox: a drop is a folder there, complete when it holds a file "
            "_DONE or has not changed for a minute (SEGMILL_DROP_QUIET_SECONDS)",
            quiet,
        )


def _report_segment(summary: "SegmentSummary", as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json(summary.model_dump(mode="json"))
    elif summary.batches:
        say(
            f"{plural(summary.segments, 'segment')} on {plural(summary.images, 'image')}, "
            f"cut by {summary.model_id}, named with {summary.label_set_id}",
            quiet,
        )
        for heading, line in summary.device.told():
            say(f"{heading}: {line}", quiet)
    else:
        say("no image is pending", quiet)
