"""evaluate: a model's numbers on held-back images, which the gate compares with another's."""

from prefect import flow

from flows.requests import EvaluateRequest
from flows.running import OnPrefect, Runner, worker_settings
from flows.summaries import evaluation_rows
from storage.settings import Settings
from tasks.evaluate_model import EvaluationSummary, evaluate_model
from tasks.frozen_set import held_out_split


def run_evaluate(request: EvaluateRequest, settings: Settings, run: Runner) -> EvaluationSummary:
    """Measure a model, if that was not done before."""
    with run.stage("evaluate"):
        split = request.split or run.call(held_out_split, settings.root, request.dataset)
        with run.watched() as progress:
            summary = run.call(
                evaluate_model,
                settings.root,
                request.model or settings.model,
                request.dataset,
                split=split,
                max_images=request.max_images,
                device=settings.device,
                run_id=run.run_id,
                automatic=request.automatic,
                again=request.again,
                progress=progress,
            )
    about = f"{summary.model_id} on {summary.images} images of {summary.dataset}/{summary.split}."
    run.show_table("evaluation", evaluation_rows(summary), about)
    return summary


@flow(name="evaluate", flow_run_name="evaluate-{request.dataset}")
def evaluate(request: EvaluateRequest) -> EvaluationSummary:
    """Measure a model on the held-back images of a dataset."""
    return run_evaluate(request, worker_settings(), OnPrefect())
