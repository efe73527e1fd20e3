"""segment: pending images become labelled segments, a batch at a time."""

from prefect import flow

from flows.batches import add_batches, batch_rows, device_use
from flows.engines import task_runner
from flows.events import SEGMENTS_STORED, emit
from flows.requests import SegmentRequest
from flows.running import OnPrefect, Runner, worker_settings
from flows.summaries import SegmentSummary
from storage.settings import Settings
from tasks.device_budget import measured_speed, plan_night
from tasks.models import Compute, ModelChoice, choose_models, require_ids
from tasks.pending_images import list_pending_images
from tasks.segment_batch import segment_batch


def run_segment(
    dataset: str,
    choice: ModelChoice,
    settings: Settings,
    run: Runner,
    *,
    max_batches: int | None = None,
    budget_seconds: float | None = None,
) -> SegmentSummary:
    """Segment and label what these models have not finished, as far as a budget lasts.

    Args:
        dataset: The dataset.
        choice: The models.
        settings: Of the machine.
        run: What runs the steps.
        max_batches: Stop after so many.
        budget_seconds: How long the models may hold their device, s; None without a limit.
    """
    compute = Compute.of(settings)
    with run.stage("segment"):
        batches = run.call(
            list_pending_images,
            settings.root,
            dataset,
            choice,
            settings.batch_images,
            max_batches,
        )
        speed = None
        if budget_seconds is not None:
            # What a cluster computes with is not known here.
            device = compute.device_name() if settings.engine == "threads" else None
            speed = run.call(measured_speed, settings.root, choice, device)
        plan = plan_night(batches, budget_seconds, speed)
        done = run.each(
            segment_batch,
            plan.tonight,
            None if budget_seconds is None else plan.may_begin,
            root=settings.root,
            choice=choice,
            run_id=run.run_id,
            compute=compute,
            max_image_px=settings.max_image_px,
            on_image=run.counter(sum(len(batch) for batch in plan.tonight)),
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
        device=device_use(plan, done, settings),
    )


@flow(name="segment", task_runner=task_runner(), flow_run_name="segment-{request.dataset}")
def segment(request: SegmentRequest) -> SegmentSummary:
    """Cut and name what is on all pending images of a dataset."""
    settings, run = worker_settings(), OnPrefect()
    choice = run.call(choose_models, **request.models(settings))
    if request.expected is not None:
        require_ids(choice, **request.expected.model_dump())
    summary = run_segment(
        request.dataset,
        choice,
        settings,
        run,
        max_batches=request.max_batches,
        budget_seconds=request.budget_seconds(settings),
    )
    if summary.segments:
        emit(SEGMENTS_STORED, request.dataset, count=summary.segments)
    return summary
