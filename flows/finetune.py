"""finetune: train on what is curated, measure, ask the gate, and promote what is better."""

from prefect import flow

from flows.events import emit_promotion
from flows.requests import FinetuneRequest
from flows.running import OnPrefect, Runner, worker_settings
from flows.summaries import FinetuneSummary, rule_rows
from storage.settings import Settings
from tasks.ask_gate import ask_gate, read_gate
from tasks.crossings import take_crossing
from tasks.evaluate_model import evaluate_model
from tasks.frozen_set import held_out_split
from tasks.plan_training import plan_training, read_train_config
from tasks.train_model import train_model

_ATTEMPTS_TO_MEASURE_ALIKE = 3


def run_finetune(request: FinetuneRequest, settings: Settings, run: Runner) -> FinetuneSummary:
    """Train, register, measure both models on the same images, and let the gate decide."""
    # What is wrong with files or data is said before hours of training.
    gate = run.call(read_gate, request.gate or settings.gate)
    config = run.call(
        read_train_config,
        request.config or settings.train_config,
        request.overrides,
        request.model,
    )
    split = run.call(held_out_split, settings.root, request.dataset, request.split)
    summary = FinetuneSummary(dataset=request.dataset, crossing_id=request.crossing_id)
    if request.crossing_id and not run.call(
        take_crossing, settings.root, request.dataset, request.crossing_id, run.run_id
    ):
        summary.taken_by_another = True
        return summary
    with run.stage("train"):
        plan = run.call(
            plan_training, request.dataset, config, settings, crossing_id=request.crossing_id
        )
        with run.watched() as progress:
            summary.training = run.call(train_model, plan, run_id=run.run_id, progress=progress)
    model_id = summary.training.model_id
    if model_id is None:
        return summary
    with run.stage("evaluate"), run.watched() as progress:
        for _ in range(_ATTEMPTS_TO_MEASURE_ALIKE):
            candidate, live = (
                run.call(
                    evaluate_model,
                    settings.root,
                    reference,
                    request.dataset,
                    split=split,
                    max_images=request.max_images,
                    device=settings.device,
                    run_id=run.run_id,
                    progress=progress,
                )
                for reference in (f"model:{model_id}", "promoted")
            )
            # Somebody may have reviewed held-back images in between.
            if candidate.set_id == live.set_id:
                break
    summary.candidate, summary.live = candidate, live
    with run.stage("gate"):
        summary.outcome = run.call(
            ask_gate,
            settings.root,
            gate,
            candidate,
            live,
            run_id=run.run_id,
            dry_run=not request.promote,
        )
    if (decision := summary.outcome.decision) is not None:
        run.show_table("gate", rule_rows(decision), f"The gate says: {decision.verdict}.")
    return summary


@flow(name="finetune", flow_run_name="finetune-{request.dataset}")
def finetune(request: FinetuneRequest) -> FinetuneSummary:
    """Fine-tune the live model on curated masks; the better one is live from the next run on."""
    settings, run = worker_settings(), OnPrefect()
    summary = run_finetune(request, settings, run)
    if summary.outcome is not None and summary.outcome.promotion is not None:
        emit_promotion(summary.outcome.promotion)
    return summary
