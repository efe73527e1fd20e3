"""The stage `segment` of a night as a run of another deployment, on a machine with a GPU."""

import logging
from typing import Protocol

from flows.child_run import run_child
from flows.requests import ModelIds, SegmentRequest
from flows.running import Runner
from flows.summaries import SegmentSummary
from storage.settings import Settings
from tasks.device_use import DeviceUse, cost_of, seconds_text
from tasks.models import ModelChoice
from tasks.pending_images import list_pending_images
from tasks.segmented_by_run import SegmentedByRun, read_segmented

_log = logging.getLogger(__name__)


class SegmentStage(Protocol):
    """The stage `segment` of a night: in its own process, or elsewhere."""

    def __call__(
        self,
        dataset: str,
        choice: ModelChoice,
        settings: Settings,
        run: Runner,
        *,
        budget_seconds: float | None,
    ) -> SegmentSummary:
        """Segment and label what these models have not finished, as far as a budget lasts."""


def segment_elsewhere(
    dataset: str,
    choice: ModelChoice,
    settings: Settings,
    run: Runner,
    *,
    budget_seconds: float | None,
    deployment: str,
    silence_seconds: float,
    most_seconds: float,
) -> SegmentSummary:
    """Let a run of another deployment segment what is pending, if anything is, and wait for it.

    What it did is read from the tables. If it did not do its work, `problem` says why, and what to
    do; the night goes on with what there is. A run that ended badly after all was done is no
    problem.

    Args:
        dataset: The dataset.
        choice: The models; the other run uses the same ones, or fails.
        settings: Of this machine, whose price of a GPU hour counts.
        run: What runs the steps.
        budget_seconds: How long the models may hold their device, s; None leaves that to the
            settings of the other machine.
        deployment: Name of the deployment.
        silence_seconds: As `run_child`.
        most_seconds: As `run_child`.
    """

    def waiting() -> set[str]:
        batches = run.call(
            list_pending_images, settings.root, dataset, choice, settings.batch_images
        )
        return {image.image_id for batch in batches for image in batch}

    with run.stage("segment"):
        due = waiting()
        done, run_id, problem, left = SegmentedByRun(), None, None, set[str]()
        if due:
            request = request_for(dataset, choice, budget_seconds)
            parameters = {"request": request.model_dump(mode="json", exclude_none=True)}
            child = run_child(deployment, parameters, run.run_id, silence_seconds, most_seconds)
            run_id, problem = child.run_id, child.problem
            if run_id is not None:
                done = run.call(read_segmented, settings.root, choice, run_id)
            left = due & waiting()
            if problem and not left:
                _log.warning("all images are done, though: %s", problem)
                problem = None
            if problem is None:
                nothing = left == due and not done.batches
                problem = _what_is_odd(deployment, run_id, done, nothing, settings.root)
    because = ""
    if left:
        because = problem or f"run {run_id} of {deployment} ended without them"
        if budget_seconds is not None and not problem:
            because += f"; the budget was {seconds_text(budget_seconds)}"
    return SegmentSummary(
        dataset=dataset,
        model_id=choice.model_id,
        params_id=choice.params_id,
        label_set_id=choice.label_set_id,
        batches=done.batches,
        images=done.images,
        segments=done.segments,
        quarantined=done.quarantined,
        points_per_batch=0,
        images_per_batch=0,
        device=DeviceUse(
            seconds=done.seconds,
            images_deferred=len(left),
            deferred_because=because,
            budget_seconds=budget_seconds,
            cost=cost_of(sum(done.seconds.values()), settings.gpu_cost_per_hour),
            currency=settings.currency,
        ),
        child_run_id=run_id,
        problem=f"{problem} ({len(left)} of {len(due)} images wait)" if problem else None,
    )


def request_for(dataset: str, choice: ModelChoice, budget_seconds: float | None) -> SegmentRequest:
    """What makes a run on another machine use the models that were chosen here, and no others."""
    return SegmentRequest(
        dataset=dataset,
        model=choice.segmenter,
        clip_model=choice.labeller,
        labels=choice.labels,
        preset=choice.preset,
        precision=choice.precision,
        gpu_seconds_budget=budget_seconds,
        expected=ModelIds(
            model_id=choice.model_id,
            params_id=choice.params_id,
            label_set_id=choice.label_set_id,
        ),
    )


def _what_is_odd(
    deployment: str, run_id: str | None, done: SegmentedByRun, nothing_done: bool, root: str
) -> str | None:
    """What is wrong with a run that completed; None if nothing is."""
    if done.other_models:
        return (
            f"expected run {run_id} of {deployment} to use the models of this night, found "
            f"{'; '.join(done.other_models)}: put the same version, weights and label sets on all "
            "machines"
        )
    if nothing_done:
        return (
            f"expected run {run_id} of {deployment} to finish images of {root}, found none: set "
            "SEGMILL_ROOT of its worker to the same place"
        )
    return None
