"""Ask the gate about a candidate that was measured, and make it live if it may be."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.promotions import read_promotions
from tasks.evaluate_model import EvaluationSummary
from tasks.gate_rules import GATE_FILE, Gate, load_gate
from tasks.live_model import live_model
from tasks.promote_model import PromotionOutcome, promote_through_gate


@task(name="read-gate", cache_policy=NO_CACHE)
def read_gate(path: str | None) -> Gate:
    """Read the rules; raises as `load_gate`.

    Args:
        path: A YAML file; None for `configs/gate.yaml`.
    """
    return load_gate(Path(path) if path else GATE_FILE)


@task(name="ask-gate", cache_policy=NO_CACHE)
def ask_gate(
    root: str,
    gate: Gate,
    candidate: EvaluationSummary,
    live: EvaluationSummary,
    *,
    run_id: str | None = None,
    dry_run: bool = False,
) -> PromotionOutcome:
    """Let the gate compare two measurements; raises as `promote_through_gate`.

    A run that asks again is told what it promoted before.

    Args:
        root: The data root.
        gate: The rules.
        candidate: Measurement of the model that wants to become live.
        live: That of the model that is; if another one became live since, nothing is promoted.
        run_id: The run that asks.
        dry_run: Whether nothing is recorded or changed.
    """
    for made in read_promotions(Lake.open(root)):
        if run_id is not None and made.why.run_id == run_id:
            # This run did it before it died; what became live since is not to be undone.
            live_id = live_model(root).model_id
            previous_id = made.previous_id or live.model_id
            return PromotionOutcome(made.model_id, live_id, previous_id, made, None)
    return promote_through_gate(
        root,
        candidate.model_id,
        gate,
        replacing=live.model_id,
        evaluation_id=candidate.evaluation_id,
        live_evaluation_id=live.evaluation_id,
        run_id=run_id,
        dry_run=dry_run,
    )
