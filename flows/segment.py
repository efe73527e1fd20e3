"""segment: pending images become labelled segments, a batch at a time."""

from prefect import flow

from flows.engines import task_runner
from flows.events import SEGMENTS_STORED, emit
from flows.requests import SegmentRequest
from flows.running import OnPrefect, Runner, worker_settings
from flows.summaries import SegmentSummary, add_batches, batch_rows
from storage.settings import Settings
from tasks.models import Compute, ModelChoice, choose_models
from tasks.pending_images import list_pending_images
from tasks.segment_batch import segment_batch


def run_segment(
    dataset: str,
    choice: ModelChoice,
    settings: Settings,
    run: Runner,
    max_batches: int | None = None,
) -> SegmentSummary:
    """Segment and label what these models have not finished."""
    with run.stage("segment"):
        batches = run.call(
            list_pending_images,
            settings.root,
            dataset,
            choice,
            settings.batch_images,
            max_batches,
        )
        done = run.each(
            segment_batch,
            batches,
            root=settings.root,
            choice=choice,
            run_id=run.run_id,
            compute=Compute.of(settings),
            max_image_px=settings.max_image_px,
            on_image=run.counter(sum(len(batch) for batch in batches)),
        )
    if done:
        run.show_table("segment-batches", batch_rows(done), "What each batch gave.")
    return SegmentSummary(
        dataset=dataset,
        model_id=choice.model_id,
        params_id=choice.params_id,
        label_set_id=choice.label_set_id,
        batches=len(done),
        **add_batches(done),
    )


@flow(name="segment", task_runner=task_runner(), flow_run_name="segment-{request.dataset}")
def segment(request: SegmentRequest) -> SegmentSummary:
    """Cut and name what is on all pending images of a dataset."""
    settings, run = worker_settings(), OnPrefect()
    choice = run.call(choose_models, **request.models(settings))
    summary = run_segment(request.dataset, choice, settings, run, request.max_batches)
    if summary.segments:
        emit(SEGMENTS_STORED, request.dataset, count=summary.segments)
    return summary
